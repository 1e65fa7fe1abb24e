package node

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// lines are the key=value lines of the fact "text", by key.
type lines struct {
	values map[string][]string
	err    error  // why there are none
	said   string // what went wrong beside; foreign
}

func parseLines(x *fact) lines {
	if err := x.failure(); err != nil {
		return lines{err: err}
	}
	l := lines{values: map[string][]string{}, said: string(x.Err)}
	for line := range strings.Lines(string(x.Out)) {
		if key, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "="); ok {
			l.values[key] = append(l.values[key], value)
		}
	}
	if len(l.values["end"]) == 0 {
		return lines{err: errors.New("what the probe read is cut off")}
	}
	return l
}

// missing says why a key has no value: in the words of the line that speaks of
// it, if there is one.
func (l lines) missing(key string) error {
	if l.err != nil {
		return l.err
	}
	about := map[string]string{"booted": "booted-system", "current": "current-system", "profile": "profiles/system", "generation": "profiles/system",
		"kernel": "osrelease", "machine_id": "machine-id", "os": "os-release", "memory": "meminfo", "now": "date", "the space": "stat"}
	for line := range strings.Lines(l.said) {
		if strings.Contains(line, cmp.Or(about[key], key)) {
			return fmt.Errorf("%s was not read: %s", key, quote(line))
		}
	}
	return fmt.Errorf("%s was not read", key)
}

// one is the value of a key that has one.
func (l lines) one(key string) (string, error) {
	switch v := l.values[key]; {
	case len(v) == 0 || len(v) == 1 && v[0] == "":
		return "", l.missing(key)
	case len(v) > 1:
		return "", fmt.Errorf("%s was read %d times", key, len(v))
	default:
		return v[0], nil
	}
}

// like is the value of a key that has one, of a known form.
func (l lines) like(key string, form *regexp.Regexp) Value[string] {
	v, err := l.one(key)
	if err == nil && !form.MatchString(v) {
		err = fmt.Errorf("%s is not of its form: %s", key, quote(v))
	}
	return readOr(v, err)
}

// The forms of what is compared.
var (
	bootIDForm    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	machineIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
	hostnameForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`)
	wordForm      = regexp.MustCompile(`^[A-Za-z0-9._+-]{1,128}$`)
	storeForm     = regexp.MustCompile(`^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]+$`)
	linkForm      = regexp.MustCompile(`^system-([0-9]{1,9})-link$`)
	ocidForm      = regexp.MustCompile(`^ocid1\.instance\.[A-Za-z0-9._-]{1,255}$`)
)

// text takes what the probe read without a command of its own.
func (f *Facts) text(x, grub *fact) {
	l := parseLines(x)
	f.Hostname, f.BootID, f.MachineID = l.like("hostname", hostnameForm), l.like("boot_id", bootIDForm), l.like("machine_id", machineIDForm)
	f.Kernel, f.Arch, f.OS = l.like("kernel", wordForm), l.like("arch", wordForm), l.os()
	f.Booted, f.Current, f.Profile = l.like("booted", storeForm), l.like("current", storeForm), l.like("profile", storeForm)
	f.Generation = readOr(l.generation())
	if f.Modules = read(l.values["modules"]); len(l.values["modules"]) == 0 {
		f.Modules = unread[[]string](l.missing("kernel-modules"))
	}
	f.Memory, f.Way = readOr(l.memory()), readOr(l.way())
	f.Now, f.Boot = l.clock()
	f.BootSpace = readOr(l.space(func(p string) bool { return p != "nix/store" }))
	f.StoreSpace = readOr(l.space(func(p string) bool { return p == "nix/store" }))
	f.Loader = readOr(l.loader(grub))
}

func (l lines) os() Value[string] {
	v, err := l.one("os")
	return readOr(strings.Trim(v, `"'`), err)
}

func (l lines) generation() (int, error) {
	v, err := l.one("generation")
	if err != nil {
		return 0, err
	}
	m := linkForm.FindStringSubmatch(path.Base(v))
	if m == nil {
		return 0, fmt.Errorf("the profile is no link to a generation: %s", quote(v))
	}
	return strconv.Atoi(m[1])
}

// clock returns the node's time, and when it was booted. `date` was asked
// first, so the boot is at most a second early and never late.
func (l lines) clock() (now, boot Value[time.Time]) {
	v, err := l.one("now")
	var seconds int64
	if err == nil {
		if seconds, err = strconv.ParseInt(v, 10, 64); err != nil || seconds <= 0 || seconds > math.MaxInt32*100 {
			err = fmt.Errorf("the time is no number: %s", quote(v))
		}
	}
	if err != nil {
		return unread[time.Time](err), unread[time.Time](err)
	}
	at := time.Unix(seconds, 0).UTC()
	up, err := l.one("uptime")
	var uptime float64
	if err == nil {
		word, _, _ := strings.Cut(up, " ")
		if uptime, err = strconv.ParseFloat(word, 64); err != nil || !(uptime >= 0 && uptime < math.MaxInt32) {
			err = fmt.Errorf("the uptime is no number: %s", quote(up))
		}
	}
	return read(at), readOr(at.Add(-time.Duration(uptime*float64(time.Second))), err)
}

// space reads a line of `stat -f`: block size, blocks, available ones, inodes,
// free ones, path.
func (l lines) space(is func(path string) bool) (Space, error) {
	for _, v := range l.values["space"] {
		words := strings.SplitN(v, " ", 6)
		if len(words) != 6 || !is(words[5]) {
			continue
		}
		var n [5]uint64
		for i := range n {
			var err error
			if n[i], err = strconv.ParseUint(words[i], 10, 64); err != nil {
				return Space{}, fmt.Errorf("the space is no number: %s", quote(v))
			}
		}
		if n[0] == 0 || n[2] > math.MaxUint64/n[0] {
			return Space{}, fmt.Errorf("the space makes no sense: %s", quote(v))
		}
		return Space{FreeBytes: n[0] * n[2], Inodes: n[3], FreeInodes: n[4]}, nil
	}
	return Space{}, l.missing("the space")
}

func parseOCID(out []byte) (string, error) {
	id := strings.TrimSpace(string(out))
	if !ocidForm.MatchString(id) {
		return "", fmt.Errorf("no instance id: %s", quote(id))
	}
	return id, nil
}
