package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/command"
	"edge-actions/internal/contracts"
	"edge-actions/internal/rclone"
	"edge-actions/internal/restic"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/tofu"
	"edge-actions/internal/versions"
)

const askTime = 30 * time.Second // for a program to tell its version

func lookTofu(ctx context.Context, u *use) []finding {
	in := u.a.Inputs()
	name, want := in.Text("tofu_path"), versions.Constraint{}
	if _, has := u.action.Input("tofu_version"); has { // emit-handoff takes what apply took
		want = in.Constraint("tofu_version")
	}
	if err := in.Err(); err != nil {
		return of("", err)
	}
	what := strings.TrimSpace("tofu " + want.String())
	path, version, err := tofu.Find(ctx, name, want, tofu.Environ(u.d.environ, nil, nil))
	if err != nil {
		return of(what, err)
	}
	return []finding{{status: ok, what: what, found: version + " at " + path}}
}

// program finds a program, which has no version that matters.
func program(name, fix string) []finding {
	path, err := exec.LookPath(name)
	if err == nil && !filepath.IsAbs(path) {
		err = fmt.Errorf("one at %q, by a PATH that is not absolute", path)
	}
	if err != nil {
		return []finding{failed(missing, filepath.Base(name), err, fix)}
	}
	return []finding{{status: ok, what: filepath.Base(name), found: "at " + path}}
}

func lookProgram(input, fix string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding { return program(u.a.Inputs().Text(input), fix) }
}

const installGit = "install git (apt install git, xcode-select --install)"

func lookGit(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding {
		if input == "" {
			return program("git", installGit)
		}
		return program(u.a.Inputs().Text(input), installGit+", or set "+input)
	}
}

// lookOffsite: where the copies of the archives go.
func lookOffsite(ctx context.Context, u *use) []finding {
	in := u.a.Inputs()
	return u.offsite(ctx, in.Text("offsite"), in.Text("rclone_path"))
}

func (u *use) offsite(ctx context.Context, place, name string) []finding {
	switch {
	case place == "" || place == "none":
		return nil
	case rclone.IsRemote(place):
		return u.remote(ctx, place, name)
	}
	return u.dir("offsite", place, "mount the disk, or make the directory there: mkdir -p "+place)
}

// remote: rclone, and the remote in its configuration. The remote itself is not
// asked for anything.
func (u *use) remote(ctx context.Context, place, name string) []finding {
	path, err := rclone.Find(name)
	if err != nil {
		return of("rclone", err)
	}
	out := []finding{{status: ok, what: "rclone", found: "at " + path}}
	remote, _, _ := strings.Cut(place, ":")
	what := "the remote " + remote + ": in rclone's configuration"
	list, err := command.Output(ctx, command.Cmd{Path: path, Args: []string{"listremotes"}, Env: rclone.Environ(u.d.environ), Timeout: askTime, Grace: time.Second}, 1<<20)
	switch {
	case err != nil:
		return append(out, failed(unknown, what, err, "see what rclone listremotes says"))
	case !slices.Contains(strings.Fields(string(list)), remote+":"):
		return append(out, finding{status: missing, what: what, found: fmt.Sprintf("%q", strings.Fields(string(list))), fix: "make it: rclone config create " + remote + " TYPE"})
	}
	return append(out, finding{status: ok, what: what, found: "there"})
}

func lookRestic(ctx context.Context, u *use) []finding {
	return u.restic(ctx, u.a.Inputs().Text("restic_path"))
}

func (u *use) restic(ctx context.Context, name string) []finding {
	what := fmt.Sprintf("%s >= %s", filepath.Base(name), restic.Oldest)
	if _, err := exec.LookPath(name); err != nil {
		return []finding{failed(missing, what, err, "install restic "+restic.Oldest+" or newer (NixOS: pkgs.restic; brew install restic), or give its path")}
	}
	repo := restic.Repository{}
	if !restic.Wraps(name) {
		repo.URL, repo.PasswordFile = "/dev/null", "/dev/null" // which nobody asks for a version
	}
	c, err := restic.New(restic.Local{Path: name, Env: restic.Environ(u.d.environ)}, repo, restic.Options{Timeout: askTime})
	if err != nil {
		return of(what, err)
	}
	version, err := c.Version(ctx)
	if err != nil {
		return of(what, err)
	}
	return []finding{{status: ok, what: what, found: version}}
}

// noTailnet reports whether nobody is reached through the tailnet: it is off,
// or all is done on the runner.
func noTailnet(u *use) bool {
	if !u.is("tailnet", "required") {
		return true
	}
	switch u.action.Name {
	case "restic-restore-check":
		return u.empty("run_on")
	case "backup-validate":
		f, _ := u.contracts()
		return f != nil && !slices.ContainsFunc(f.Contracts, func(c contracts.Contract) bool { return c.Host != "" })
	}
	return false
}

func lookTailnet(ctx context.Context, u *use) (out []finding) {
	in := u.a.Inputs()
	name, margin := in.Text("tailscale_path"), in.Duration("key_margin", 0, 365*24*time.Hour)
	if err := in.Err(); err != nil {
		return of("", err)
	}
	path, err := tailnet.Find(name)
	if err != nil {
		return of("tailscale", err)
	}
	out = []finding{{status: ok, what: "tailscale", found: "at " + path}}
	cli := tailnet.CLI{Path: path, Env: tailnet.Environ(u.d.environ), Timeout: 15 * time.Second}
	status, err := cli.Status(ctx)
	if err != nil {
		return append(out, of("", err)...)
	}
	for _, c := range status.Check(u.d.now, margin) {
		out = append(out, ofCheck("", c))
	}
	return out
}

const installNix = "install Nix (https://nixos.org/download)"

func lookColmena(ctx context.Context, u *use) []finding {
	in := u.a.Inputs()
	name, want := in.Text("colmena_path"), in.Constraint("colmena_version")
	if err := in.Err(); err != nil {
		return of("", err)
	}
	out := u.version(ctx, "colmena", name, want, "install Colmena (nix profile install nixpkgs#colmena), or set colmena_path")
	// Nix copies the systems through it.
	return append(out, program("ssh", "install OpenSSH's client (apt install openssh-client)")...)
}

func lookNix(ctx context.Context, u *use) []finding {
	in := u.a.Inputs()
	want := in.Constraint("nix_version")
	if err := in.Err(); err != nil {
		return of("", err)
	}
	return u.version(ctx, "nix-instantiate", "nix-instantiate", want, installNix)
}

// version holds a program that knows --version against a constraint.
func (u *use) version(ctx context.Context, tool, name string, want versions.Constraint, fix string) []finding {
	what := strings.TrimSpace(tool + " " + want.String())
	path, err := exec.LookPath(name)
	if err != nil {
		return []finding{failed(missing, what, err, fix)}
	}
	version, err := colmena.CheckVersion(ctx, path, tool, colmena.Environ(u.d.environ), want, fix)
	if err != nil {
		return of(what, err)
	}
	return []finding{{status: ok, what: what, found: version + " at " + path}}
}

// node: an action of JavaScript runs on the node of this machine; a Forgejo
// runner in host mode and act bring none. oldest may be empty.
func (d *doctor) node(oldest, whose string) []finding {
	fix := "install Node.js (apt install nodejs, brew install node)"
	what := "node for " + whose
	path, err := exec.LookPath("node")
	if err != nil {
		return []finding{failed(missing, what, err, fix)}
	}
	if oldest == "" {
		return []finding{{status: ok, what: what, found: "at " + path}}
	}
	want, err := versions.ParseConstraint(">= " + oldest)
	if err != nil {
		return of(what, err)
	}
	what = fmt.Sprintf("node %s for %s", want, whose)
	out, err := command.Output(context.Background(), command.Cmd{Path: path, Args: []string{"--version"}, Env: command.Environ(d.environ, command.Base, nil), Timeout: askTime, Grace: time.Second}, 1<<10)
	if err != nil {
		return []finding{failed(unknown, what, err, fix)}
	}
	version := strings.TrimSpace(string(out))
	if err := want.Check("node", version, fix); err != nil {
		return of(what, err)
	}
	return []finding{{status: ok, what: what, found: version + " at " + path}}
}
