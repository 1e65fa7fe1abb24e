// Package double follows the contracts of two programs that need nixpkgs and
// so can't run here, flaws included: Colmena (zhaofengli/colmena at 5bf4ce6,
// 0.5.0-pre) and nixos-rebuild (nixos-rebuild-ng of nixpkgs). What they do to
// hosts it does too, with the same children: ssh, nix-instantiate, nix-store,
// nix-copy-closure, all real.
//
// Flaws of Colmena that are kept, since the suite exists for them: a selection
// of no nodes is a success ("All done!", exit 0; its warning is hidden unless
// RUST_LOG is set), a node without targetHost is passed over in silence, an
// unknown host key is accepted, nothing has a deadline, the profile is set
// before the activation and stays set when that fails, there is no result per
// node, a bad glob is a panic, --reboot has an ssh that ended with 255 count as
// a reboot request and then looks at /run/current-system alone.
//
// What is left out of Colmena: the evaluation of NixOS modules (see
// colmenatest.WriteHive: here a node of the hive is its config already, and
// `nodes.NAME` has no attribute but config); flakes (for flake.nix the hive.nix
// beside it is read, and closures then go by `nix copy`); deployment.keys;
// exec, apply-local, repl, nix-info; the streaming evaluator; the guess from
// the free memory how many nodes to evaluate at once (all of them); spinners
// and colours; the second that it sleeps at its end. Nodes are taken in the
// order of their names and not at random.
//
// What is left out of nixos-rebuild: flakes likewise, and building and becoming
// the configuration's own nixos-rebuild; all actions but build, switch, boot,
// test and dry-activate; rollback, specialisations, other profiles, password
// prompts. With --build-host the build is `nix-store --realise` in place of
// `nix build DRV^*`, which the hosts' Nix is too old for.
package double

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Program is the world that a double runs in.
type Program struct {
	Dir            string // "" is the process's own
	Env            []string
	Stdout, Stderr io.Writer
}

// notHere is the exit code for what a double leaves out; the real programs
// never end with it.
const notHere = 70

// exit is an end with a certain code, after everything was said.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Main runs the double of the program called name and returns its exit code.
func (p *Program) Main(name string, args []string) int {
	p.Stderr = &lines{w: p.Stderr}
	var err error
	switch name {
	case "colmena":
		err = p.colmena(args)
	case "nixos-rebuild":
		err = p.rebuild(args)
	default:
		err = p.leftOut("it stands for no program of the name %q", name)
	}
	var code exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(p.Stderr, err)
	return 1
}

func (p *Program) leftOut(format string, args ...any) error {
	fmt.Fprintf(p.Stderr, "this double leaves something out: "+format+"\n", args...)
	return exit(notHere)
}

// panicked is how a Rust program ends at a broken assertion.
func (p *Program) panicked(where, message string) error {
	fmt.Fprintf(p.Stderr, "\nthread 'main' panicked at %s:\n%s\nnote: run with `RUST_BACKTRACE=1` environment variable to display a backtrace\n", where, message)
	return exit(101)
}

func (p *Program) getenv(name string) (string, bool) {
	for i := len(p.Env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(p.Env[i], name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// command is a child without stdin; set is added to its environment.
func (p *Program) command(name string, args []string, set ...string) *exec.Cmd {
	cmd := exec.Command(p.find(name), args...)
	cmd.Args[0], cmd.Dir = name, p.Dir
	cmd.Env = append(append([]string{}, p.Env...), set...)
	return cmd
}

// find looks on the PATH of p.Env, which is not that of a test's process.
func (p *Program) find(name string) string {
	path, _ := p.getenv("PATH")
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file
		}
	}
	return filepath.Join("/nonexistent", name) // and the start says so
}

// output runs a child whose stderr is ours and returns its stdout.
func (p *Program) output(cmd *exec.Cmd) (string, error) {
	cmd.Stderr = p.Stderr
	out, err := cmd.Output()
	return string(out), childError(err)
}

// childError says how a child ended in Colmena's words.
func childError(err error) error {
	var ended *exec.ExitError
	var start *os.PathError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &ended):
		status, _ := ended.Sys().(syscall.WaitStatus)
		if status.Signaled() {
			return &childFailure{code: -1, text: fmt.Sprintf("Child process was killed by signal %d", status.Signal())}
		}
		return &childFailure{code: ended.ExitCode(), text: fmt.Sprintf("Child process exited with error code: %d", ended.ExitCode())}
	case errors.As(err, &start) && errors.Is(start.Err, syscall.ENOENT):
		return errors.New("I/O Error: No such file or directory (os error 2)")
	}
	return fmt.Errorf("I/O Error: %w", err)
}

type childFailure struct {
	code int
	text string
}

func (e *childFailure) Error() string { return e.text }

// lines keeps what many children write at the same time apart.
type lines struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
