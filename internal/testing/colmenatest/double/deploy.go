package double

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// deploy is one run of apply, build or upload-keys.
type deploy struct {
	hive *hive
	args applyArgs
	m    *monitor
	// evaluating and applying are how many may do so at once.
	evaluating, applying chan struct{}
}

// goals and what Colmena says when one is reached; "" activates nothing.
var goals = [...]struct{ name, done string }{
	{"build", ""}, {"push", ""}, {"switch", "Activation successful"}, {"boot", "Will be activated next boot"},
	{"test", "Activation successful (test)"}, {"dry-activate", "Dry activation successful"}, {"upload-keys", ""},
}

func (h *hive) apply(a applyArgs) error {
	if a.on == nil && a.goal != "build" {
		m, err := h.metaOnce()
		if err != nil {
			return err
		}
		if !m.AllowApplyAll {
			h.log.errorf("No node filter is specified and meta.allowApplyAll is set to false.")
			h.log.errorf("Hint: Filter the nodes with --on.")
			return exit(1)
		}
	}
	targets, err := h.selectNodes(a.on, a.goal != "build")
	if err != nil {
		return err
	}
	if a.noKeys && a.goal == "upload-keys" {
		h.log.errorf("--no-keys cannot be used when the goal is to upload keys")
		return exit(1)
	}
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.name
		if len(t.config.Keys) > 0 && !a.noKeys {
			return h.p.leftOut("deployment.keys, which %s has", t.name)
		}
	}
	limit := a.parallel
	if limit == 0 {
		limit = len(targets)
	}
	d := &deploy{hive: h, args: a, m: newMonitor(h.p.Stderr, names), evaluating: make(chan struct{}, 1), applying: make(chan struct{}, limit)}
	if a.evalNodeLimit == "0" && len(targets) == 0 && a.goal != "upload-keys" {
		return h.p.panicked("src/nix/deployment/mod.rs:210", "assertion failed: size != 0")
	}
	all := d.m.create(meta)
	err = d.all(targets)
	if err != nil {
		all.fail(err)
	} else {
		all.succeed("")
	}
	d.m.finish(h.log)
	return err
}

// all runs to the end on every node, and returns one error of those that
// there were.
func (d *deploy) all(targets []*target) error {
	if d.args.goal == "upload-keys" {
		return concurrently(targets, func(t *target) error {
			return d.m.create(uploadKeys, t.name).run(func() error { return nil }) // no keys, and no look at the host
		})
	}
	size := len(targets)
	if d.args.evalNodeLimit != "auto" && d.args.evalNodeLimit != "0" {
		size = d.args.evalLimit
	}
	var chunks [][]*target
	if size > 0 {
		chunks = slices.Collect(slices.Chunk(targets, size))
	}
	return concurrently(chunks, d.chunk)
}

// concurrently returns the first error in the order of the list.
func concurrently[T any](list []T, f func(T) error) error {
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, item := range list {
		all.Go(func() { errs[i] = f(item) })
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// chunk evaluates some nodes at once: if one of them has an error, none of
// them is deployed.
func (d *deploy) chunk(targets []*target) error {
	var names []string
	for _, t := range targets {
		names = append(names, t.name)
	}
	j := d.m.create(evaluate, names...)
	d.evaluating <- struct{}{}
	drvs := map[string]string{}
	err := j.run(func() error { return d.hive.eval("hive.evalSelectedDrvPaths "+NixStrings(names), j, &drvs) })
	<-d.evaluating
	if err != nil {
		return err
	}
	return concurrently(targets, func(t *target) error { return d.node(t, drvs[t.name]) })
}

func (d *deploy) node(t *target, drv string) error {
	onTarget := t.config.BuildOnTarget
	if d.args.noBuildOnTarget {
		onTarget = false
	} else if d.args.buildOnTarget {
		onTarget = true
	}
	d.applying <- struct{}{}
	var system string
	var err error
	if onTarget {
		system, err = d.buildOnTarget(t, drv)
	} else if system, err = d.build(t, drv); err == nil && d.args.goal != "build" {
		err = d.push(t, system)
	}
	<-d.applying
	done := goals[slices.IndexFunc(goals[:], func(g struct{ name, done string }) bool { return g.name == d.args.goal })].done
	if err != nil || done == "" {
		return err
	}
	d.applying <- struct{}{}
	defer func() { <-d.applying }()
	return d.activate(t, system, done)
}

var errUnsupported = errors.New("This operation is not supported") //nolint:staticcheck // Colmena's words

// buildOnTarget leaves no root for the garbage collector anywhere.
func (d *deploy) buildOnTarget(t *target, drv string) (system string, err error) {
	j := d.m.create(build, t.name)
	return system, j.run(func() error {
		if t.host == nil {
			return errUnsupported
		}
		if _, err := d.hive.p.captured(j, t.host.copyTo(drv, true, true), false); err != nil {
			return err
		}
		out, err := d.hive.p.captured(j, t.host.ssh("nix-store", "--no-gc-warning", "--realise", drv), false)
		if err != nil {
			return err
		}
		if system, err = onePath(out); err == nil {
			j.succeed(fmt.Sprintf("Built %q on target node", system))
		}
		return err
	})
}

func (d *deploy) build(t *target, drv string) (system string, err error) {
	flags, err := d.hive.flags(true)
	if err != nil {
		return "", err
	}
	j := d.m.create(build, t.name)
	err = j.run(func() error {
		out, err := d.hive.p.captured(j, d.hive.p.command("nix-store", append(flags, "--no-gc-warning", "--realise", drv)), false)
		if err != nil {
			return err
		}
		if system, err = onePath(out); err == nil {
			j.succeed(fmt.Sprintf("Built %q", system))
		}
		return err
	})
	if err != nil || !d.args.keepResult {
		return system, err
	}
	return system, d.m.create(gcRoots, t.name).run(func() error {
		root := filepath.Join(filepath.Dir(d.hive.path), ".gcroots", "node-"+t.name)
		cmd := d.hive.p.command("nix-store", []string{"--no-build-output", "--indirect", "--add-root", root, "--realise", system})
		_, err := d.hive.p.output(cmd)
		return err
	})
}

func onePath(out string) (string, error) {
	paths := strings.Fields(out)
	switch {
	case len(paths) == 0:
		return "", errors.New("Nix returned invalid response: There is no store path") //nolint:staticcheck // Colmena's words
	case len(paths) > 1:
		return "", errors.New("Nix returned invalid response: Build resulted in more than 1 store path") //nolint:staticcheck // Colmena's words
	case !strings.HasPrefix(paths[0], "/nix/store/"):
		return "", errors.New("Invalid Nix store path") //nolint:staticcheck // Colmena's words
	}
	return paths[0], nil
}

func (d *deploy) push(t *target, system string) error {
	j := d.m.create(push, t.name)
	return j.run(func() error {
		if t.host == nil {
			return errUnsupported
		}
		_, err := d.hive.p.captured(j, t.host.copyTo(system, !d.args.noSubstitute, !d.args.noGzip), false)
		return err
	})
}

func (d *deploy) activate(t *target, system, done string) error {
	if !d.args.noKeys {
		d.m.create(uploadKeys, t.name).succeed("No pre-activation keys to upload")
	}
	j := d.m.create(activate, t.name)
	err := j.run(func() error {
		if err := d.knownProfile(t, j); err != nil {
			return err
		}
		if err := t.host.activate(j, system, d.args.goal); err != nil {
			return err
		}
		j.succeed(done)
		return nil
	})
	if err != nil {
		return err
	}
	if d.args.reboot {
		if d.args.goal != "switch" && d.args.goal != "boot" {
			system = ""
		}
		j := d.m.create(reboot, t.name)
		if err := j.run(func() error { return t.host.reboot(j, system) }); err != nil {
			return err
		}
	}
	if !d.args.noKeys {
		d.m.create(uploadKeys, t.name).succeed("No post-activation keys to upload")
	}
	return nil
}

// knownProfile refuses, if asked to, to replace a system that is not in the
// local store.
func (d *deploy) knownProfile(t *target, j *job) error {
	if t.config.ReplaceUnknownProfiles {
		return nil
	}
	j.message("Checking remote profile...")
	profile, err := t.host.mainProfile()
	if err != nil {
		return err
	}
	_, missing := os.Stat(profile)
	switch {
	case missing == nil:
		j.message("Remote profile known")
	case d.args.forceReplace:
		j.message("Warning: Remote profile is unknown, but unknown profiles are being ignored")
	default:
		return fmt.Errorf("Unknown active profile: Profile(StorePath(%q))", profile) //nolint:staticcheck // Colmena's words
	}
	return nil
}
