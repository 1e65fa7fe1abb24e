package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

func identity(f *Facts, e Expect) verdict.Check {
	q := question{id: HostIdentity}
	var wanted, wrong []string
	for _, part := range []struct {
		name, want string
		got        Value[string]
	}{
		{"hostname", e.Hostname, f.Hostname}, {"machine id", e.MachineID, f.MachineID}, {"instance id", e.InstanceID, f.InstanceID},
	} {
		if part.want == "" {
			continue
		}
		wanted = append(wanted, part.name+" "+part.want)
		got, err := part.got.Get()
		if err != nil {
			q.errs = append(q.errs, fmt.Errorf("%s: %w", part.name, err))
		} else if !strings.EqualFold(got, part.want) {
			wrong = append(wrong, part.name+" "+got)
		}
	}
	q.wanted = cmp.Or(strings.Join(wanted, ", "), "the machine that is meant")
	q.ask(len(wanted) > 0, "nothing says which machine is meant")
	if len(wrong) > 0 { // whatever else could not be read
		return verdict.Refuse(q.id, q.wanted, strings.Join(wrong, ", "), "this is another machine: correct the address, or what is expected of it").Check
	}
	return q.answer(true, q.wanted, "")
}

func bootID(f *Facts, e Expect) verdict.Check {
	q := question{id: BootID, wanted: "another boot than before"}
	got := need(&q, f.BootID)
	q.ask(bootIDForm.MatchString(e.BootIDBefore), "the boot id from before is not known")
	return q.answer(got != e.BootIDBefore, "boot id "+got, "it is still the same boot: the reboot did not happen")
}

func bootedSystem(f *Facts, _ Expect) verdict.Check {
	q := question{id: BootedSystem, wanted: "the active system to be the one that was booted"}
	booted, current := need(&q, f.Booted), need(&q, f.Current)
	if booted == current {
		return q.answer(true, booted, "")
	}
	return q.answer(false, fmt.Sprintf("booted %s, active %s", booted, current), "another system was activated since the boot, or the loader booted an older one: reboot, or switch to the one that is meant")
}

func system(f *Facts, e Expect) verdict.Check {
	q := question{id: System, wanted: "the active system to be the profile's"}
	if e.System != "" {
		q.wanted += ": " + e.System
	}
	current, profile := need(&q, f.Current), need(&q, f.Profile)
	switch {
	case current != profile:
		return q.answer(false, fmt.Sprintf("active %s, profile %s", current, profile), "a system was activated that a reboot would not boot, or the reverse: deploy again")
	case e.System != "" && current != e.System:
		return q.answer(false, current, "deploy the system that is expected, or correct what is expected")
	}
	return q.answer(true, current, "")
}

// liveSystem is for a system that is not committed yet.
func liveSystem(f *Facts, e Expect) verdict.Check {
	q := question{id: LiveSystem, wanted: "the active system to be " + cmp.Or(e.System, "the expected one")}
	current := need(&q, f.Current)
	q.ask(e.System != "", "the expected system is not known")
	return q.answer(current == e.System, current, "deploy the system that is expected, or correct what is expected")
}

func generation(f *Facts, e Expect) verdict.Check {
	q := question{id: Generation, wanted: fmt.Sprintf("generation %d", e.Generation)}
	got := need(&q, f.Generation)
	q.ask(e.Generation > 0, "the expected generation is not known")
	return q.answer(got == e.Generation, fmt.Sprintf("generation %d", got), "see nix-env -p /nix/var/nix/profiles/system --list-generations on the node")
}

func kernel(f *Facts, _ Expect) verdict.Check {
	q := question{id: Kernel, wanted: "a running kernel that the active system has modules for"}
	release, modules := need(&q, f.Kernel), need(&q, f.Modules)
	if slices.Contains(modules, release) {
		return q.answer(true, release, "")
	}
	return q.answer(false, fmt.Sprintf("%s is running, there are modules for %s", release, list(modules)), "an older kernel was booted: see the loader's default entry, then reboot")
}

func loaderDefault(f *Facts, _ Expect) verdict.Check {
	q := question{id: LoaderDefault, wanted: "a boot loader whose default is the profile's system"}
	loader, profile := need(&q, f.Loader), need(&q, f.Profile)
	if loader == profile {
		return q.answer(true, loader, "")
	}
	return q.answer(false, fmt.Sprintf("the default is %s, the profile %s", loader, profile), "install the loader again: /nix/var/nix/profiles/system/bin/switch-to-configuration boot")
}

func clock(f *Facts, e Expect) verdict.Check {
	q := question{id: Clock, wanted: fmt.Sprintf("a clock that is at most %s off", e.MaxSkew)}
	now := need(&q, f.Now)
	q.ask(e.MaxSkew > 0 && !e.Now.IsZero(), "the runner's time or the allowed difference is not known")
	// The node's is in whole seconds.
	off := now.Sub(e.Now.Truncate(time.Second)).Round(time.Second)
	return q.answer(off.Abs() <= e.MaxSkew, fmt.Sprintf("%s (%s)", off, now.Format(time.RFC3339)), "see timedatectl on the node, and the runner's own clock; never set it back under a running K3s")
}

func bootSpace(f *Facts, e Expect) verdict.Check {
	return free(question{id: BootSpace, wanted: "room for another kernel"}, f.BootSpace, e.MinBootFree, "remove old generations (nix-collect-garbage --delete-older-than 14d), then switch-to-configuration boot")
}

func storeSpace(f *Facts, e Expect) verdict.Check {
	return free(question{id: StoreSpace, wanted: "room in the store"}, f.StoreSpace, e.MinStoreFree, "run nix-collect-garbage on the node")
}

func free(q question, v Value[Space], least uint64, hint string) verdict.Check {
	q.wanted = fmt.Sprintf("%s: %s", q.wanted, mebibytes(least))
	q.ask(least > 0, "how much must be free is not known")
	s := need(&q, v)
	if s.Inodes > 0 && s.FreeInodes == 0 {
		return q.answer(false, "no free inode", hint)
	}
	return q.answer(s.FreeBytes >= least, mebibytes(s.FreeBytes)+" free", hint)
}

func mebibytes(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

// errEmpty is for a list that a check can't do without.
func errEmpty(what string) error { return errors.New("no " + what + " was asked for") }
