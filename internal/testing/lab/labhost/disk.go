package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"edge-actions/internal/testing/lab"
)

// rootLabelFile is where a change of the root's label is noted, since there is
// no file system to write it to.
const rootLabelFile = "/var/lib/lab/root-label"

// filesystem is a row of lsblk's; null is what is not there.
type filesystem struct {
	path          string
	label, fstype *string
	size          uint64
	free          *uint64
	mountpoint    *string
}

// disks are those of the reference setup: Oracle's image of Ubuntu.
func disks(s lab.State) ([]filesystem, error) {
	const mib = 1 << 20
	root := text(s.Disk.RootLabel, "cloudimg-rootfs")
	switch label, err := os.ReadFile(rootLabelFile); {
	case err == nil:
		root = text(strings.TrimSpace(string(label)), "-")
	case !os.IsNotExist(err):
		return nil, err
	}
	var stat syscall.Statfs_t
	if err := syscall.Statfs("/", &stat); err != nil {
		return nil, err
	}
	const rootSize = 46 << 10 * mib
	free := min(stat.Bavail*uint64(stat.Bsize), 40<<10*mib)
	list := []filesystem{
		{path: "/dev/sda", size: 47 << 10 * mib},
		{path: "/dev/sda1", label: root, fstype: text("ext4", ""), size: rootSize, free: &free, mountpoint: text("/", "")},
	}
	if s.Disk.ESPMissing {
		return list, nil
	}
	esp := filesystem{path: "/dev/sda15", label: text(s.Disk.ESPLabel, "UEFI"), fstype: text("vfat", ""), size: 100 * mib, mountpoint: text("/boot/efi", "")}
	if s.Disk.ESPSize != 0 {
		esp.size = s.Disk.ESPSize
	}
	espFree := min(esp.size, 90*mib)
	if s.Disk.ESPFree != 0 {
		espFree = s.Disk.ESPFree
	}
	esp.free = &espFree
	return append(list, esp), nil
}

// text is nil for none.
func text(value, otherwise string) *string {
	switch value {
	case "":
		value = otherwise
	case "-":
		return nil
	}
	return &value
}

func (f filesystem) column(name string) any {
	switch name {
	case "PATH", "SOURCE":
		return f.path
	case "LABEL":
		return f.label
	case "FSTYPE":
		return f.fstype
	case "SIZE":
		return f.size
	case "FSAVAIL":
		return f.free
	case "TARGET":
		return f.mountpoint
	}
	return []*string{f.mountpoint} // MOUNTPOINTS; [null] if there is none
}

// row is an object with its columns in their order.
type row struct {
	names  []string
	values []any
}

func (r row) MarshalJSON() ([]byte, error) {
	var out strings.Builder
	out.WriteByte('{')
	for i, name := range r.names {
		value, err := json.Marshal(r.values[i])
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, "%q:%s", strings.ToLower(name), value)
	}
	out.WriteByte('}')
	return []byte(out.String()), nil
}

func (f filesystem) row(columns []string) row {
	r := row{names: columns}
	for _, c := range columns {
		r.values = append(r.values, f.column(c))
	}
	return r
}

// asked is a command line of lsblk's or findmnt's.
type asked struct {
	json, bytes, bare bool
	columns, rest     []string
}

// parse returns false for what this double does not know.
func parse(args, known []string) (a asked, ok bool) {
	for len(args) > 0 {
		arg, value, given := strings.Cut(args[0], "=")
		args = args[1:]
		if len(arg) > 2 && arg[1] != '-' && arg[0] == '-' { // -no is -n -o
			args, arg = append([]string{"-" + arg[2:]}, args...), arg[:2]
		}
		switch arg {
		case "--json", "-J":
			a.json = true
		case "--bytes", "-b":
			a.bytes = true
		case "--noheadings", "-n":
			a.bare = true
		case "--output", "-o":
			if !given {
				if len(args) == 0 {
					return a, false
				}
				value, args = args[0], args[1:]
			}
			a.columns = strings.Split(strings.ToUpper(value), ",")
		default:
			if strings.HasPrefix(arg, "-") {
				return a, false
			}
			a.rest = append(a.rest, arg)
		}
	}
	for _, c := range a.columns {
		if !slices.Contains(known, c) {
			return a, false
		}
	}
	return a, len(a.columns) > 0
}

// lsblk answers --json --bytes --output with columns of these; without NAME
// and --tree the list is flat. Everything else is the real one's.
func lsblk(s lab.State, args []string) error {
	a, ok := parse(args, []string{"PATH", "LABEL", "FSTYPE", "SIZE", "FSAVAIL", "MOUNTPOINTS"})
	if !ok || !a.json || !a.bytes || len(a.rest) > 0 {
		return realOne("lsblk", args)
	}
	list, err := disks(s)
	if err != nil {
		return err
	}
	rows := []row{}
	for _, f := range list {
		rows = append(rows, f.row(a.columns))
	}
	return indented(map[string]any{"blockdevices": rows})
}

// findmnt answers --output with one mount point, as JSON or without a heading.
func findmnt(s lab.State, args []string) error {
	a, ok := parse(args, []string{"TARGET", "SOURCE", "FSTYPE", "LABEL"})
	if !ok || a.json == a.bare || len(a.rest) != 1 {
		return realOne("findmnt", args)
	}
	list, err := disks(s)
	if err != nil {
		return err
	}
	for _, f := range list {
		if f.mountpoint == nil || *f.mountpoint != a.rest[0] {
			continue
		}
		if a.json {
			return indented(map[string]any{"filesystems": []row{f.row(a.columns)}})
		}
		var words []string
		for _, c := range a.columns {
			switch v := f.column(c).(type) {
			case string:
				words = append(words, v)
			case *string:
				if v != nil {
					words = append(words, *v)
				}
			}
		}
		fmt.Fprintln(os.Stdout, strings.Join(words, " "))
		return nil
	}
	return realOne("findmnt", args)
}

func indented(v any) error {
	enc := json.NewEncoder(os.Stdout)
	enc.SetIndent("", "   ")
	return enc.Encode(v)
}

// realOne becomes the program that this one hides.
func realOne(name string, args []string) error {
	path := "/usr/bin/" + name
	return fmt.Errorf("%s: %w", path, syscall.Exec(path, append([]string{name}, args...), os.Environ()))
}
