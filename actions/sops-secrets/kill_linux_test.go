package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/realtools"
)

// traced are the system calls by which the action changes something.
var traced = []string{"renameat", "unlinkat", "fsync", "mkdirat"}

// rig runs the action as a program that can be killed.
type rig struct {
	*job
	binary string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	realtools.Path(t, "strace")
	r := &rig{newJob(t), filepath.Join(t.TempDir(), "sops-secrets")}
	realtools.Output(t, "go", "build", "-o", r.binary, ".")
	return r
}

// run runs it under strace with the given arguments.
func (r *rig) run(j *jobtest.Job, args ...string) ([]byte, error) {
	r.t.Helper()
	cmd := exec.Command(realtools.Path(r.t, "strace"), append(append([]string{"-f", "-qq"}, args...), r.binary)...)
	// strace counts the calls of each thread by itself; with one that runs at a
	// time most of them are of the first.
	cmd.Env = append(j.Environ(), "GOMAXPROCS=1")
	return cmd.CombinedOutput()
}

// inject runs it with one of its calls killed or failed.
func (r *rig) inject(j *jobtest.Job, call, what string, when int) ([]byte, error) {
	return r.run(j, "-o", os.DevNull, "-e", "trace="+call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, what, when))
}

// calls counts the traced calls of a whole run.
func (r *rig) calls(j *jobtest.Job) map[string]int {
	r.t.Helper()
	trace := filepath.Join(r.t.TempDir(), "trace")
	if out, err := r.run(j, "-o", trace, "-e", "trace="+strings.Join(traced, ",")); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(trace)
	if err != nil {
		r.t.Fatal(err)
	}
	n := map[string]int{}
	for _, name := range traced {
		n[name] = strings.Count(string(data), " "+name+"(")
	}
	return n
}

// must runs it and wants it to be green.
func (r *rig) must(j *jobtest.Job) {
	r.t.Helper()
	cmd := exec.Command(r.binary)
	cmd.Env = j.Environ()
	if out, err := cmd.CombinedOutput(); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
}

// other is a job of the same runner's user with the inputs of this one: in the
// same places with another run id, or elsewhere.
func (r *rig) other(run string, elsewhere bool) *jobtest.Job {
	j := *r.Job
	j.Env = []string{"GITHUB_REPOSITORY=example/runtime", "GITHUB_RUN_ATTEMPT=1", "GITHUB_JOB=deploy", "GITHUB_RUN_ID=" + run}
	j.Inputs = map[string]string{"mode": "sweep", "keep_for": "1h"}
	if elsewhere {
		j.Temp, j.Workspace = r.t.TempDir(), r.t.TempDir()
	}
	return &j
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && strings.Contains(err.Error(), "killed")
}

// TestKilledAtEveryBoundary kills a decrypting run with SIGKILL at the entry of
// each call. The next run of any job of this user removes what it left, unless
// the files were handed over already: those go with the next run that can tell
// that the job is over.
func TestKilledAtEveryBoundary(t *testing.T) {
	r := newRig(t)
	r.Inputs["keep_for"] = "1h"
	var points, dirty, kept int
	for call, n := range r.calls(r.Job) {
		for i := 1; i <= n; i++ {
			out, err := r.inject(r.Job, call, "signal=KILL", i)
			for try := 0; err == nil && try < 3; try++ { // the calls were on other threads
				r.must(r.other("1", false))
				out, err = r.inject(r.Job, call, "signal=KILL", i)
			}
			if err == nil {
				continue
			}
			if !killed(err) {
				t.Fatalf("%s %d: %v\n%s", call, i, err, out)
			}
			points++
			if len(r.plaintext()) > 0 {
				dirty++
			}
			r.must(r.other("2", true))
			for _, path := range r.plaintext() {
				marker, err := os.ReadFile(filepath.Join(filepath.Dir(path), ".edge-actions.json"))
				if err != nil || !strings.Contains(string(marker), `"kept":true`) {
					t.Errorf("%s %d: %s is there after the next run: %s, %v", call, i, path, marker, err)
				}
				kept++
			}
			r.must(r.other("3", false))
			for _, path := range r.plaintext() {
				t.Errorf("%s %d: %s is there after the next run in this workspace", call, i, path)
			}
		}
	}
	t.Logf("killed at %d points, %d of them with secrets on the disk; %d files were kept by then", points, dirty, kept)
	if points < 12 || dirty < 6 || kept == 0 {
		t.Error("too few of them")
	}
}

// TestKilledSweep kills the sweeping of kept files at each of its calls; the
// next one ends it.
func TestKilledSweep(t *testing.T) {
	r := newRig(t)
	sweep := r.other("1", false)
	r.must(r.Job)
	points := 0
	for call, n := range r.calls(sweep) {
		for i := 1; i <= n; i++ {
			r.must(r.Job)
			if len(r.plaintext()) == 0 {
				t.Fatal("nothing to sweep")
			}
			out, err := r.inject(sweep, call, "signal=KILL", i)
			if err != nil && !killed(err) {
				t.Fatalf("%s %d: %v\n%s", call, i, err, out)
			}
			if err != nil {
				points++
			}
			r.must(sweep)
			for _, path := range r.plaintext() {
				t.Errorf("%s %d: %s is there after the next sweep", call, i, path)
			}
			if left, _ := filepath.Glob(filepath.Join(r.Temp, "edge-actions/kept-*")); len(left) > 0 {
				t.Errorf("%s %d: %v is there after the next sweep", call, i, left)
			}
		}
	}
	if points < 3 {
		t.Errorf("only %d points", points)
	}
}

// TestFailedAtEveryBoundary has the disk run full at each call instead: the run
// is red and takes its secrets away itself.
func TestFailedAtEveryBoundary(t *testing.T) {
	r := newRig(t)
	points := 0
	for call, n := range r.calls(r.Job) {
		if call == "unlinkat" {
			continue // what can't be removed is the next run's, as after a kill
		}
		r.must(r.other("1", false))
		for i := 1; i <= n; i++ {
			out, err := r.inject(r.Job, call, "error=ENOSPC", i)
			if err == nil {
				r.must(r.other("1", false))
				continue // a call whose failure costs nothing, such as the mark of a fence
			}
			points++
			if !strings.Contains(string(out), "no space left on device") {
				t.Errorf("%s %d: it does not say why:\n%s", call, i, out)
			}
			// The outputs are written after the files are handed over, so a
			// report that fails leaves them to the step that sweeps.
			if strings.Contains(string(out), "proven     written") {
				r.must(r.other("1", false))
			}
			r.clean(string(out))
		}
	}
	if points < 5 {
		t.Errorf("only %d points", points)
	}
}
