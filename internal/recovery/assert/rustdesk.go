package assert

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"path"
)

// RustDesk is the key pair by which all clients know the server: with
// another one, each of them must be set up anew.
type RustDesk struct {
	// Dir has id_ed25519 and id_ed25519.pub; or else both are named.
	Dir     string `yaml:"dir"`
	Private string `yaml:"private"`
	Public  string `yaml:"public"`
}

func (r *RustDesk) validate(p *problems) {
	p.path("rustdesk.dir", r.Dir, false)
	p.path("rustdesk.private", r.Private, false)
	p.path("rustdesk.public", r.Public, false)
	if both := r.Private != "" && r.Public != ""; (r.Dir != "") == both || (r.Private != "") != (r.Public != "") {
		p.wrong("rustdesk.dir, or both of rustdesk.private and rustdesk.public", "none, a half, or all of it")
	}
}

func (r *RustDesk) judge(j *judge) {
	const wanted = "a key pair of RustDesk's server: a seed, and the public key that it makes"
	private, public := r.Private, r.Public
	if r.Dir != "" {
		private, public = path.Join(r.Dir, "id_ed25519"), path.Join(r.Dir, "id_ed25519.pub")
	}
	pair, ok := j.key(wanted, private, ed25519.PrivateKeySize)
	if !ok {
		return
	}
	pub, ok := j.key(wanted, public, ed25519.PublicKeySize)
	if !ok {
		return
	}
	const hint = "the two files are not of one pair: see that both are backed up from the same directory"
	switch made := ed25519.NewKeyFromSeed(pair[:ed25519.SeedSize]); {
	case !bytes.Equal(made, pair):
		j.refuse(RustDeskKey, wanted, fmt.Sprintf("a seed in %.300q that makes another public key than the one after it", private), hint)
	case !bytes.Equal(made[ed25519.SeedSize:], pub):
		j.refuse(RustDeskKey, wanted, fmt.Sprintf("%.300q, which is not the public key of %.300q", public, private), hint)
	default:
		j.prove(RustDeskKey, wanted, fmt.Sprintf("one whose public key has the sha256 %x", sha256.Sum256(pub)))
	}
}

// key reads a key of RustDesk's: base64, not OpenSSH's form.
func (j *judge) key(wanted, p string, size int) ([]byte, bool) {
	text, err := j.tree.read(p, 4096)
	if err != nil {
		j.missing(RustDeskKey, wanted, p, err)
		return nil, false
	}
	key, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(key) != size {
		j.refuse(RustDeskKey, wanted, fmt.Sprintf("%.300q, %d bytes that are not %d bytes in base64", p, len(text), size), "see that this is hbbs' own file, and whole")
		return nil, false
	}
	return key, true
}
