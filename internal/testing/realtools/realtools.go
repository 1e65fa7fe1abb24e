// Package realtools finds the real programs that tests run against. A test
// that needs one fails without it: a skipped proof is none.
package realtools

import (
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"testing"
)

// Path returns the path of a program, or fails the test with the way to get it.
func Path(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not on PATH: run the tests with ./scripts/test, which installs it", name)
	}
	return path
}

// Output runs a program and returns what it printed to stdout.
func Output(t testing.TB, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Path(t, name), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// Environ is the environment of this test without what would point a tool at
// a configuration of the machine's, and with the given variables.
func Environ(set ...string) []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "TF_") && !strings.HasPrefix(kv, "INPUT_") && !strings.HasPrefix(kv, "GITHUB_") && !strings.HasPrefix(kv, "RUNNER_") {
			env = append(env, kv)
		}
	}
	return append(env, set...)
}

// Interruptible gives what this process starts the interrupt back. A shell takes
// it from a command that it starts in the background, and then it is ignored in
// every process below.
func Interruptible() {
	if signal.Ignored(os.Interrupt) {
		signal.Notify(make(chan os.Signal, 1), os.Interrupt)
	}
}
