package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edge-actions/internal/verdict"
)

// Way is how far a machine is on its way to NixOS.
type Way struct {
	// NixOS: it runs NixOS. Lustrate: the next boot makes it NixOS, by
	// /etc/NIXOS_LUSTRATE. Installer: it runs an installer from memory.
	NixOS, Lustrate, Installer bool
}

func (l lines) way() (Way, error) {
	if l.err != nil {
		return Way{}, l.err
	}
	v := l.values["way"]
	if !slices.Contains(v, "") { // the last one
		return Way{}, l.missing("way")
	}
	w := Way{Lustrate: slices.Contains(v, "lustrate"), Installer: slices.Contains(v, "installer")}
	// nixos-infect writes /etc/NIXOS long before the boot that makes it true.
	w.NixOS = slices.Contains(v, "nixos") && !w.Lustrate && !w.Installer
	return w, nil
}

// memory reads MemTotal of /proc/meminfo.
func (l lines) memory() (uint64, error) {
	v, err := l.one("memory")
	if err != nil {
		return 0, err
	}
	n, kb := strings.CutSuffix(v, " kB")
	kib, err := strconv.ParseUint(n, 10, 44)
	if !kb || err != nil {
		return 0, fmt.Errorf("the memory is no number of kB: %s", quote(v))
	}
	return kib << 10, nil
}

// Disk is one file system, as lsblk shows it.
type Disk struct {
	Path, Label, Type string
	Size              uint64 // bytes
	// Free is nil unless it is mounted.
	Free        *uint64
	Mountpoints []string
}

// parseDisks reads lsblk's JSON, with everything below everything.
func parseDisks(out []byte) ([]Disk, error) {
	type device struct {
		Path        string      `json:"path"`
		Label       *string     `json:"label"`
		Type        *string     `json:"fstype"`
		Size        json.Number `json:"size"`
		Free        json.Number `json:"fsavail"`
		Mountpoints []*string   `json:"mountpoints"`
		Children    []device    `json:"children"`
	}
	var doc struct {
		Devices []device `json:"blockdevices"`
	}
	if err := json.Unmarshal(out, &doc); err != nil {
		return nil, fmt.Errorf("lsblk's answer is no JSON that is known: %w", err)
	}
	var disks []Disk
	var take func(list []device, depth int) error
	take = func(list []device, depth int) error {
		for _, d := range list {
			disk := Disk{Path: d.Path, Label: text(d.Label), Type: text(d.Type)}
			var err error
			if disk.Size, err = strconv.ParseUint(d.Size.String(), 10, 64); err != nil {
				return fmt.Errorf("the size of %s is no number: %s", quote(d.Path), quote(d.Size.String()))
			}
			if d.Free != "" {
				free, err := strconv.ParseUint(d.Free.String(), 10, 64)
				if err != nil {
					return fmt.Errorf("what is free on %s is no number: %s", quote(d.Path), quote(d.Free.String()))
				}
				disk.Free = &free
			}
			for _, m := range d.Mountpoints {
				if m != nil {
					disk.Mountpoints = append(disk.Mountpoints, *m)
				}
			}
			disks = append(disks, disk)
			if depth > 8 {
				return errors.New("lsblk's answer has no end")
			}
			if err := take(d.Children, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return disks, take(doc.Devices, 0)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func architecture(f *Facts, e Expect) verdict.Check {
	q := question{id: Architecture, wanted: "the architecture " + e.Architecture}
	got := need(&q, f.Arch)
	q.ask(e.Architecture != "", "the expected architecture is not known")
	return q.answer(got == e.Architecture, got, "another shape was provisioned than the hive builds for: correct the stack, or nixpkgs.hostPlatform")
}

func memory(f *Facts, e Expect) verdict.Check {
	q := question{id: Memory, wanted: "memory: " + mebibytes(e.MinMemory)}
	got := need(&q, f.Memory)
	q.ask(e.MinMemory > 0, "how much memory is needed is not known")
	return q.answer(got >= e.MinMemory, mebibytes(got), "give the instance more memory in the stack: the transition and the first build need it")
}

func rootLabel(f *Facts, e Expect) verdict.Check {
	q := question{id: RootLabel, wanted: fmt.Sprintf("the root file system to have the label %q", e.RootLabel)}
	disks := need(&q, f.Disks)
	q.ask(e.RootLabel != "", "the expected label is not known")
	const hint = "the configuration finds its root by that label and would not boot: set it (e2label DEVICE LABEL), or correct fileSystems in the hive"
	root := slices.IndexFunc(disks, func(d Disk) bool { return slices.Contains(d.Mountpoints, "/") })
	if root < 0 && len(q.errs) == 0 {
		q.ask(false, "no disk is mounted on /")
	}
	if len(q.errs) > 0 {
		return q.answer(false, "", "")
	}
	if twice := labelled(disks, e.RootLabel); len(twice) > 1 {
		return q.answer(false, fmt.Sprintf("it on %s", list(twice)), "one label must lead to one file system: take it from the other")
	}
	d := disks[root]
	return q.answer(d.Label == e.RootLabel, fmt.Sprintf("%s on %s", quote(d.Label), d.Path), hint)
}

func esp(f *Facts, e Expect) verdict.Check {
	q := question{id: ESP, wanted: fmt.Sprintf("an EFI system partition with the label %q, of %s, with %s free", e.ESPLabel, mebibytes(e.MinESP), mebibytes(e.MinESPFree))}
	disks := need(&q, f.Disks)
	q.ask(e.ESPLabel != "", "the expected label is not known")
	if len(q.errs) > 0 {
		return q.answer(false, "", "")
	}
	found := labelled(disks, e.ESPLabel)
	switch {
	case len(found) == 0:
		var vfat []string
		for _, d := range disks {
			if d.Type == "vfat" {
				vfat = append(vfat, fmt.Sprintf("%s on %s", quote(d.Label), d.Path))
			}
		}
		return q.answer(false, fmt.Sprintf("no such label; FAT file systems are: [%s]", strings.Join(vfat, ", ")), "set it (fatlabel DEVICE LABEL), or correct fileSystems in the hive")
	case len(found) > 1:
		return q.answer(false, "it on "+list(found), "one label must lead to one file system: take it from the other")
	}
	d := disks[slices.IndexFunc(disks, func(d Disk) bool { return d.Path == found[0] })]
	got := fmt.Sprintf("%s, %s of %s", d.Path, quote(d.Type), mebibytes(d.Size))
	switch {
	case d.Type != "vfat":
		return q.answer(false, got, "the firmware reads FAT only: see what has this label")
	case d.Size < e.MinESP:
		return q.answer(false, got, "Oracle's images have one of 98 to 100 MB, too small for two kernels: make it larger, or keep the kernels elsewhere and lower min_esp_mib")
	case d.Free == nil:
		q.ask(false, got+", not mounted: what is free on it is not known")
		return q.unproven("mount it, where the boot loader is to be")
	}
	return q.answer(*d.Free >= e.MinESPFree, fmt.Sprintf("%s, %s free", got, mebibytes(*d.Free)), "remove old kernels from it")
}

// labelled are the paths of the file systems with a label.
func labelled(disks []Disk, label string) (paths []string) {
	for _, d := range disks {
		if d.Label == label && !slices.Contains(paths, d.Path) {
			paths = append(paths, d.Path)
		}
	}
	return paths
}
