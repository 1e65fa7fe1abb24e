package tfstate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"time"
)

// ManifestSchema names the format of an archive's manifest.
const ManifestSchema = "edge-actions/state-archive/v1"

// The files of one archive. The archive opens with
// `age -d -i KEY state.tfstate.zst.age | zstd -d`, and `sha256sum -c SHA256SUMS`
// in its directory checks the other two.
const (
	ArchiveFile   = "state.tfstate.zst.age"
	ManifestFile  = "manifest.json"
	ChecksumsFile = "SHA256SUMS"
)

// Manifest says what an archive holds and where it comes from. An archive
// without its manifest is no archive: the manifest is what is written last.
type Manifest struct {
	Schema string `json:"schema"`
	// Name is "<UTC time>-serial<serial>-<first 12 digits of the state's
	// sha256>", in the order of time.
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// Stack is the name under which archives of one state are kept together.
	Stack     string `json:"stack"`
	Workspace string `json:"workspace"`
	Backend   string `json:"backend"`
	State     struct {
		Digest
		Meta
	} `json:"state"`
	Archive struct {
		Digest
		Compression string   `json:"compression"`
		Encryption  string   `json:"encryption"`
		Recipients  []string `json:"recipients"`
	} `json:"archive"`
	// Reason is plan, after-apply, errored, before-restore or after-restore.
	Reason string `json:"reason"`
	// Accepted lists the guards that the operator overrode for this archive.
	// Such an archive is never "the last good one".
	Accepted    []string `json:"accepted,omitempty"`
	TofuVersion string   `json:"tofu_version"`
	Run         Run      `json:"run"`
}

// Run says which run of which workflow made a document.
type Run struct {
	Repository string `json:"repository,omitempty"`
	Commit     string `json:"commit,omitempty"`
	ID         string `json:"id,omitempty"`
	Attempt    string `json:"attempt,omitempty"`
	Job        string `json:"job,omitempty"`
}

var archiveName = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-serial\d+-[0-9a-f]{12}$`)

// newName makes the name of an archive of a state, for a time.
func newName(t time.Time, serial uint64, sha string) string {
	return fmt.Sprintf("%s-serial%d-%.12s", t.UTC().Format("20060102T150405.000Z"), serial, sha)
}

// timeOf returns the time that the name of an archive begins with.
func timeOf(name string) (time.Time, error) {
	return time.Parse("20060102T150405.000Z", name[:min(len(name), 20)])
}

// ParseManifest reads a manifest. It refuses one that could not name its own
// archive: names become paths, and a manifest off the machine is foreign text.
func ParseManifest(r io.Reader) (*Manifest, error) {
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&m); err != nil {
		return nil, fmt.Errorf("reading the manifest: %w", err)
	}
	switch {
	case m.Schema != ManifestSchema:
		return nil, fmt.Errorf("reading the manifest: wanted schema %s, found %q", ManifestSchema, m.Schema)
	case !archiveName.MatchString(m.Name):
		return nil, fmt.Errorf("reading the manifest: %q is not the name of an archive", m.Name)
	case len(m.State.SHA256) != 64 || len(m.Archive.SHA256) != 64 || m.Archive.Size <= 0:
		return nil, fmt.Errorf("reading the manifest of %s: its digests are missing", m.Name)
	case m.State.Lineage == "":
		return nil, fmt.Errorf("reading the manifest of %s: its lineage is missing", m.Name)
	}
	return &m, nil
}

func (m *Manifest) encode() ([]byte, error) {
	data, err := json.MarshalIndent(m, "", "  ")
	return append(data, '\n'), err
}

// checksums renders the file that sha256sum -c reads.
func checksums(sums map[string]string) []byte {
	var b bytes.Buffer
	for _, name := range []string{ArchiveFile, ManifestFile} {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return b.Bytes()
}
