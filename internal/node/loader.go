package node

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// loader finds the system that the boot loader boots if nobody touches it.
func (l lines) loader(grub *fact) (string, error) {
	esps := l.values["esp"]
	switch {
	case l.err != nil:
		return "", l.err
	case len(l.values["override"]) > 0:
		return "", fmt.Errorf("the firmware's variable %s goes before what the loader's files say", list(l.values["override"]))
	case len(esps) > 1:
		return "", fmt.Errorf("there are several loaders, in %s", list(esps))
	case len(esps) == 1:
		return l.systemdBoot()
	case grub == nil:
		return "", errNotRead
	}
	if err := grub.failure(); err != nil {
		return "", fmt.Errorf("there is no loader.conf of systemd-boot, and of GRUB: %w", err)
	}
	return parseGRUB(string(grub.Out), l.values["grubenv"])
}

var (
	// counterForm is the counter of boots in an entry's file name: tries left,
	// tries done.
	counterForm    = regexp.MustCompile(`\+([0-9]+)(-[0-9]+)?\.conf$`)
	generationForm = regexp.MustCompile(`^nixos-generation-([0-9]{1,9})\.conf$`)
)

// entry is one of those that the default may mean.
type entry struct {
	generation int // 0 if its name says none
	system     string
}

// systemdBoot finds the system of the default entry. The lines are default=,
// and entry= with a file's name and its options.
func (l lines) systemdBoot() (string, error) {
	name, err := l.one("default")
	if err != nil {
		return "", errors.New("loader.conf has no default entry")
	}
	if strings.HasPrefix(name, "@") || strings.Contains(name, "/") {
		return "", fmt.Errorf("loader.conf does not say which entry is the default: %s", quote(name))
	}
	var entries []entry
	for _, line := range l.values["entry"] {
		file, options, _ := strings.Cut(line, " ")
		if m := counterForm.FindStringSubmatch(file); m != nil {
			if strings.Trim(m[1], "0") == "" {
				continue // it used up its tries, so the loader goes on to another
			}
			file = counterForm.ReplaceAllString(file, ".conf")
		}
		e := entry{}
		if e.system, err = systemOf(options); err != nil {
			return "", fmt.Errorf("the entry %s: %w", quote(file), err)
		}
		if m := generationForm.FindStringSubmatch(file); m != nil {
			e.generation, _ = strconv.Atoi(m[1]) // nine digits
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return "", fmt.Errorf("the default entry %s is not there", quote(name))
	}
	// Of those that match a pattern the newest generation comes first; of
	// others that is not known.
	newest := slices.MaxFunc(entries, func(a, b entry) int { return cmp.Compare(a.generation, b.generation) })
	for _, e := range entries {
		if e.system != newest.system && (e.generation == 0 || e.generation == newest.generation) {
			return "", fmt.Errorf("several entries match the default %s, and which comes first is not known", quote(name))
		}
	}
	return newest.system, nil
}

// systemOf finds the system in a kernel's command line. The kernel goes by the
// last init=.
func systemOf(options string) (string, error) {
	init := ""
	for _, word := range strings.Fields(options) {
		if v, ok := strings.CutPrefix(word, "init="); ok {
			init = v
		}
	}
	system, ok := strings.CutSuffix(init, "/init")
	if !ok || !storeForm.MatchString(system) {
		return "", fmt.Errorf("it boots no system of the store: init=%s", quote(init))
	}
	return system, nil
}

// maxVariables is more than NixOS's grub.cfg sets.
const maxVariables = 8

// parseGRUB finds the system of GRUB's default entry, which is a number: what
// NixOS writes. It reads no more of GRUB's language than that.
func parseGRUB(config string, env []string) (string, error) {
	for _, line := range env {
		if next, ok := strings.CutPrefix(line, "next_entry="); ok && next != "" {
			return "", fmt.Errorf("the next boot is of the entry %s, once (grub-reboot)", quote(next))
		}
	}
	var defaults []string
	var entries []string // of the first level: the options of each, "" for a submenu
	depth, inEntry := 0, false
	for line := range strings.Lines(config) {
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if v, ok := strings.CutPrefix(line, "set default="); ok && depth == 0 {
			if v = strings.Trim(v, `"'`); !strings.Contains(v, "next_entry") { // it was looked at above
				defaults = append(defaults, v)
			}
		}
		opens := strings.HasSuffix(line, "{")
		switch {
		case depth == 0 && opens && (words[0] == "menuentry" || words[0] == "submenu"):
			entries, inEntry = append(entries, ""), words[0] == "menuentry"
		case depth == 1 && inEntry && strings.HasPrefix(words[0], "linux"):
			entries[len(entries)-1] = line
		}
		switch {
		case opens:
			depth++
		case words[0] == "}":
			depth = max(depth-1, 0)
		}
	}
	if len(defaults) == 0 || len(defaults) > maxVariables {
		return "", errors.New("grub.cfg does not say which entry is the default")
	}
	for _, d := range defaults {
		if d != defaults[0] {
			return "", fmt.Errorf("grub.cfg names several defaults: %s", list(defaults))
		}
	}
	n, err := strconv.ParseUint(defaults[0], 10, 16)
	if err != nil {
		return "", fmt.Errorf("GRUB's default is no number: %s", quote(defaults[0]))
	}
	if int(n) >= len(entries) {
		return "", fmt.Errorf("GRUB's default is entry %d, and %d were found", n, len(entries))
	}
	system, err := systemOf(entries[n])
	if err != nil {
		return "", fmt.Errorf("GRUB's entry %d: %w", n, err)
	}
	return system, nil
}
