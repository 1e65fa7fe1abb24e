package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

func buildAction(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "nixos-bootstrap")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	return binary
}

// step is the action as a runner runs it: a process in a group that can be
// killed.
func (j *job) step(binary string, args ...string) *runnertest.Step {
	j.t.Helper()
	r := runnertest.New(j.t)
	for _, kv := range j.Environ() {
		if name, value, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "GITHUB_") && !strings.HasPrefix(name, "RUNNER_") && !strings.HasPrefix(name, "INPUT_") {
			r.Env[name] = value
		}
	}
	r.Workspace = j.Workspace
	s := r.Step(append([]string{binary}, args...), j.Inputs)
	s.Timeout = 3 * time.Minute
	return s
}

// The runner is killed in every phase. The post phase, which is what still runs
// after a cancel, shuts the door; the next run takes the machine up from what
// it shows, and all end in the same place.
func TestLabCutInEveryPhase(t *testing.T) {
	t.Parallel()
	binary := buildAction(t)
	ends := make(chan string, 32)
	const hosts = 4
	slots := make(chan struct{}, hosts)
	t.Run("points", func(t *testing.T) {
		for i, text := range []string{
			"opening port 22", "what is to be done with", "starting nixos-infect", "unpacking 1 channels", "building '/nix/store", "pending (debian)",
			"kept for the next boot", "down after", "nixos (nixos), in as root", "evaluating the hive", "looking at it before",
			"nixos-rebuild switches it", "starting the following units: app.service", "edge-1: converged",
		} {
			t.Run(plainName(text), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				l := lab.NewBare(t, 1)
				j := newJob(t, l, l.Hosts[0])
				j.cut(binary, text, i%2 == 0)
				r := j.Do()
				if r.Code != 0 || r.Outputs["public_ssh"] != "closed" || r.Outputs["outcome"] != "converged" && r.Outputs["outcome"] != "unchanged" {
					t.Fatalf("the next run: %d %v\n%s", r.Code, r.Outputs, r.Log)
				}
				j.shut()
				ends <- r.Outputs["system_path"] + " " + must(t, j.host, "stat -c '%U:%G %a' /var/lib/sops-nix/key.txt; readlink -f /run/current-system /nix/var/nix/profiles/system | uniq | wc -l; ls /home")
			})
		}
	})
	close(ends)
	same := map[string]int{}
	for end := range ends {
		same[end]++
	}
	if len(same) != 1 {
		t.Errorf("not all end in the same place: %v", same)
	}
}

// cut kills a run at a line of its log. post says whether the runner still runs
// the post phase; without it, the next run is what shuts the door.
func (j *job) cut(binary, text string, post bool) {
	j.t.Helper()
	s := j.step(binary)
	s.Start()
	s.KillAt(text)
	if !post {
		return
	}
	p := j.step(binary, "post").Run()
	if !p.Green() {
		j.t.Errorf("the post phase: %d\n%s", p.ExitCode, p.Log)
	}
	j.shut()
}

// The post phase of a run that came to its end has nothing to do, and asks
// nobody; that of a run which can't reach the cloud says so.
func TestPost(t *testing.T) {
	j := rightJob(t)
	j.Inputs["oci_config_file"] = "/nowhere/config"
	r := jobtest.New(t, metadata, post)
	r.Inputs = j.Inputs
	if res := r.Do(); res.Code != 0 {
		t.Errorf("%d\n%s", res.Code, res.Log)
	}
	dir := filepath.Join(j.Inputs["runner_dir"], "ingress")
	realtools.Output(t, "mkdir", "-p", dir)
	write(t, filepath.Join(dir, strings.Repeat("a", 32)+".json"), "{}")
	res := r.Do()
	res.Want("", "input-oci_auth=disproven")
	// Who does not know where to look has not found nothing.
	r.Inputs["runner_dir"] = "state"
	res = r.Do()
	res.Want("", "input-runner_dir=disproven")
}

// Until it is proven closed it is open, with the earliest refusal too.
func TestOpenUntilProven(t *testing.T) {
	j := rightJob(t)
	j.Inputs["mode"] = "dry"
	if r := j.Do(); r.Outputs["public_ssh"] != "open" || r.Outputs["changed"] != "" {
		t.Errorf("%v", r.Outputs)
	}
}

// plainName is for a directory that Nix can import from.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, s)
}
