package evidence

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// snippet is the check that the README shows.
func snippet(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```bash\n")
	code, _, ok := strings.Cut(rest, "```")
	if !ok || strings.Contains(code, "edge-actions ") {
		t.Fatal("the README has no such snippet")
	}
	return code
}

// ssh-keygen and sha256sum alone tell a ledger from one that was changed.
func TestTheShellSnippetOfTheReadme(t *testing.T) {
	code := snippet(t)
	r := newRig(t)
	last := r.grow(5)
	signers := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(signers, append([]byte("runner "), ssh.MarshalAuthorizedKey(r.Signer.PublicKey())...), 0o600); err != nil {
		t.Fatal(err)
	}
	entries, document := string(r.read(EntriesFile)), string(r.read(HeadFile))
	lines := strings.SplitAfter(entries, "\n")
	for name, tt := range map[string]struct {
		entries, head string
		want          string // of what it says
		ok            bool
	}{
		"as it is":          {entries, document, fmt.Sprintf("5 entries hold; the last is %s", last.SHA256), true},
		"edited":            {strings.Replace(entries, "edge-2", "edge-9", 1), document, "line 3: not signed", false},
		"edited signature":  {strings.Replace(entries, `"signature":"U`, `"signature":"V`, 1), document, "line 1: not signed", false},
		"edited at the end": {strings.Join(lines[:4], "") + strings.Replace(lines[4], "edge-4", "edge-9", 1), document, "line 5: not signed", false},
		"removed":           {strings.Join(lines[:2], "") + strings.Join(lines[3:], ""), document, "line 3: not the one after", false},
		"swapped":           {lines[1] + lines[0] + strings.Join(lines[2:], ""), document, "line 1: not the one after", false},
		"repeated":          {lines[0] + entries, document, "line 2: not the one after", false},
		"truncated":         {strings.Join(lines[:4], ""), document, "line 4: the head names another end", false},
		"half a line":       {entries[:len(entries)-40], document, "line 4: the head names another end", false},
		"an edited head":    {entries, strings.Replace(document, `"seq":5`, `"seq":4`, 1), "line 5: the head is not signed", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := r.copyTo(filepath.Join(t.TempDir(), "copy"))
			c.put(EntriesFile, []byte(tt.entries))
			c.put(HeadFile, []byte(tt.head))
			out, err := exec.Command("bash", "-c", code, "check", c.Dir, signers).CombinedOutput()
			if (err == nil) != tt.ok || !strings.Contains(string(out), tt.want) {
				t.Errorf("%v\n%s", err, out)
			}
			if _, err := c.check(); (err == nil) != tt.ok {
				t.Errorf("and Check says %v", err)
			}
		})
	}
}
