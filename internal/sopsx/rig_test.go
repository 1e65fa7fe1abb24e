package sopsx

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// secretWord is in every secret of the tests, and must be in no error.
const secretWord = "correct-horse"

// key is an age key that age-keygen made.
type key struct {
	recipient string
	ids       []Identity
}

func newKey(t testing.TB) key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.txt")
	realtools.Output(t, "age-keygen", "-o", path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := ParseIdentities(data)
	if err != nil {
		t.Fatal(err)
	}
	return key{strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", path)), ids}
}

// encrypt has the real sops encrypt text, with a .sops.yaml whose one rule has
// the given lines.
func encrypt(t testing.TB, format Format, text string, rule ...string) string {
	t.Helper()
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	for path, content := range map[string]string{plain: text, filepath.Join(dir, ".sops.yaml"): "creation_rules:\n  - " + strings.Join(rule, "\n    ") + "\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(realtools.Path(t, "sops"), "encrypt", "--input-type", string(format), "--output-type", string(format), plain)
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	out, err := cmd.Output()
	if err != nil {
		if e, ok := err.(*exec.ExitError); ok {
			t.Fatalf("sops: %v\n%s", err, e.Stderr)
		}
		t.Fatal(err)
	}
	return string(out)
}

func read(t testing.TB, text string, format Format) *File {
	t.Helper()
	f, err := Read([]byte(text), format)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return f
}

func name(t testing.TB, text string) Name {
	t.Helper()
	n, err := ParseName(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return n
}

func names(t testing.TB, texts ...string) []Name {
	t.Helper()
	var out []Name
	for _, text := range texts {
		out = append(out, name(t, text))
	}
	return out
}

// refused proves that err is the one check, says what it should in one line,
// and has nothing of a secret.
func refused(t testing.TB, err error, id string, says ...string) {
	t.Helper()
	if err == nil || verdict.Reason(err) != id {
		t.Errorf("%v, want a check %s", err, id)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	if strings.Contains(err.Error(), secretWord) || strings.Contains(err.Error(), "\n") {
		t.Errorf("a secret, or a second line, is in %q", err)
	}
}
