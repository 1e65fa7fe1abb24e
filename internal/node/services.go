package node

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Unit is what systemd says of one unit that was asked for.
type Unit struct {
	// Names are all its names: sshd.service is ssh.service on Debian.
	Names               []string
	Load, Active, State string
}

// systemd reads a fact of four parts: state=, the units that were asked for
// as blocks of key=value, a line "failed:" with the failed units after it, and
// "end:".
func (f *Facts) systemd(facts map[string]*fact) {
	state, units, failed, err := parseSystemd(facts["systemd"])
	f.State, f.Units, f.Failed = readOr(state, err), readOr(units, err), readOr(failed, err)
	for i := 1; ; i++ {
		x := facts[fmt.Sprintf("journal-%d", i)]
		if x == nil {
			return
		}
		unit, text, _ := strings.Cut(string(x.Out), "\n")
		if err := x.failure(); err != nil {
			text = "no journal: " + err.Error()
		}
		f.Journals[unit] = strings.TrimSpace(text)
	}
}

func parseSystemd(x *fact) (state string, units []Unit, failed []string, err error) {
	if err := x.failure(); err != nil {
		return "", nil, nil, err
	}
	head, tail, ok := strings.Cut(string(x.Out), "\nfailed:\n")
	if !ok || tail != "end:\n" && !strings.HasSuffix(tail, "\nend:\n") {
		return "", nil, nil, errors.New("what systemctl said is cut off")
	}
	first, blocks, _ := strings.Cut(head, "\n")
	state, ok = strings.CutPrefix(first, "state=")
	if !ok || state == "" {
		return "", nil, nil, fmt.Errorf("systemctl did not say the system's state but %s", quote(first))
	}
	for block := range strings.SplitSeq(blocks, "\n\n") {
		u := Unit{}
		for line := range strings.Lines(block) {
			switch key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "="); key {
			case "Id", "Names":
				u.Names = append(u.Names, strings.Fields(value)...)
			case "LoadState":
				u.Load = value
			case "ActiveState":
				u.Active = value
			case "SubState":
				u.State = value
			}
		}
		if len(u.Names) > 0 {
			units = append(units, u)
		}
	}
	for line := range strings.Lines(strings.TrimSuffix(tail, "end:\n")) {
		if words := strings.Fields(line); len(words) > 0 {
			failed = append(failed, words[0])
		}
	}
	return state, units, failed, nil
}

// ports reads a line a port that was connected to or refused. One that says
// nothing was still being tried when the time was up, and that counts as an
// answer of its own: nobody is there.
func (f *Facts) ports(x *fact) {
	if err := x.failure(); err != nil && (x == nil || *x.Exit != 124) {
		f.Ports = unread[map[int]bool](err)
		return
	}
	open := map[int]bool{}
	for line := range strings.Lines(string(x.Out)) {
		word, how, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseUint(word, 10, 16)
		if err != nil || how != "open" && how != "closed" {
			f.Ports = unread[map[int]bool](fmt.Errorf("no answer of a port: %s", quote(line)))
			return
		}
		open[int(n)] = how == "open"
	}
	f.Ports = read(open)
}

// parseSSHD reads `sshd -T`. The first value of a keyword is the one.
func parseSSHD(out []byte) (map[string]string, error) {
	settings := map[string]string{}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "permitrootlogin", "passwordauthentication", "kbdinteractiveauthentication", "permitemptypasswords":
			if _, ok := settings[key]; !ok {
				settings[key] = value
			}
		}
	}
	if settings["permitrootlogin"] == "" {
		return nil, errors.New("sshd -T does not say what permitrootlogin is")
	}
	return settings, nil
}

// File is one of /run/secrets, or the age key. Nobody read what is in it.
type File struct {
	// Path is clean and absolute.
	Path string
	// Type is find's: f, d, l and so on.
	Type     string
	Mode     uint32
	UID, GID int
	Size     int64
}

// parseFiles reads what find printed: type, mode, owner, group, size and path,
// each ended by a zero byte.
func parseFiles(out []byte) ([]File, error) {
	var files []File
	for rest := string(out); rest != ""; {
		record, after, ok := strings.Cut(rest, "\x00")
		words := strings.SplitN(record, " ", 6)
		if !ok || len(words) != 6 || words[5] == "" {
			return nil, fmt.Errorf("the list of files is cut off at %s", quote(record))
		}
		mode, errMode := strconv.ParseUint(words[1], 8, 12)
		uid, errUID := strconv.ParseUint(words[2], 10, 32)
		gid, errGID := strconv.ParseUint(words[3], 10, 32)
		size, errSize := strconv.ParseInt(words[4], 10, 64)
		if err := errors.Join(errMode, errUID, errGID, errSize); err != nil {
			return nil, fmt.Errorf("the list of files has %s", quote(record))
		}
		files = append(files, File{Path: path.Clean("/" + words[5]), Type: words[0], Mode: uint32(mode), UID: int(uid), GID: int(gid), Size: size})
		rest = after
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files, nil
}
