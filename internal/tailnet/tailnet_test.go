package tailnet

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// double writes a stand-in for the command line: it prints a status as the
// real one of 1.102 does, and runs the script for a ping of 100.64.0.3. It leaves out all
// else; the real one is tested in internal/testing/tailnetlab.
func double(t *testing.T, ping string) *CLI {
	t.Helper()
	dir := t.TempDir()
	status, err := filepath.Abs(filepath.Join("testdata", "status", "running.json"))
	if err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\ncase $1 in\nstatus) if [ -n \"${STATUS-}\" ]; then echo \"$STATUS\"; else cat '" + status + "'; fi ;;\nping) [ \"$*\" = 'ping --c=0 --timeout=2s --until-direct=false 100.64.0.3' ] || exit 64; " + ping + " ;;\n*) exit 64 ;;\nesac\n"
	return &CLI{Path: program(t, dir, "tailscale", script), Env: Environ(os.Environ()), Timeout: time.Minute}
}

func program(t *testing.T, dir, name, script string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFind(t *testing.T) {
	onPath, app, empty := t.TempDir(), filepath.Join(t.TempDir(), "Tailscale.app", "Contents", "MacOS"), t.TempDir()
	if err := os.MkdirAll(app, 0o755); err != nil {
		t.Fatal(err)
	}
	tool := program(t, onPath, "tailscale", "#!/bin/sh\n")
	inApp := program(t, app, "Tailscale", "#!/bin/sh\n")
	inApp, err := filepath.EvalSymlinks(inApp)
	if err != nil {
		t.Fatal(err)
	}
	linked := t.TempDir()
	if err := os.Symlink(inApp, filepath.Join(linked, "tailscale")); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ path, name, goos, app, want string }{
		"on PATH":                      {onPath, "", "linux", inApp, tool},
		"on PATH of a Mac":             {onPath, "", "darwin", inApp, tool},
		"in the app":                   {empty, "", "darwin", inApp, inApp},
		"behind a link to the app":     {linked, "", "darwin", inApp, inApp},
		"by its path":                  {empty, tool, "linux", inApp, tool},
		"there is no app elsewhere":    {empty, "", "linux", inApp, ""},
		"there is no app":              {empty, "", "darwin", inApp + "-not", ""},
		"a name is meant as it is":     {onPath, "tailscale-unstable", "darwin", inApp, ""},
		"a path is meant as it is":     {onPath, filepath.Join(empty, "tailscale"), "darwin", inApp, ""},
		"a file that is not a program": {empty, filepath.Join("testdata", "status", "running.json"), "linux", inApp, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("PATH", tc.path)
			got, err := find(tc.name, tc.goos, tc.app)
			if got != tc.want || (err == nil) != (tc.want != "") {
				t.Fatalf("%q, %v", got, err)
			}
			if err != nil && (verdict.Reason(err) != ToolMissing || !strings.Contains(err.Error(), "install Tailscale")) {
				t.Error(err)
			}
		})
	}
}

func TestEnviron(t *testing.T) {
	got := Environ([]string{"PATH=/bin", "HOME=/h", "GITHUB_TOKEN=hunter2", "TS_DEBUG_X=1", "TAILSCALE_BE_CLI=0", "INPUT_KEY=hunter2"})
	for _, kv := range []string{"PATH=/bin", "HOME=/h", "TAILSCALE_BE_CLI=1"} {
		if !slices.Contains(got, kv) {
			t.Errorf("%s is missing in %q", kv, got)
		}
	}
	if all := strings.Join(got, "\n"); strings.Contains(all, "hunter2") || strings.Contains(all, "TS_") {
		t.Errorf("%q", got)
	}
}

func TestStatusAsks(t *testing.T) {
	dir := t.TempDir()
	c := double(t, "")
	c.Path = program(t, dir, "tailscale", "#!/bin/sh\necho \"$@\" >'"+dir+"/args'\nexec '"+c.Path+"' status\n")
	c.Socket = "/run/t.sock"
	if s, err := c.Status(t.Context()); err != nil || s.BackendState != running {
		t.Fatalf("%+v, %v", s, err)
	}
	if args := read(t, filepath.Join(dir, "args")); string(args) != "--socket=/run/t.sock status --json\n" {
		t.Errorf("%q", args)
	}
}

func TestStatusRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		limit  time.Duration
		says   []string
	}{
		"tailscaled is not running": {`echo "failed to connect to local tailscaled; it doesn't appear to be running" >&2; exit 1`, time.Minute, []string{"appear to be running", "start it"}},
		"the Mac's is not":          {`echo "failed to connect to local Tailscale service; is Tailscale running?" >&2; exit 1`, time.Minute, []string{"is Tailscale running?", "start it"}},
		"not for this user":         {`echo "failed to connect to local tailscaled (which appears to be running as tailscaled, pid 7). Got error: dial unix /run/t.sock: connect: permission denied" >&2; exit 1`, time.Minute, []string{"permission denied", "let this user"}},
		"words on stdout":           {`printf 'The Tailscale GUI failed to start\n::error::x'; exit 1`, time.Minute, []string{`"The Tailscale GUI failed to start\n::error::x"`, "as the same user"}},
		"no words":                  {`exit 3`, time.Minute, []string{"exit code 3", "as the same user"}},
		"it hangs":                  {`exec sleep 600`, 50 * time.Millisecond, []string{"no end after 50ms"}},
		"it says nothing":           {`exit 0`, time.Minute, []string{"found nothing"}},
		"it says something else":    {`echo '# Health check:'`, time.Minute, []string{`"# Health check:\n"`}},
		"it does not stop":          {`head -c 40000000 /dev/zero`, time.Minute, []string{"more than 33554432 bytes"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &CLI{Path: program(t, t.TempDir(), "tailscale", "#!/bin/sh\n"+tc.script+"\n"), Env: Environ(os.Environ()), Timeout: tc.limit}
			s, err := c.Status(t.Context())
			checks := verdict.ChecksOf(err)
			if s != nil || len(checks) != 1 || checks[0].ID != NoStatus || checks[0].Verdict != verdict.Unproven {
				t.Fatalf("%+v, %v", s, err)
			}
			for _, want := range tc.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("it does not say %q: %v", want, err)
				}
			}
			fit(t, checks)
		})
	}
}

func TestStatusCancelled(t *testing.T) {
	cause := errors.New("the job was cancelled")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := double(t, "").Status(ctx); !errors.Is(err, cause) || verdict.Has(err, NoStatus) {
		t.Error(err)
	}
}

func TestOutputKeepsWhatItMay(t *testing.T) {
	o := &output{max: 5}
	for _, text := range []string{"abc", "defg", "h"} {
		if n, err := o.Write([]byte(text)); n != len(text) || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	if o.String() != "abcde" {
		t.Errorf("%q", o.String())
	}
}
