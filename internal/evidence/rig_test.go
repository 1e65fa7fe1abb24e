package evidence

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

func newSigner(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rig is a ledger and its key.
type rig struct {
	*Ledger
	t   testing.TB
	log strings.Builder
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t}
	r.Ledger = &Ledger{Dir: filepath.Join(t.TempDir(), "ledger"), Signer: newSigner(t), Wait: 10 * time.Second}
	r.Logf = func(format string, args ...any) { fmt.Fprintf(&r.log, format+"\n", args...) }
	return r
}

// about is an entry as an action leaves one.
func about(n int) Entry {
	r := verdict.Report{Action: "node-validate", Subject: fmt.Sprintf("edge-%d", n), Started: time.Unix(1_750_000_000, 0).UTC()}
	r.Prove("ssh", "a login", "one in 0.2 s")
	r.Finish(r.Started.Add(2 * time.Second))
	return Entry{Repository: "example/runtime", Workflow: "validate", Job: "node", RunID: fmt.Sprint(n), RunNumber: fmt.Sprint(n), Commit: strings.Repeat("0123456789", 4), Runner: "mini",
		Report: r, Outputs: map[string]string{"verdict": "proven", "nodes": `[{"name":"edge-1 <&>"}]`}}
}

// grow appends entries.
func (r *rig) grow(n int) Mark {
	r.t.Helper()
	var m Mark
	for i := range n {
		var err error
		if m, err = r.Append(context.Background(), about(i)); err != nil {
			r.t.Fatal(err)
		}
	}
	return m
}

func (r *rig) signers() []signature.Signer { return []signature.Signer{{Key: r.Signer.PublicKey()}} }

func (r *rig) check() (Summary, error) {
	return Check(context.Background(), r.Dir, r.signers(), Options{})
}

// whole holds that nothing is wrong, and returns how many entries there are.
func (r *rig) whole() int64 {
	r.t.Helper()
	s, err := r.check()
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Entries
}

func (r *rig) read(name string) []byte {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return data
}

func (r *rig) put(name string, data []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.Dir, name), data, 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) lines() []string {
	r.t.Helper()
	return strings.SplitAfter(strings.TrimSuffix(string(r.read(EntriesFile)), "\n"), "\n")
}

// putLines writes lines, and adds the newline that the last may lack.
func (r *rig) putLines(lines []string) {
	r.t.Helper()
	text := ""
	for _, l := range lines {
		text += strings.TrimSuffix(l, "\n") + "\n"
	}
	r.put(EntriesFile, []byte(text))
}

// copyTo puts a copy of the ledger elsewhere.
func (r *rig) copyTo(dir string) *rig {
	r.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		r.t.Fatal(err)
	}
	for _, name := range []string{EntriesFile, HeadFile} {
		if err := os.WriteFile(filepath.Join(dir, name), r.read(name), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	c := &rig{t: r.t, Ledger: &Ledger{Dir: dir, Signer: r.Signer, Wait: r.Wait, Logf: r.Logf}}
	return c
}

// findings are those that an error has, as "kind line".
func findings(err error) []string {
	if err == nil {
		return nil
	}
	var out []string
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			out = append(out, findings(e)...)
		}
		return out
	}
	f := (*Finding)(nil)
	if !errors.As(err, &f) {
		return []string{"error " + err.Error()}
	}
	return []string{fmt.Sprintf("%s %d", f.Kind, f.Line)}
}

// keyFile makes a key as an operator does.
func keyFile(t testing.TB, path string) string {
	t.Helper()
	out, err := exec.Command("ssh-keygen", "-q", "-N", "", "-C", "runner", "-t", "ed25519", "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return path
}

func remove(t testing.TB, r *rig, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(r.Dir, name)); err != nil {
		t.Fatal(err)
	}
}
