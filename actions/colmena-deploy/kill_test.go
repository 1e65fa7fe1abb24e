package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// step is the action as a runner runs it: a process in a group that can be
// killed.
func (j *job) step(binary string) *runnertest.Step {
	j.t.Helper()
	r := runnertest.New(j.t)
	for _, kv := range j.Environ() {
		if name, value, _ := strings.Cut(kv, "="); !strings.HasPrefix(name, "GITHUB_") && !strings.HasPrefix(name, "RUNNER_") && !strings.HasPrefix(name, "INPUT_") {
			r.Env[name] = value
		}
	}
	r.Workspace = j.Workspace
	colmenatest.WriteHive(j.t, j.Workspace, j.hive)
	s := r.Step([]string{binary}, j.Inputs)
	s.Timeout = 2 * time.Minute
	return s
}

func buildAction(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "colmena-deploy")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	return binary
}

// settle waits until no activation is under way on the host, and proves that
// it is on one system and can be reached. What a killed run has asked for may be
// yet to begin there: so half-way counts only if it stays so.
func settle(t *testing.T, h *lab.Host) string {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		units, err := h.Run("systemctl list-units --all --plain --no-legend 'edge-actions-*'")
		late := time.Now().After(end)
		if err == nil && units == "" && h.WaitSSH() == nil {
			if got := system(t, h); late || !strings.HasPrefix(got, "half-way") {
				return got
			}
		} else if late {
			t.Fatalf("an activation is still under way: %v %s", err, units)
		}
	}
}

// The runner is killed at every step of the sequence. The host is on one
// system afterwards, whoever decided which, and the next run is clean, whether
// it waits until the host has settled or begins at once.
func TestLabKilledAtEveryStep(t *testing.T) {
	binary := buildAction(t)
	type point struct {
		name, log, file string
		atOnce          bool // the next run begins while the host is still at it
	}
	var points []point
	for _, text := range []string{"evaluating the hive", "looking at edge-1", "building and pushing", "Pushing system closure", "activating /nix", "not committed yet", "it becomes the boot default", "edge-1: converged"} {
		points = append(points, point{name: text, log: text})
	}
	for _, file := range []string{
		"var/lib/sops-nix/.edge-actions-*", "var/lib/sops-nix/key.txt",
		"run/edge-actions/activation-*", "run/edge-actions/activation-*/guard", "run/edge-actions/activation-*/deadline", "run/edge-actions/activation-*/started",
		"run/edge-actions/activation-*/activation.log", "run/edge-actions/activation-*/activation.exit", "run/edge-actions/activation-*/verdict",
		"nix/var/nix/gcroots/edge-actions/previous", "nix/var/nix/profiles/system-2-link",
	} {
		points = append(points, point{name: file, file: file})
	}
	for _, file := range []string{"run/edge-actions/activation-*/deadline", "run/edge-actions/activation-*/activation.exit", "run/edge-actions/activation-*/verdict"} {
		points = append(points, point{name: file + " at once", file: file, atOnce: true})
	}
	const hosts = 5
	killed := make(chan string, len(points))
	t.Run("points", func(t *testing.T) {
		slots := make(chan struct{}, hosts)
		for _, p := range points {
			t.Run(plainName(p.name), func(t *testing.T) {
				t.Parallel()
				slots <- struct{}{}
				defer func() { <-slots }()
				l := lab.New(t, 1) // each from the first generation on
				h := l.Hosts[0]
				first := system(t, h)
				j := newJob(t, l, "kill", "good")
				j.Inputs["confirm_timeout"], j.Inputs["activate_timeout"] = "12s", "6s"
				s := j.step(binary)
				s.Start()
				if p.log != "" {
					s.KillAt(p.log)
					killed <- p.name
				} else {
					root, err := h.Root()
					if err != nil {
						t.Fatal(err)
					}
					if _, ok := s.TryKillOnFile(filepath.Join(root, p.file)); ok {
						killed <- p.name
					}
				}
				if !p.atOnce {
					got := settle(t, h)
					if strings.HasPrefix(got, "half-way") || got != first && !strings.Contains(got, "nixos-system-edge-1-kill") {
						t.Fatalf("it is on %s", got)
					}
				}
				r := j.do()
				if r.Code != 0 || r.Outputs["outcome"] != "converged" && r.Outputs["outcome"] != "unchanged" {
					t.Fatalf("the next run: %d %v\n%s", r.Code, r.Outputs, r.Log)
				}
				if got := settle(t, h); got != r.Outputs["system_path"] {
					t.Errorf("it is on %s", got)
				}
				if left := must(t, h, "ls -d /var/lib/sops-nix/.edge* /run/edge-actions/new /nix/var/nix/gcroots/edge-actions/previous 2>/dev/null || true"); left != "" {
					t.Errorf("left behind: %s", left)
				}
				if got := must(t, h, "stat -c '%U:%G %a' /var/lib/sops-nix/key.txt; grep -c . /var/lib/sops-nix/key.txt"); got != "root:root 600\n2" {
					t.Errorf("the age key: %s", got)
				}
			})
		}
	})
	close(killed)
	var names []string
	for name := range killed {
		names = append(names, name)
	}
	if len(names) < len(points)-4 { // some files are there for a moment only
		t.Errorf("killed at %d of %d points: %q", len(names), len(points), names)
	}
	t.Logf("killed at %d of %d points", len(names), len(points))
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
