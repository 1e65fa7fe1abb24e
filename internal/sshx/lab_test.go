package sshx

import (
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"

	"github.com/google/go-cmp/cmp"
)

// As another user, with a real sudo: what arrives is what was sent, nothing of
// it is in a command line, and a sudo that asks is told from a script that
// fails.
func TestLabRoot(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	c := dialed(t, Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"})
	run := func(cmd Cmd) (string, error) {
		t.Helper()
		cmd.Root, cmd.Timeout = true, generous
		out, err := c.Output(t.Context(), cmd, 1<<20)
		return string(out), err
	}
	for script, want := range map[string]string{
		"id -u":                                "0\n",
		`set -- $SSH_CONNECTION; echo "$3 $4"`: h.Address + " 22\n",
		"cat; echo after":                      "stdin\nafter\n",
	} {
		out, err := run(Cmd{Script: script, Stdin: strings.NewReader("stdin\n")})
		if err != nil || out != want {
			t.Errorf("%s: %v, %q", script, err, out)
		}
	}
	out, err := run(Cmd{Script: `printf '%s\0' "$@"`, Args: hostile})
	if diff := cmp.Diff(strings.Join(hostile, "\x00")+"\x00", out); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	out, err = run(Cmd{Script: `set -- "$(id -u)" "$@" $SSH_CONNECTION; printf '%s\0' "$@"; cat`, Args: hostile, Public: true})
	if want := "0\x00" + strings.Join(hostile, "\x00") + "\x00"; err != nil || !strings.HasPrefix(out, want) || !strings.HasSuffix(out, h.Address+"\x0022\x00") {
		t.Errorf("in public: %v %q", err, out)
	}
	out, err = run(Cmd{Script: `for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline; echo; done; : "$1"`, Args: []string{"sesame"}})
	if err != nil || strings.Contains(out, "sesame") || !strings.Contains(out, "sudo -n") {
		t.Errorf("%v %s", err, out)
	}
	if _, err := run(Cmd{Script: "exit 1"}); err == nil || strings.Contains(err.Error(), SudoRefused) {
		t.Errorf("%v", err)
	}
	if string(c.HostKey().Marshal()) == "" || !strings.HasPrefix(h.HostKey, c.HostKey().Type()) {
		t.Error("which key the host showed")
	}
	if key, err := ParseHostKey(read(t, l.Key+".pub")); err != nil || string(key.Marshal()) != string(c.LoginKey().Marshal()) {
		t.Errorf("%v: which key the host let in", err)
	}
	if _, err := h.Run("rm /etc/sudoers.d/nixos"); err != nil {
		t.Fatal(err)
	}
	_, err = run(Cmd{Script: "id -u"})
	refused(t, err, SudoRefused, "NOPASSWD")
}

// A host that boots or goes down lets nobody in but root, by pam_nologin. sshd
// ends such a login without a word, which is not a refusal: it is waited for.
func TestLabNoLoginYet(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	target := Target{Host: h.Address, User: "nixos", HostKeys: []string{h.HostKey}, IdentityFiles: []string{l.Key}, Config: "none"}
	if _, err := h.Run("echo 'System is booting up.' >/run/nologin"); err != nil {
		t.Fatal(err)
	}
	_, err := Dial(t.Context(), target, quick())
	refused(t, err, Unreachable, "EOF")
	done := make(chan error, 1)
	go func() {
		c, err := Wait(t.Context(), target, quick(), generous)
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	if _, err := h.Run("rm /run/nologin"); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
