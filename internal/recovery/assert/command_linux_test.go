package assert

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// canSee is a command that ends with 0 if any of what should be out of reach is
// not, and says what by its exit code's own number.
func canSee(r *restoredRig, port string) string {
	outside := filepath.Join(r.work, "..", "outside")
	if err := os.WriteFile(outside, []byte(marker), 0o644); err != nil {
		r.t.Fatal(err)
	}
	return fmt.Sprintf(`
		if cat %s; then exit 41; fi
		if ls /root /home /var /sys; then exit 42; fi
		if bash -c 'exec 3<>/dev/tcp/127.0.0.1/%s'; then exit 43; fi
		if echo x >etc/app.conf; then exit 44; fi
		if echo x >new; then exit 45; fi
		if rm etc/app.conf; then exit 46; fi
		if echo x >/usr/x; then exit 47; fi
		if kill -0 %d; then exit 48; fi
		test -r etc/app.conf`, outside, port, os.Getpid())
}

// As root on Linux a command sees the tree and the system's programs, and
// nothing else; each of the lesser ways is as close as it says.
func TestCommandSeesOnlyTheTree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	r := newRestored(t)
	r.write("/etc/app.conf", marker)
	os.Chmod(r.at("/etc"), 0o777)
	script := canSee(r, port)
	checks := r.assert(Assertion{Command: &Command{Argv: []string{"sh", "-c", script}}})
	got, text := told(checks)
	confinedFully := strings.Contains(text, "no network") && strings.Contains(text, "read-only")
	if want := proven; os.Geteuid() == 0 && (got[CommandExit] != want || !confinedFully) {
		t.Errorf("%s", text)
	}
	if got[CommandExit] == proven && !confinedFully {
		t.Errorf("it saw only the tree and says something else:\n%s", text)
	}

	// The program itself may lie anywhere.
	tool := filepath.Join(r.work, "..", "my-check")
	if err := os.WriteFile(tool, []byte("#!/bin/sh\ntest -r etc/app.conf\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect(t, r.assert(Assertion{Command: &Command{Argv: []string{tool}}}), map[string]verdict.Verdict{CommandExit: proven})

	run := &confined{dir: r.dir, grace: time.Second, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.work}}
	if os.Geteuid() == 0 {
		net := confinements()[1]
		argv, err := net.wrap([]string{"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/" + port}, r.dir, r.work)
		if err != nil {
			t.Fatal(err)
		}
		if code, _, err := run.run(context.Background(), argv, time.Minute); err != nil || code == 0 {
			t.Errorf("the network was there: %d %v", code, err)
		}
	}
	argv, _ := unconfined().wrap([]string{"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/" + port}, r.dir, r.work)
	if code, _, err := run.run(context.Background(), argv, time.Minute); err != nil || code != 0 {
		t.Errorf("the listener of this test is not one: %d %v", code, err)
	}
}

// What a command leaves behind ends with it, also where nothing confines it and
// also when its deadline ends it.
func TestCommandEndsAsAGroup(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{
		"it ends":     `sleep 600 >/dev/null 2>&1 & echo $! >"$HOME/pid"`,
		"it does not": `trap '' TERM; sleep 600 >/dev/null 2>&1 & echo $! >"$HOME/pid"; sleep 600; sleep 600`,
	} {
		run := &confined{dir: dir, grace: 100 * time.Millisecond, env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}}
		_, _, _ = run.run(context.Background(), []string{"sh", "-c", script}, time.Second) // how it ends is another test's
		pid, err := os.ReadFile(filepath.Join(dir, "pid"))
		if err != nil {
			t.Fatal(err)
		}
		if !gone(string(pid)) {
			t.Errorf("%s: %s is still there", name, strings.TrimSpace(string(pid)))
		}
	}
}

// No etcd is left, and none listened on a port.
func TestEtcdIsGone(t *testing.T) {
	whole, _ := snapshot(t, map[string][]byte{bootstrapKey(marker): sealed(t, marker, "{}")})
	r := cluster(t)
	r.write("/snap", string(whole))
	expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, EtcdSnapshot: "/snap"}}),
		map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: proven, K3sBootstrap: proven})
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, at := range all {
		if line, err := os.ReadFile(at); err == nil && strings.Contains(string(line), r.work) {
			t.Errorf("%s: %q is left", at, line)
		}
	}
}
