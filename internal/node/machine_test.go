package node

import (
	"testing"
)

// How far a machine is, by the files that the ways to NixOS leave.
func TestWay(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*rig)
		want   Way
	}{
		"NixOS":   {func(*rig) {}, Way{NixOS: true}},
		"another": {func(r *rig) { r.remove("etc/NIXOS") }, Way{}},
		// nixos-infect writes both and reboots.
		"NixOS at the next boot": {func(r *rig) { r.write("etc/NIXOS_LUSTRATE", "etc/nixos\n") }, Way{Lustrate: true}},
		"the installer":          {func(r *rig) { r.write("etc/os-release", "ID=nixos\nVARIANT_ID=installer\n") }, Way{Installer: true}},
		"the installer, quoted":  {func(r *rig) { r.write("etc/os-release", "ID=nixos\nVARIANT_ID=\"installer\"\n") }, Way{Installer: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			tt.change(r)
			for _, shell := range shells {
				got, err := r.facts(shell).Way.Get()
				if err != nil || got != tt.want {
					t.Errorf("%s: %+v, %v; want %+v", shell, got, err, tt.want)
				}
			}
		})
	}
}

func TestMemoryThatIsNone(t *testing.T) {
	for _, text := range []string{"", "MemFree: 1 kB\n", "MemTotal: many kB\n", "MemTotal: 5981292\n", "MemTotal: 5 kB\nMemTotal: 6 kB\n", "MemTotal: 99999999999999 kB\n"} {
		r := newRig(t)
		r.write("proc/meminfo", text)
		if v, err := r.facts("dash").Memory.Get(); err == nil {
			t.Errorf("%q: %d", text, v)
		}
	}
}

func TestDisksThatAreNone(t *testing.T) {
	for _, text := range []string{"", "[]", `{"blockdevices":[{"path":"/dev/sda","size":"many"}]}`, `{"blockdevices":[{"path":"/dev/sda","size":-1}]}`,
		`{"blockdevices":[{"path":"/dev/sda","size":1,"fsavail":"much"}]}`} {
		if disks, err := parseDisks([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, disks)
		}
	}
	// Before util-linux 2.33 numbers were text.
	disks, err := parseDisks([]byte(`{"blockdevices":[{"path":"/dev/sda","size":"5","fsavail":"4"}]}`))
	if err != nil || disks[0].Size != 5 || *disks[0].Free != 4 {
		t.Errorf("%+v, %v", disks, err)
	}
}
