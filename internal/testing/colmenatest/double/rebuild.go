package double

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// rebuildArgs is a command line of nixos-rebuild.
type rebuildArgs struct {
	action, flake             string
	targetHost, buildHost     string
	installBootloader, sudo   bool
	remoteSudo, substitute    bool
	showTrace, impure, ignore bool
	options                   []string
}

// rebuild builds one node of a hive and brings it to a host, in the order of
// nixos-rebuild-ng: build, copy, set the profile, activate in a transient unit
// of the host's that ends with its connection.
func (p *Program) rebuild(args []string) error {
	var a rebuildArgs
	if err := parse(args, func(name string) *flag { return lookup(a.flags(), name) }, func(word string) error {
		if a.action != "" {
			return fmt.Errorf("unrecognized arguments: %s", word)
		}
		a.action = word
		return nil
	}); err != nil {
		fmt.Fprintf(p.Stderr, "usage: nixos-rebuild [...]\nnixos-rebuild: error: %v\n", err)
		return exit(2)
	}
	if a.remoteSudo {
		fmt.Fprintln(p.Stderr, "nixos-rebuild: warning: --use-remote-sudo deprecated, use --sudo instead")
		a.sudo = true
	}
	path, node, ok := strings.Cut(a.flake, "#")
	switch {
	case !slices.Contains([]string{"build", "switch", "boot", "test", "dry-activate"}, a.action):
		return p.leftOut("nixos-rebuild %q", a.action)
	case !ok || node == "":
		return p.leftOut("nixos-rebuild without --flake PATH#NODE")
	case a.targetHost == "" && a.action != "build":
		return p.leftOut("nixos-rebuild for this machine: it wants --target-host")
	}
	if !filepath.IsAbs(path) {
		dir, err := p.cwd()
		if err != nil {
			return err
		}
		path = filepath.Join(dir, path)
	}
	r, err := p.newRebuilder(a)
	if err != nil {
		return err
	}
	defer r.close()
	err = r.run(filepath.Join(path, "hive.nix"), node)
	var failed *remoteFailure
	if errors.As(err, &failed) && failed.sudo {
		fmt.Fprintln(p.Stderr, "error: while running command with remote sudo, did you forget to use --ask-sudo-password?")
	}
	return err
}

func (a *rebuildArgs) flags() []flag {
	return []flag{
		text("--flake", &a.flake), text("--target-host", &a.targetHost), text("--build-host", &a.buildHost),
		toggle("--install-bootloader", &a.installBootloader), toggle("--sudo", &a.sudo), toggle("--use-remote-sudo", &a.remoteSudo),
		toggle("--use-substitutes", &a.substitute), toggle("--substitute-on-destination", &a.substitute), toggle("-s", &a.substitute),
		toggle("--show-trace", &a.showTrace), toggle("--impure", &a.impure),
		toggle("--fast", &a.ignore), toggle("--no-reexec", &a.ignore), toggle("--verbose", &a.ignore), toggle("-v", &a.ignore),
		{name: "--option", values: 2, set: func(v []string) error { a.options = append(a.options, "--option", v[0], v[1]); return nil }},
	}
}

// rebuilder holds the connections of one run open, as ssh's ControlMaster.
type rebuilder struct {
	p    *Program
	args rebuildArgs
	dir  string
	user []string // NIX_SSHOPTS, which come first and so win
}

func (p *Program) newRebuilder(a rebuildArgs) (*rebuilder, error) {
	dir, err := os.MkdirTemp("", "nixos-rebuild.")
	if err == nil && len(dir) >= 60 { // a socket's path has 104 bytes
		os.Remove(dir)
		dir, err = os.MkdirTemp("/tmp", "nixos-rebuild.")
	}
	opts, _ := p.getenv("NIX_SSHOPTS")
	return &rebuilder{p: p, args: a, dir: dir, user: strings.Fields(opts)}, err
}

func (r *rebuilder) sshOptions() []string {
	return append(slices.Clone(r.user), "-o", "ControlMaster=auto", "-o", "ControlPath="+r.dir+"/ssh-%n", "-o", "ControlPersist=60")
}

func (r *rebuilder) close() {
	sockets, _ := filepath.Glob(filepath.Join(r.dir, "ssh-*")) // the pattern is well-formed
	for _, socket := range sockets {
		r.p.command("ssh", []string{"-o", "ControlPath=" + socket, "-O", "exit", "dummyhost"}).Run() //nolint:errcheck // it may have ended
	}
	os.RemoveAll(r.dir)
}

// remoteFailure is a child of nixos-rebuild's that failed.
type remoteFailure struct {
	command []string
	cause   error
	sudo    bool
}

func (e *remoteFailure) Error() string {
	code := 0
	var child *childFailure
	if errors.As(e.cause, &child) {
		code = child.code
	}
	return fmt.Sprintf("Command '%s' returned non-zero exit status %d.", strings.Join(e.command, " "), code)
}

func (r *rebuilder) output(cmd *exec.Cmd, sudo bool) (string, error) {
	out, err := r.p.output(cmd)
	if err != nil {
		return "", &remoteFailure{command: cmd.Args, cause: err, sudo: sudo}
	}
	return strings.TrimSpace(out), nil
}

// ssh runs a command on a host with nothing of this environment in its own.
// What ssh is given are words for the shell there, where ${PATH-} is for it to
// read.
func (r *rebuilder) ssh(host string, sudo bool, env []string, words ...string) *exec.Cmd {
	args := append(r.sshOptions(), host, "--")
	if sudo {
		args = append(args, "sudo")
	}
	args = append(args, "env", "-i", "PATH=${PATH-}")
	args = append(args, env...)
	return r.p.command("ssh", append(args, words...))
}

func (r *rebuilder) copy(direction, host, path string) error {
	args := slices.Clone(r.args.options)
	if r.args.substitute {
		args = append(args, "-s")
	}
	cmd := r.p.command("nix-copy-closure", append(args, direction, host, path), "NIX_SSHOPTS="+strings.Join(r.sshOptions(), " "))
	_, err := r.output(cmd, false)
	return err
}

func (r *rebuilder) run(hivePath, node string) error {
	fmt.Fprintln(r.p.Stderr, "building the system configuration...")
	system, err := r.build(hivePath, node)
	if err != nil {
		return err
	}
	a := r.args
	switch {
	case a.buildHost == "" && a.targetHost != "":
		err = r.copy("--to", a.targetHost, system)
	case a.buildHost != "" && a.targetHost == "":
		err = r.copy("--from", a.buildHost, system)
	case a.buildHost != a.targetHost:
		cmd := r.p.command("nix", append([]string{
			"--extra-experimental-features", "nix-command flakes", "copy", "--from", "ssh://" + a.buildHost, "--to", "ssh://" + a.targetHost,
		}, system), "NIX_SSHOPTS="+strings.Join(r.sshOptions(), " "))
		_, err = r.output(cmd, false)
	}
	if err != nil {
		return err
	}
	if a.action == "switch" || a.action == "boot" {
		if _, err := r.output(r.ssh(a.targetHost, false, nil, "test", "-f", system+"/nixos-version"), false); err != nil {
			return fmt.Errorf("error: your NixOS configuration path seems to be missing essential files.\nThis is the evaluated NixOS configuration path: %s", system)
		}
		if _, err := r.output(r.ssh(a.targetHost, a.sudo, nil, "nix-env", "-p", systemProfile, "--set", system), a.sudo); err != nil {
			return err
		}
	}
	if a.action != "build" {
		if err := r.activate(system); err != nil {
			return err
		}
	}
	fmt.Fprint(r.p.Stderr, "Done. The new configuration is ")
	fmt.Fprintln(r.p.Stdout, system)
	return nil
}

func (r *rebuilder) build(hivePath, node string) (string, error) {
	h := &hive{path: hivePath}
	args := append(h.instantiate("hive.nodes."+NixString(node)+".config.system.build.toplevel"), r.args.options...)
	if r.args.showTrace {
		args = append(args, "--show-trace")
	}
	drv, err := r.output(r.p.command("nix-instantiate", args), false)
	var failed *remoteFailure
	if errors.As(err, &failed) { // the real one says what it ran
		failed.command = []string{"nix", "build", filepath.Dir(hivePath) + `#nixosConfigurations."` + node + `".config.system.build.toplevel`}
	}
	if err != nil {
		return "", err
	}
	if r.args.buildHost == "" {
		return r.output(r.p.command("nix-store", append([]string{"--no-gc-warning", "--realise", drv}, r.args.options...)), false)
	}
	if err := r.copy("--to", r.args.buildHost, drv); err != nil {
		return "", err
	}
	return r.output(r.ssh(r.args.buildHost, false, nil, "nix-store", "--realise", drv), false)
}

// activate runs the activation in a unit, but with --pipe, so that the unit
// lives and dies with the connection.
func (r *rebuilder) activate(system string) error {
	var words []string
	if _, err := r.output(r.ssh(r.args.targetHost, false, nil, "test", "-d", "/run/systemd/system"), false); err == nil {
		words = []string{
			"systemd-run", "-E", "LOCALE_ARCHIVE", "-E", "NIXOS_INSTALL_BOOTLOADER", "-E", "NIXOS_NO_CHECK", "--collect", "--no-ask-password",
			"--pipe", "--quiet", "--service-type=exec", "--unit=nixos-rebuild-switch-to-configuration",
		}
	}
	bootloader := "0"
	if r.args.installBootloader {
		bootloader = "1"
	}
	env := []string{"LOCALE_ARCHIVE=${LOCALE_ARCHIVE-}", "NIXOS_NO_CHECK=${NIXOS_NO_CHECK-}", "NIXOS_INSTALL_BOOTLOADER=" + bootloader}
	words = append(words, system+"/bin/switch-to-configuration", r.args.action)
	out, err := r.output(r.ssh(r.args.targetHost, r.args.sudo, env, words...), r.args.sudo)
	if out != "" {
		fmt.Fprintln(r.p.Stdout, out)
	}
	return err
}
