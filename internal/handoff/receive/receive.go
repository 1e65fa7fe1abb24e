// Package receive decides what a repository believes of a handoff that was
// brought to it: who signed it, whether it is the document that was sent, how old
// it is, and whether it speaks of an older state than one that was seen before. It
// refuses a handoff that nobody vouches for.
package receive

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/handoff"
	"edge-actions/internal/handoff/schema"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// The ids of the checks. That of the signature is handoff's "signature", that of
// the form schema's "schema".
const (
	// Document is that there is one, with the digest that was passed.
	Document = "handoff"
	// Source is the repository that it says it comes from.
	Source = "handoff-source"
	// Age is how old it is.
	Age = "handoff-age"
	// Serial is the state that it speaks of against the last one seen.
	Serial = "handoff-serial"
	// Lineage is that it is the same state at all.
	Lineage = "handoff-lineage"
)

// Guards are what can be accepted by name, for one run.
var Guards = []string{"new", "serial", "lineage"}

// Rules are what is believed.
type Rules struct {
	// Signers may have signed it.
	Signers []ssh.PublicKey
	// SHA256 is the digest that the one who sent it gave, "" if there was none.
	SHA256 string
	// Repository is the one that it must come from, as owner/name.
	Repository string
	// MaxAge is how old it may be, MaxSkew how far its clock may be ahead.
	MaxAge, MaxSkew time.Duration
	Now             time.Time
	// Seen is a directory on the runner that remembers the last one of each
	// repository.
	Seen string
	// Accept are the Guards that the operator overrides.
	Accept []string
}

// Check holds a document and its signature against the rules. It is nil where
// what it says can't be known. What is proven is remembered, and nothing else.
func (r *Rules) Check(data, signature []byte) (*handoff.Document, []verdict.Check) {
	checks := []verdict.Check{r.digest(data)}
	wrong := errors.Join(handoff.Verify(data, signature, r.Signers...), schema.Validate(data))
	if wrong != nil {
		return nil, append(checks, verdict.ChecksOf(wrong)...)
	}
	doc, err := handoff.Parse(data)
	if err != nil {
		return nil, append(checks, verdict.ChecksOf(err)...)
	}
	checks = append(checks,
		verdict.Check{ID: "signature", Verdict: verdict.Proven, Wanted: "a signature by one of the allowed signers", Got: r.signer(data, signature)},
		verdict.Check{ID: "schema", Verdict: verdict.Proven, Wanted: "a document of the form " + handoff.SchemaName, Got: fmt.Sprintf("one of %d nodes", len(doc.Nodes))},
		r.source(doc), r.age(doc))
	last, err := r.last()
	if err != nil {
		return doc, append(checks, verdict.CannotTell(Serial, "the last handoff that was seen", err, "look at the file; remove it, and accept: new, if it can't be mended").Check)
	}
	checks = append(checks, r.step(doc, last)...)
	if verdict.Of(checks) == verdict.Proven {
		if err := r.remember(doc, data); err != nil {
			checks = append(checks, verdict.CannotTell(Serial, "this handoff remembered as the last one", err, "correct the directory seen_dir").Check)
		}
	}
	return doc, checks
}

func (r *Rules) digest(data []byte) verdict.Check {
	sum := sha256.Sum256(data)
	got := hex.EncodeToString(sum[:])
	if r.SHA256 == "" {
		return verdict.Check{ID: Document, Verdict: verdict.Proven, Wanted: "a handoff", Got: "sha256 " + got}
	}
	wanted := "a handoff with the sha256 " + r.SHA256
	if got != r.SHA256 {
		return verdict.Refuse(Document, wanted, got, "it is another document than the one that was sent: deliver it again").Check
	}
	return verdict.Check{ID: Document, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}

func (r *Rules) signer(data, signature []byte) string {
	for _, key := range r.Signers {
		if handoff.Verify(data, signature, key) == nil {
			return ssh.FingerprintSHA256(key)
		}
	}
	return ""
}

func (r *Rules) source(doc *handoff.Document) verdict.Check {
	wanted := "a handoff of the repository " + r.Repository
	if doc.Context.Repository != r.Repository {
		return verdict.Refuse(Source, wanted, fmt.Sprintf("one of %.200q", doc.Context.Repository), "correct the input repository, or see who signed a handoff of another stack with this key").Check
	}
	return verdict.Check{ID: Source, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("commit %.12s, run %s", doc.Context.Commit, doc.Context.RunID)}
}

func (r *Rules) age(doc *handoff.Document) verdict.Check {
	wanted := fmt.Sprintf("a handoff that is at most %s old", r.MaxAge)
	old := r.Now.Sub(doc.Context.Created).Round(time.Second)
	switch {
	case old < -r.MaxSkew:
		return verdict.Refuse(Age, wanted, fmt.Sprintf("one from %s in the future", -old), "look at the clocks of both runners").Check
	case old > r.MaxAge:
		return verdict.Refuse(Age, wanted, fmt.Sprintf("%s, of %s", old, doc.Context.Created.UTC().Format(time.RFC3339)), "run the infrastructure's workflow: it delivers a new one, which may say the same").Check
	}
	return verdict.Check{ID: Age, Verdict: verdict.Proven, Wanted: wanted, Got: max(old, 0).String()}
}

// step wants the state to be the one that was seen last, or a later one.
func (r *Rules) step(doc *handoff.Document, last *seen) []verdict.Check {
	c := doc.Context
	wanted := "a state that is not older than the last one seen"
	if last == nil {
		check := verdict.CannotTell(Serial, wanted, errors.New("none was seen before"), "if this is the first one from "+r.Repository+", set accept: new once").Check
		check.Waived = r.accepted("new")
		return []verdict.Check{check}
	}
	if c.StateLineage != last.Lineage {
		check := verdict.Refuse(Lineage, "the state of the lineage "+last.Lineage, fmt.Sprintf("%.80q", c.StateLineage), "another state was put into its place; if that was meant, set accept: lineage once").Check
		check.Waived = r.accepted("lineage")
		return []verdict.Check{check}
	}
	lineage := verdict.Check{ID: Lineage, Verdict: verdict.Proven, Wanted: "the state of the lineage " + last.Lineage, Got: "the same"}
	wanted = fmt.Sprintf("a state of the serial %d or later", last.Serial)
	if c.StateSerial < last.Serial {
		check := verdict.Refuse(Serial, wanted, fmt.Sprintf("serial %d", c.StateSerial), "it speaks of machines as they were; deliver a new one, or set accept: serial once").Check
		check.Waived = r.accepted("serial")
		return []verdict.Check{lineage, check}
	}
	return []verdict.Check{lineage, {ID: Serial, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("serial %d", c.StateSerial)}}
}

func (r *Rules) accepted(guard string) string {
	if slices.Contains(r.Accept, guard) {
		return "accept: " + guard
	}
	return ""
}

// seenSchema names the format of what is remembered.
const seenSchema = "edge-actions/handoff-seen/v1"

// seen is the last handoff of one repository that was proven.
type seen struct {
	Schema     string    `json:"schema"`
	Repository string    `json:"repository"`
	Lineage    string    `json:"state_lineage"`
	Serial     int64     `json:"state_serial"`
	Created    time.Time `json:"created"`
	SHA256     string    `json:"sha256"`
}

func (r *Rules) path() string {
	sum := sha256.Sum256([]byte(r.Repository))
	name := strings.Map(func(c rune) rune {
		if c == '/' || c == '.' {
			return '-'
		}
		return c
	}, r.Repository)
	return filepath.Join(r.Seen, fmt.Sprintf("%s-%x.json", name, sum[:4]))
}

func (r *Rules) last() (*seen, error) {
	data, err := os.ReadFile(r.path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &seen{}
	if err := json.Unmarshal(data, s); err != nil || s.Schema != seenSchema || s.Repository != r.Repository || s.Lineage == "" {
		return nil, fmt.Errorf("%s is no record of a handoff of %s", r.path(), r.Repository)
	}
	return s, nil
}

func (r *Rules) remember(doc *handoff.Document, data []byte) error {
	sum := sha256.Sum256(data)
	c := doc.Context
	text, err := json.MarshalIndent(seen{seenSchema, r.Repository, c.StateLineage, c.StateSerial, c.Created, hex.EncodeToString(sum[:])}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.Seen, 0o700); err != nil {
		return err
	}
	return files.Write(r.path(), append(text, '\n'))
}
