package lib_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// slow puts a program before the real one on PATH that says so at the moment at
// which the step is to be killed, and waits. how has the real one as $real.
func (rel *release) slow(name, how string) {
	rel.t.Helper()
	real, err := exec.LookPath(name)
	if err != nil {
		rel.t.Fatal(err)
	}
	bin := filepath.Join(rel.runner.Home, "slow")
	rel.writeAt(filepath.Join(bin, name), `#!/bin/sh
real='`+real+`'
if test -n "$SLOW"; then `+how+`; touch "$HOME/hanging"; sleep 60; fi
exec "$real" "$@"
`)
	rel.runner.Env["PATH"] = bin + ":" + rel.runner.Env["PATH"]
	rel.runner.Env["SLOW"] = "yes"
}

// Killed wherever, a step leaves no half binary under the action's name, and the
// next one installs it and sweeps.
func TestAKilledInstall(t *testing.T) {
	hang := func(file string) func(rel *release) {
		return func(rel *release) {
			rel.runner.Env["SLOW"] = "yes" // the forge
			rel.runner.Env["EDGE_ACTIONS_RELEASES"] = rel.url
			rel.wrong = func(w http.ResponseWriter, r *http.Request) bool {
				if rel.runner.Env["SLOW"] == "" || r.URL.Path != "/v1.2.3/"+file {
					return false
				}
				w.Header().Set("Content-Length", "2000")
				w.Write([]byte("half"))
				w.(http.Flusher).Flush()
				os.WriteFile(filepath.Join(rel.runner.Home, "hanging"), nil, 0o600)
				<-r.Context().Done()
				return true
			}
		}
	}
	for name, test := range map[string]struct {
		slow  func(rel *release)
		after bool // the binary is there
	}{
		"at the list":          {hang("SHA256SUMS"), false},
		"at the signature":     {hang("SHA256SUMS.sig"), false},
		"at the binary":        {hang(this()), false},
		"checking":             {func(rel *release) { rel.slow("ssh-keygen", ":") }, false},
		"in the unpacked half": {func(rel *release) { rel.slow("gzip", `"$real" "$@" | head -c 20`) }, false},
		"unpacked":             {func(rel *release) { rel.slow("gzip", `"$real" "$@"`) }, false},
		"before the rename":    {func(rel *release) { rel.slow("mv", ":") }, false},
		"after the rename":     {func(rel *release) { rel.slow("mv", `"$real" "$@"`) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rel := newRelease(t)
			test.slow(rel)
			step := rel.step("hello")
			step.Start()
			if res := step.KillOnFile(filepath.Join(rel.runner.Home, "hanging")); res.ExitCode != -1 {
				t.Fatalf("exit code %d:\n%s", res.ExitCode, res.RawLog)
			}
			if got := rel.installed() != nil; got != test.after {
				t.Errorf("after the kill: %q", rel.installed())
			}
			if left := strings.Join(rel.left(), " "); !strings.Contains(left, ".hello.lock") || !strings.Contains(left, ".partial-hello-") {
				t.Fatalf("left by the kill: %s; this test expects a lock and a part", left)
			}
			delete(rel.runner.Env, "SLOW")
			for range 2 {
				if log := rel.run("hello"); !strings.Contains(log, "released "+machine()) {
					t.Errorf("after the kill:\n%s", log)
				}
			}
			if left := rel.left(); left != nil && !test.after {
				t.Errorf("not swept: %q", left)
			}
			if n := rel.built(); n != 0 {
				t.Errorf("%d builds", n)
			}
		})
	}
}

// Several that want the same binary fetch it once.
func TestTogetherTheyFetchOnce(t *testing.T) {
	t.Parallel()
	rel := newRelease(t)
	rel.slow("gzip", `echo x >>"$HOME/unpacked"; exec "$real" "$@"`)
	done := make(chan bool)
	for range 4 {
		go func() { rel.exec("hello"); done <- true }()
	}
	for range 4 {
		<-done
	}
	if data, err := os.ReadFile(filepath.Join(rel.runner.Home, "unpacked")); err != nil || string(data) != "x\n" {
		t.Errorf("unpacked: %q, %v", data, err)
	}
}
