package double

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	systemProfile = "/nix/var/nix/profiles/system"
	currentSystem = "/run/current-system"
)

// rebootPoll is how often Colmena asks whether a host is back, for as long as
// it takes.
const rebootPoll = 2 * time.Second

// host is a machine behind ssh.
type host struct {
	p         *Program
	target    string // user@host, or host
	root      bool
	privilege []string
	options   []string
	nixCopy   bool // what flakes are pushed with
}

func (h *hive) host(d deployment) *host {
	t := &host{p: h.p, target: *d.TargetHost, privilege: d.Privilege, nixCopy: h.flake}
	if d.TargetUser != nil {
		t.target, t.root = *d.TargetUser+"@"+t.target, *d.TargetUser == "root"
	}
	// The first value of an option is the one that ssh takes, so what follows
	// can't set StrictHostKeyChecking.
	t.options = append([]string{"-o", "StrictHostKeyChecking=accept-new", "-o", "BatchMode=yes", "-T"}, d.SSHOptions...)
	if d.TargetPort != nil {
		t.options = append(t.options, "-p", strconv.Itoa(int(*d.TargetPort)))
	}
	if config, ok := h.p.getenv("SSH_CONFIG_FILE"); ok {
		t.options = append(t.options, "-F", config)
	}
	return t
}

func (t *host) environ() string { return "NIX_SSHOPTS=" + strings.Join(t.options, " ") }

// ssh runs a command on the host, as root. ssh joins the words with spaces.
func (t *host) ssh(words ...string) *exec.Cmd {
	args := append([]string{t.target}, t.options...)
	args = append(args, "--")
	if !t.root {
		args = append(args, t.privilege...)
	}
	return t.p.command("ssh", append(args, words...), t.environ())
}

// copyTo pushes a closure; for a derivation, with what it was built to.
func (t *host) copyTo(path string, substitute, gzip bool) *exec.Cmd {
	if !t.nixCopy {
		args := []string{"--to", "--include-outputs"}
		if substitute {
			args = append(args, "--use-substitutes")
		}
		if gzip {
			args = append(args, "--gzip")
		}
		return t.p.command("nix-copy-closure", append(args, t.target, path), t.environ())
	}
	args := []string{"--extra-experimental-features", "nix-command", "copy", "--no-check-sigs"}
	if substitute {
		args = append(args, "--substitute-on-destination", "--builders-use-substitutes")
	}
	if strings.HasSuffix(path, ".drv") {
		args = append(args, "--derivation")
	}
	store := "ssh-ng://" + t.target
	if gzip {
		store += "?compress=true"
	}
	return t.p.command("nix", append(args, "--to", store, path), t.environ())
}

// captured runs a child, has the job print what it says, and returns its
// stdout.
func (p *Program) captured(j *job, cmd *exec.Cmd, hideStdout bool) (string, error) {
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", childError(err)
	}
	event := "stdout"
	if hideStdout {
		event = ""
	}
	var out string
	var both sync.WaitGroup
	both.Go(func() { out = j.follow(event, stdout) })
	both.Go(func() { j.follow("stderr", stderr) })
	both.Wait()
	return out, childError(cmd.Wait())
}

func (t *host) run(j *job, words ...string) error {
	_, err := t.p.captured(j, t.ssh(words...), false)
	return err
}

// activate sets the profile first and activates then: two connections, and
// nobody undoes the first if the second fails.
func (t *host) activate(j *job, system, goal string) error {
	if goal == "switch" || goal == "boot" {
		if err := t.run(j, "nix-env", "--profile", systemProfile, "--set", system); err != nil {
			return err
		}
	}
	return t.run(j, system+"/bin/switch-to-configuration", goal)
}

// mainProfile is what the host would boot, as far as its profile says.
func (t *host) mainProfile() (string, error) {
	return t.storePath(t.ssh("sh", "-c", fmt.Sprintf(`"readlink -e %s || readlink -e %s"`, systemProfile, currentSystem)))
}

func (t *host) storePath(cmd *exec.Cmd) (string, error) {
	out, err := t.p.output(cmd)
	if err != nil {
		return "", err
	}
	path, _, _ := strings.Cut(out, "\n")
	switch {
	case path == "":
		return "", errors.New("Could not determine current profile") //nolint:staticcheck // Colmena's words
	case !strings.HasPrefix(path, "/nix/store/"):
		return "", errors.New("Invalid Nix store path") //nolint:staticcheck // Colmena's words
	}
	return path, nil
}

// reboot waits without bound for another boot id. want is the system to find
// then, if any.
func (t *host) reboot(j *job, want string) error {
	bootID := func() (string, error) { return t.p.output(t.ssh("cat", "/proc/sys/kernel/random/boot_id")) }
	before, err := bootID()
	if err != nil {
		return err
	}
	err = t.run(j, "reboot")
	var failed *childFailure
	if err != nil && !(errors.As(err, &failed) && failed.code == 255) { // 255: "the connection was closed"
		return err
	}
	j.message("Waiting for reboot")
	for {
		if after, err := bootID(); err == nil && after != before {
			break
		}
		time.Sleep(rebootPoll)
	}
	if want == "" {
		return nil
	}
	got, err := t.storePath(t.ssh("readlink", "-e", currentSystem))
	if err == nil && got != want {
		err = fmt.Errorf("Unexpected active profile: Profile(StorePath(%q))", got) //nolint:staticcheck // Colmena's words
	}
	return err
}
