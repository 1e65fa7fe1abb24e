package nixos

import (
	"strings"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

func newKey(t *testing.T) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestParseAgeKey(t *testing.T) {
	id := newKey(t)
	for name, c := range map[string]struct{ text, err string }{
		"as age-keygen writes it": {"# created: today\n# public key: x\n" + id.String() + "\n", ""},
		"without its newline":     {id.String(), ""},
		"empty":                   {"", "empty"},
		"blank":                   {"\n \n", "empty"},
		"no key":                  {"# nothing\n", "no line of it is a key"},
		"a public key":            {id.Recipient().String(), "no line of it is a key"},
		"two keys":                {id.String() + "\n" + newKey(t).String(), "more than one key"},
		"cut":                     {id.String()[:40], "damaged"},
		"one letter":              {strings.Replace(id.String(), "Q", "P", 1) + "Q", "damaged"},
	} {
		k, err := ParseAgeKey([]byte(c.text))
		switch {
		case c.err == "" && (err != nil || k.Recipient() != id.Recipient().String()):
			t.Errorf("%s: %v", name, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "SECRET-KEY-1Q")):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLabAgeKey(t *testing.T) {
	t.Parallel()
	l := lab.New(t, 1)
	n := newNode(t, l, l.Hosts[0])
	c := n.dial()
	defer c.Close()
	k, err := ParseAgeKey([]byte("# mine\n" + newKey(t).String() + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	const file = "/var/lib/sops-nix/key.txt"
	stage := func(want verdict.Verdict, got string, replace bool) {
		t.Helper()
		if check := StageAgeKey(t.Context(), c, k, file, replace); check.Verdict != want || !strings.Contains(check.Got, got) {
			t.Errorf("%+v, want %s: %s", check, want, got)
		}
		if left := n.must("ls /var/lib/sops-nix/.edge-* 2>/dev/null || true"); left != "" {
			t.Errorf("left: %s", left)
		}
	}
	stage(verdict.Proven, "staged", false)
	n.must("chmod 644 " + file + "; chown nixos /var/lib/sops-nix; chmod 755 /var/lib/sops-nix")
	stage(verdict.Proven, "kept", false)
	if got := n.must("stat -c '%U:%G %a' /var/lib/sops-nix " + file); got != "root:root 700\nroot:root 600" {
		t.Errorf("%s", got)
	}

	// What arrives damaged, or not at all, takes nobody's place.
	for _, text := range []string{"", "# mine\n", string(k.text[:len(k.text)/2]), string(k.text) + "x"} {
		damaged := *k
		out, err := c.Output(t.Context(), sshx.Cmd{
			Script: ageKeyScript, Root: true, Stdin: strings.NewReader(text), Timeout: time.Minute,
			Args: []string{file, digest(k.text), digest([]byte(damaged.line + "\n")), "yes"},
		}, 1000)
		if err != nil || string(out) != "damaged\n" {
			t.Errorf("%q: %v %q", text, err, out)
		}
	}
	if got := n.must("cat " + file); got+"\n" != string(k.text) {
		t.Error("the key was replaced")
	}
	// No room: the same.
	n.must("mount -t tmpfs -o size=4k tmpfs /var/lib/sops-nix && head -c 4096 /dev/zero >/var/lib/sops-nix/fill")
	stage(verdict.Unproven, "No space left", false)
	n.must("umount /var/lib/sops-nix")

	n.must("rm " + file + "; ln -s /etc/passwd " + file)
	stage(verdict.Disproven, "no regular file", true)
	n.must("rm " + file + "; : >" + file)
	stage(verdict.Proven, "staged", false)
	if check := CheckAgeKey(t.Context(), c, file, k.Recipient()); check.Verdict != verdict.Proven {
		t.Errorf("%+v", check)
	}
	if err := n.Put(file, newKey(t).String()); err != nil {
		t.Fatal(err)
	}
	stage(verdict.Disproven, "another key there, which was left", false)
	if check := CheckAgeKey(t.Context(), c, file, k.Recipient()); check.Verdict != verdict.Disproven || strings.Contains(check.Got, "SECRET") {
		t.Errorf("%+v", check)
	}
	stage(verdict.Proven, "replaced", true)
	// Elsewhere, the directory is somebody else's.
	if check := StageAgeKey(t.Context(), c, k, "/etc/age.txt", false); check.Verdict != verdict.Proven || n.must("stat -c %a /etc /etc/age.txt") != "755\n600" {
		t.Errorf("%+v, %s", check, n.must("stat -c %a /etc /etc/age.txt"))
	}
	if check := StageAgeKey(t.Context(), c, k, "../key.txt", true); check.Verdict != verdict.Disproven {
		t.Errorf("%+v", check)
	}
}
