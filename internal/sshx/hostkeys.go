package sshx

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"edge-actions/internal/verdict"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// trust is what is known about the key of one hop: pinned keys, or what the
// known_hosts files say about its name.
type trust struct {
	pinned []ssh.PublicKey
	files  []string
	db     *knownhosts.HostKeyDB
	name   string // "host:port" under which the files know it
}

func pin(lines []string) (*trust, error) {
	t := &trust{}
	for _, line := range lines {
		key, err := ParseHostKey(line)
		if err != nil {
			return nil, err
		}
		t.pinned = append(t.pinned, key)
	}
	return t, nil
}

// ParseHostKey reads one public host key, "ssh-ed25519 AAAA…" with or without
// a comment: a line of a .pub file, of a handoff or of a tailnet's sshHostKeys.
func ParseHostKey(line string) (ssh.PublicKey, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	_, isCert := key.(*ssh.Certificate)
	switch {
	case err != nil || len(options) > 0 || len(rest) > 0 || strings.Contains(strings.TrimSpace(line), "\n"):
		return nil, verdict.Refuse(Config, `one host key of the form "ssh-ed25519 AAAA…"`, fmt.Sprintf("%.80q", line), "take the line of the host's /etc/ssh/ssh_host_ed25519_key.pub")
	case isCert:
		return nil, verdict.Refuse(Config, "a host's public key", "a certificate", "put its authority into a known_hosts file, as @cert-authority")
	case len(algorithmsOf(key)) == 0:
		return nil, verdict.Refuse(Config, "a host key of a type that is still safe", fmt.Sprintf("%q", key.Type()), "use the host's ed25519 key")
	}
	return key, nil
}

func fromFiles(files []string, name string) (*trust, error) {
	t := &trust{files: files, name: name}
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return nil, verdict.CannotTell(Config, "known_hosts files that can be read", foreign(err), "mend the file, or name another")
	}
	t.db = db
	return t, nil
}

// known refuses a host of which no key is known, before it is called.
func (t *trust) known(h Hop) error {
	if len(t.algorithms()) > 0 {
		return nil
	}
	got := "no known_hosts file"
	if len(t.files) > 0 {
		got = fmt.Sprintf("none for %q in %q", xknownhosts.Normalize(t.name), t.files)
	}
	return verdict.CannotTell(HostKeyUnknown, fmt.Sprintf("a key of %s, known beforehand", h), errors.New(got),
		"read the key where the host was made (its console, the handoff, the tailnet; on the host: cat /etc/ssh/ssh_host_ed25519_key.pub) and pin that line; a key that the network shows proves nothing")
}

// algorithms are the ones to ask the host for, so that it answers with a key
// that is known here and not with another one of its keys. SHA-1 is not asked
// for.
func (t *trust) algorithms() []string {
	var out []string
	add := func(names ...string) {
		for _, name := range names {
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	for _, key := range t.pinned {
		add(algorithmsOf(key)...)
	}
	if t.db == nil {
		return out
	}
	keys := t.db.HostKeys(t.name)
	for _, key := range keys {
		if key.Cert { // an authority may sign keys of other types than its own
			add(ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01, ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01)
		}
	}
	for _, key := range keys {
		if !key.Cert {
			add(algorithmsOf(key.PublicKey)...)
		}
	}
	return out
}

func algorithmsOf(key ssh.PublicKey) []string {
	switch key.Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return []string{key.Type()}
	case ssh.KeyAlgoRSA:
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return nil
}

// check compares what the host showed with what is known.
func (t *trust) check(h Hop, remote net.Addr, key ssh.PublicKey) error {
	shown := fmt.Sprintf("%s %s", key.Type(), ssh.FingerprintSHA256(key))
	if t.db == nil {
		if slices.ContainsFunc(t.pinned, func(p ssh.PublicKey) bool { return string(p.Marshal()) == string(key.Marshal()) }) {
			return nil
		}
		return h.changed(shown)
	}
	err := t.db.HostKeyCallback()(t.name, remote, key)
	if err == nil {
		return nil
	}
	if knownhosts.IsHostKeyChanged(err) {
		return h.changed(shown)
	}
	return h.changed(fmt.Sprintf("%s (%q)", shown, err.Error()))
}

// changed refuses a host that answers with another key than the known one.
func (h Hop) changed(shown string) error {
	var want []string
	for _, key := range h.trust.pinned {
		want = append(want, key.Type()+" "+ssh.FingerprintSHA256(key))
	}
	if h.trust.db != nil {
		for _, key := range h.trust.db.HostKeys(h.trust.name) {
			kind := ""
			if key.Cert {
				kind = "a certificate by "
			}
			want = append(want, kind+key.Type()+" "+ssh.FingerprintSHA256(key.PublicKey))
		}
	}
	return verdict.Refuse(HostKeyChanged, fmt.Sprintf("%s to show %s", h, strings.Join(want, " or ")), shown,
		"another machine answers, or the host was made anew: compare with its console before anything else, and only then pin the new key")
}
