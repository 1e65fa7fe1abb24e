package report

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/internal/evidence"
	"edge-actions/internal/files"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"
)

const (
	// Whole is that the ledger is what was written; what is wrong with one is
	// evidence's to name.
	Whole = "ledger"
	// Remembered is the state of the ledger that was seen last.
	Remembered = "ledger-witness"
)

// Reading is a ledger that is read, and what is known of it from before.
type Reading struct {
	Dir     string
	Signers []signature.Signer
	// StateDir remembers how far the ledger was when it was read last: one that
	// was set back together with its head shows in nothing else.
	StateDir string
}

const witnessSchema = "edge-actions/ledger-witness/v1"

type witness struct {
	Schema string `json:"schema"`
	Ledger string `json:"ledger"`
	Seq    int64  `json:"seq"`
	SHA256 string `json:"sha256"`
}

// Read gives add every entry that holds, and says what is known of the ledger. A
// ledger that is whole is remembered.
func (r *Reading) Read(ctx context.Context, add func(*evidence.Entry)) (Ledger, []string) {
	var out Ledger
	seen, unread := r.remembered()
	out.Checks = append(out.Checks, verdict.ChecksOf(unread)...)
	s, err := evidence.Check(ctx, r.Dir, r.Signers, evidence.Options{Witness: seen, Each: func(e *evidence.Entry) error { add(e); return ctx.Err() }})
	if out.Entries = s.Entries; s.Entries > 0 {
		out.SHA256 = s.Last.SHA256
	}
	var notes []string
	if n := len(s.SetAside); n > 0 {
		notes = append(notes, fmt.Sprintf("%d times a kill tore an entry in the ledger, which was set aside: %.300q", n, strings.Join(s.SetAside, ", ")))
	}
	if err != nil {
		out.Checks = append(out.Checks, verdict.ChecksOf(err)...)
		return out, notes
	}
	before := "; it was not read before"
	if seen != nil {
		before = fmt.Sprintf("; entry %d, which was the last when it was read before, is among them", seen.Seq)
	}
	out.Checks = append(out.Checks, verdict.Check{ID: Whole, Verdict: verdict.Proven, Wanted: "a ledger that is as it was written", Got: fmt.Sprintf("%d entries, chained and signed%s", s.Entries, before)})
	if unread == nil { // else it may be evidence itself, and is not written over
		out.Checks = append(out.Checks, verdict.ChecksOf(r.remember(s.Last))...)
	}
	return out, notes
}

func (r *Reading) path() string {
	return filepath.Join(r.StateDir, fmt.Sprintf("%.16x.json", sha256.Sum256([]byte(r.Dir))))
}

func (r *Reading) remembered() (*evidence.Mark, error) {
	data, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var w witness
	if err == nil {
		err = json.Unmarshal(data, &w)
	}
	if err == nil && (w.Schema != witnessSchema || w.Ledger != r.Dir || w.Seq < 1 || len(w.SHA256) != 64) {
		err = errors.New("it is not what this action writes")
	}
	if err != nil {
		return nil, verdict.CannotTell(Remembered, "what was seen of the ledger last, in "+r.path(), err, "find out who wrote to it; removed, the next run begins anew, and cannot tell whether the ledger was set back before")
	}
	return &evidence.Mark{Seq: w.Seq, SHA256: w.SHA256}, nil
}

func (r *Reading) remember(m evidence.Mark) error {
	if m.Seq == 0 {
		return nil
	}
	data, err := json.Marshal(witness{witnessSchema, r.Dir, m.Seq, m.SHA256})
	if err == nil {
		err = os.MkdirAll(r.StateDir, 0o700)
	}
	if err == nil {
		err = files.Write(r.path(), append(data, '\n'))
	}
	if err != nil {
		return verdict.CannotTell(Remembered, "to remember how far the ledger is, in "+r.path(), err, "correct state_dir: without it nobody finds a ledger that is set back")
	}
	return nil
}
