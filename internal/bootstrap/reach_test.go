package bootstrap

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// nixos-anywhere switches the checks of host keys off, in front of whatever it
// is given. Of two options ssh takes the first, and ours come before its.
func TestPinnedSSH(t *testing.T) {
	right, wrong := newServer(t), newServer(t)
	b, home := at(t, right)
	dir := t.TempDir()
	// A path that has to be quoted.
	odd := filepath.Join(t.TempDir(), "it's a $(dir)")
	b.Anywhere = AnywhereTool{SSH: odd + "/ssh", SCP: odd + "/scp"}
	for _, name := range []string{"ssh", "scp"} {
		link(t, realtools.Path(t, name), filepath.Join(odd, name))
	}
	config, err := colmena.WriteSSHConfig(dir, []colmena.Pin{{Name: "edge-1", Host: "127.0.0.1", HostKey: right.key.PublicKey(), IdentityFile: filepath.Join(home, "identity")}}, "")
	if err != nil {
		t.Fatal(err)
	}
	bin, err := b.pinnedSSH(dir, config)
	if err != nil {
		t.Fatal(err)
	}
	file := write(t, filepath.Join(home, "file"), "x")
	loose := []string{"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "GlobalKnownHostsFile=/dev/null"}
	for name, s := range map[string]*server{"the right one": right, "another": wrong} {
		t.Run(name, func(t *testing.T) {
			for program, args := range map[string][]string{
				"ssh": {"-p", fmt.Sprint(s.port), "root@127.0.0.1", "echo in"},
				"scp": {"-O", "-P", fmt.Sprint(s.port), file, "root@127.0.0.1:" + filepath.Join(t.TempDir(), "copy")},
			} {
				cmd := exec.Command(filepath.Join(bin, program), append(append([]string{}, loose...), args...)...)
				cmd.Env = []string{"HOME=" + home, "PATH=/usr/bin:/bin"}
				out, err := cmd.CombinedOutput()
				if (err == nil) != (s == right) {
					t.Errorf("%s: %v\n%s", program, err, out)
				}
				if s == wrong && !strings.Contains(string(out), "Host key verification failed") {
					t.Errorf("%s: %s", program, out)
				}
			}
		})
	}
}

// A tool that brings an ssh of its own is not content that was held to the key.
func TestAnywhereWithItsOwnSSH(t *testing.T) {
	s := newServer(t)
	for name, tt := range map[string]struct{ tool, says string }{
		"its own":  {"PATH=/usr/bin:/bin\nexit 0\n", "another one"},
		"it fails": {"PATH=/usr/bin:/bin\nexit 3\n", "nixos-anywhere to come to its end"},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := at(t, s)
			b.Deploy.Dir = t.TempDir()
			b.Times.Transition = time.Minute
			b.Log.Fence = func(string) io.WriteCloser { return sink{t} }
			b.Anywhere = AnywhereTool{Path: write(t, filepath.Join(t.TempDir(), "nixos-anywhere"), "#!/bin/sh\n"+tt.tool), SSH: realtools.Path(t, "ssh"), SCP: realtools.Path(t, "scp"), Flake: ".#edge-1"}
			err := b.anywhere(t.Context(), &Seen{Stage: Bare, User: "root", conn: s.dial(t, b)}, "kexec,disko,install,reboot")
			if verdict.Reason(err) != Transition {
				t.Fatalf("%v", err)
			}
			contains(t, err.Error(), tt.says)
		})
	}
}

// A jump that lets nobody in says nothing of the host behind it, and the way may
// yet open.
func TestLoginThroughAJump(t *testing.T) {
	host, jump := newServer(t), newServer(t)
	b, home := at(t, host)
	known := write(t, filepath.Join(home, "jump_known"), "jump "+jump.hostKey()+"\n")
	b.member.Target.Config = write(t, filepath.Join(home, "config"), fmt.Sprintf("Host jump\n  HostName 127.0.0.1\n  Port %d\n  User someone\n  HostKeyAlias jump\n  IdentityFile %s/identity\n  UserKnownHostsFile %s\nHost 127.0.0.1\n  ProxyJump jump\n", jump.port, home, known))
	jump.refuses = true
	_, _, err := b.login(t.Context())
	if verdict.Reason(err) != sshx.Unreachable {
		t.Errorf("%v", err)
	}
	contains(t, err.Error(), "someone@", "authorized_keys")

	b.member.Target.Config = write(t, filepath.Join(home, "config"), "")
	host.refuses = true
	_, _, err = b.login(t.Context())
	if verdict.Reason(err) != Login {
		t.Errorf("%v", err)
	}
	contains(t, err.Error(), "one of ubuntu, root", "login_users")
	host.refuses = false
	if _, user, err := b.login(t.Context()); user != "ubuntu" || err != nil {
		t.Errorf("%s, %v", user, err)
	}
}

// The clock is set if it is off by more than the limit, never back under a
// running K3s, and what it says afterwards is what counts.
func TestSetClock(t *testing.T) {
	const hour = 3600
	k3s := func(state string) []string { return []string{"k3s.service=" + state} }
	for name, tt := range map[string]struct {
		off    int
		units  []string
		stuck  bool // it can't be set
		denied bool
		want   verdict.Verdict
		set    bool
		says   string
	}{
		"right":                        {0, nil, false, false, verdict.Proven, false, "0s"},
		"off within the limit":         {20, nil, false, false, verdict.Proven, false, "s"},
		"behind within the limit":      {-20, k3s("active"), false, false, verdict.Proven, false, "s"},
		"behind":                       {-hour, nil, false, false, verdict.Proven, true, "0s, it was -"},
		"ahead":                        {hour, nil, false, false, verdict.Proven, true, "0s, it was"},
		"behind under a running K3s":   {-hour, k3s("active"), false, false, verdict.Proven, true, "it was"},
		"ahead under a running K3s":    {hour, k3s("active"), false, false, verdict.Disproven, false, "K3s is running"},
		"ahead while K3s starts":       {hour, k3s("activating"), false, false, verdict.Disproven, false, "K3s is running"},
		"ahead, K3s is stopped":        {hour, k3s("inactive"), false, false, verdict.Proven, true, "it was"},
		"ahead, K3s has failed":        {hour, k3s("failed"), false, false, verdict.Proven, true, "it was"},
		"ahead, and something sets it": {hour, nil, true, false, verdict.Disproven, true, "after it was set"},
		"ahead, and it may not be set": {hour, nil, false, true, verdict.Unproven, false, "exit code 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			b, _ := at(t, s)
			b.MaxSkew = 30 * time.Second
			offset := write(t, filepath.Join(t.TempDir(), "offset"), fmt.Sprint(tt.off))
			// Its clock is the real one and an offset, which -s writes.
			write(t, filepath.Join(s.path, "date"), fmt.Sprintf("#!/bin/sh\noffset=%s denied=%t stuck=%t\n", offset, tt.denied, tt.stuck)+`
now=$(/bin/date +%s)
case "$1 $2" in
"-u -s")
	[ $denied = false ] || exit 1
	: >$offset.set
	[ $stuck = true ] || echo $((${3#@} - now)) >$offset
	;;
"-u +%s") echo $((now + $(cat $offset))) ;;
*) exit 64 ;;
esac
`)
			write(t, filepath.Join(s.path, "hwclock"), "#!/bin/sh\n")
			checks, err := b.setClock(t.Context(), &Seen{conn: s.dial(t, b), facts: facts(t, "", tt.units...)})
			if err != nil || len(checks) != 1 || checks[0].ID != ClockSet || checks[0].Verdict != tt.want {
				t.Fatalf("%+v, %v", checks, err)
			}
			contains(t, checks[0].Got, tt.says)
			if found, _ := filepath.Glob(offset + ".set"); (len(found) == 1) != tt.set {
				t.Errorf("set: %v, want %v", found, tt.set)
			}
			if b.Changed != (tt.set || tt.denied) {
				t.Errorf("changed: %v", b.Changed)
			}
		})
	}
	t.Run("not asked for", func(t *testing.T) {
		if checks, err := (&Bootstrap{}).setClock(t.Context(), nil); checks != nil || err != nil {
			t.Errorf("%v, %v", checks, err)
		}
	})
	t.Run("no time at all", func(t *testing.T) {
		s := newServer(t)
		b, _ := at(t, s)
		b.MaxSkew = time.Second
		write(t, filepath.Join(s.path, "date"), "#!/bin/sh\necho '::noon::'\n")
		_, err := b.setClock(t.Context(), &Seen{conn: s.dial(t, b), facts: facts(t, "")})
		if verdict.Reason(err) != ClockSet {
			t.Errorf("%v", err)
		}
	})
}
