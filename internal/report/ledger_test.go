package report_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/report"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// book is a real ledger with a reading of it.
type book struct {
	*report.Reading
	t      *testing.T
	ledger *evidence.Ledger
}

func newBook(t *testing.T) *book {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "ledger")
	return &book{
		Reading: &report.Reading{Dir: dir, Signers: []signature.Signer{{Key: signer.PublicKey()}}, StateDir: filepath.Join(t.TempDir(), "state")},
		t:       t, ledger: &evidence.Ledger{Dir: dir, Signer: signer, Wait: 10 * time.Second, Logf: t.Logf},
	}
}

func (b *book) add(n int) {
	b.t.Helper()
	for range n {
		r := verdict.Report{Action: "node-validate", Subject: "edge-1", Checks: checks(good("")), Verdict: verdict.Proven}
		if _, err := b.ledger.Append(b.t.Context(), evidence.Entry{Report: r}); err != nil {
			b.t.Fatal(err)
		}
	}
}

// read returns how many entries were given, and the checks.
func (b *book) read() (int, []string) {
	b.t.Helper()
	n := 0
	l, _ := b.Read(b.t.Context(), func(*evidence.Entry) { n++ })
	if int64(n) != l.Entries {
		b.t.Errorf("%d entries given, %d said", n, l.Entries)
	}
	var ids []string
	for _, c := range l.Checks {
		ids = append(ids, c.ID+"="+string(c.Verdict))
	}
	return n, ids
}

func (b *book) wants(n int, ids ...string) {
	b.t.Helper()
	got, all := b.read()
	if same(b.t, ids, all); got != n {
		b.t.Errorf("%d entries, wanted %d", got, n)
	}
}

func (b *book) copy() (restore func()) {
	b.t.Helper()
	saved := filepath.Join(b.t.TempDir(), "copy")
	if err := os.CopyFS(saved, os.DirFS(b.Dir)); err != nil {
		b.t.Fatal(err)
	}
	return func() {
		if err := os.RemoveAll(b.Dir); err != nil {
			b.t.Fatal(err)
		}
		if err := os.CopyFS(b.Dir, os.DirFS(saved)); err != nil {
			b.t.Fatal(err)
		}
	}
}

func TestLedger(t *testing.T) {
	b := newBook(t)
	b.add(3)
	b.wants(3, "ledger=proven")
	setBack := b.copy()
	b.add(2)
	b.wants(5, "ledger=proven")
	// Set back together with its head: everything in it holds, and only what was
	// seen before tells.
	setBack()
	b.wants(3, "ledger-set-back=disproven")
	// And it does not become the new truth by being looked at twice.
	b.wants(3, "ledger-set-back=disproven")
	b.add(2) // two others
	b.wants(5, "ledger-set-back=disproven")
}

func TestLedgerBroken(t *testing.T) {
	b := newBook(t)
	b.add(4)
	path := filepath.Join(b.Dir, evidence.EntriesFile)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	lines[2] = strings.Replace(lines[2], "edge-1", "edge-2", 1)
	if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	b.wants(2, "ledger-edited=disproven")
	if _, err := os.Stat(b.StateDir); err == nil {
		t.Error("a broken ledger is remembered as one that was seen")
	}
}

func TestWitness(t *testing.T) {
	b := newBook(t)
	b.add(1)
	b.wants(1, "ledger=proven")
	files, err := filepath.Glob(filepath.Join(b.StateDir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q %v", files, err)
	}
	for _, text := range []string{"", "{", `{"schema":"other/v1"}`, `{"schema":"edge-actions/ledger-witness/v1","ledger":"/elsewhere","seq":1,"sha256":"` + strings.Repeat("a", 64) + `"}`} {
		if err := os.WriteFile(files[0], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, ids := b.read()
		if got != 1 || len(ids) != 2 || ids[0] != "ledger-witness=unproven" || ids[1] != "ledger=proven" {
			t.Errorf("%q: %d %q", text, got, ids)
		}
		if data, err := os.ReadFile(files[0]); err != nil || string(data) != text {
			t.Errorf("%q was written over by a run that could not read it", text)
		}
	}
	// Nowhere to remember it.
	b.StateDir = filepath.Join(b.Dir, evidence.EntriesFile, "state")
	if _, ids := b.read(); !strings.HasPrefix(strings.Join(ids, " "), "ledger-witness=unproven") {
		t.Errorf("%q", ids)
	}
}

func TestNoLedger(t *testing.T) {
	b := newBook(t)
	b.wants(0, "ledger-read=unproven")
	if err := os.Mkdir(b.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.wants(0, "ledger-empty=unproven")
}
