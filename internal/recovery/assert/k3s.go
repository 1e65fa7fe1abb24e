package assert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"database/sql"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// K3s is a cluster that can be made again: the token, and the
// datastore that it is the key to. Without a datastore it is only partial.
type K3s struct {
	// Token is server/token, and ServerCA is server/tls/server-ca.crt.
	Token    string `yaml:"token"`
	ServerCA string `yaml:"server_ca"`
	// EtcdSnapshot is a snapshot, or a directory of snapshots: then the newest.
	EtcdSnapshot string `yaml:"etcd_snapshot"`
	MinRevision  int64  `yaml:"min_revision"`
	MinKeys      int64  `yaml:"min_keys"`
	// RequiredKeys are keys that must be in it, such as
	// /registry/namespaces/kube-system.
	RequiredKeys []string `yaml:"required_keys"`
	// SQLite is the datastore of a single server, server/db/state.db, WAL as in
	// SQLite and MinRows the least rows of its table kine.
	SQLite  string `yaml:"sqlite"`
	WAL     string `yaml:"wal"`
	MinRows int64  `yaml:"min_rows"`
}

func (k *K3s) validate(p *problems) {
	p.path("k3s.token", k.Token, true)
	p.path("k3s.server_ca", k.ServerCA, true)
	p.path("k3s.etcd_snapshot", k.EtcdSnapshot, false)
	p.path("k3s.sqlite", k.SQLite, false)
	p.wal("k3s.wal", k.WAL)
	p.floor("k3s.min_revision", k.MinRevision)
	p.floor("k3s.min_keys", k.MinKeys)
	p.floor("k3s.min_rows", k.MinRows)
	if k.EtcdSnapshot != "" && k.SQLite != "" {
		p.wrong("one of k3s.etcd_snapshot and k3s.sqlite", "both")
	}
	if k.EtcdSnapshot == "" && (k.MinRevision != 0 || k.MinKeys != 0 || len(k.RequiredKeys) > 0) {
		p.wrong("k3s.etcd_snapshot for min_revision, min_keys and required_keys", "none")
	}
	if k.SQLite == "" && (k.MinRows != 0 || k.WAL != "") {
		p.wrong("k3s.sqlite for min_rows and wal", "none")
	}
	for _, key := range k.RequiredKeys {
		if key == "" || len(key) > 1024 {
			p.wrong("k3s.required_keys, keys of at most 1024 bytes", fmt.Sprintf("%.100q", key))
		}
	}
}

func (k *K3s) judge(ctx context.Context, j *judge) {
	password := k.token(j)
	switch {
	case k.EtcdSnapshot != "":
		k.etcd(ctx, j, password)
	case k.SQLite != "":
		opened := false
		j.withSQLite(ctx, k.SQLite, k.WAL, func(db *sql.DB) {
			opened = true
			if j.tables(ctx, db, K3sDatastore, map[string]int64{"kine": max(k.MinRows, 1)}) {
				k.bootstrap(ctx, j, password, kine{db})
			}
		})
		if !opened {
			j.cannotTell(K3sDatastore, "the datastore of the cluster", errors.New("the database was not opened"), "see the check before this one")
		}
	default:
		j.cannotTell(K3sDatastore, "a datastore beside the token", errors.New("partial: the token alone recovers no cluster"),
			"back up an etcd snapshot (k3s etcd-snapshot save) or a copy of server/db/state.db, and assert it with etcd_snapshot or sqlite")
	}
}

// k3sToken is the long form; the short one is a password that says nothing of
// the cluster that it is for.
var k3sToken = regexp.MustCompile(`^K10([0-9a-f]{64})::[^:\s]+:(\S+)$`)

// token returns the password in it, "" if there is none that can be used.
func (k *K3s) token(j *judge) (password string) {
	const wanted = "a token K10<hash>::<user>:<password> whose hash is that of the restored CA"
	text, err := j.tree.read(k.Token, 4096)
	if err != nil {
		j.missing(K3sToken, wanted, k.Token, err)
		return ""
	}
	m := k3sToken.FindSubmatch(bytes.TrimSpace(text))
	if m == nil {
		j.refuse(K3sToken, wanted, fmt.Sprintf("%d bytes of another form", len(text)), "back up server/token as K3s wrote it, and whole")
		return ""
	}
	ca, err := j.tree.read(k.ServerCA, 1<<20)
	if err != nil {
		j.missing(K3sToken, wanted, k.ServerCA, err)
		return ""
	}
	hash, certificates := caHash(ca)
	switch {
	case certificates == 0:
		j.refuse(K3sToken, wanted, fmt.Sprintf("%.300q, %d bytes without a certificate", k.ServerCA, len(ca)), "back up server/tls/server-ca.crt")
		return ""
	case hash != string(m[1]):
		j.refuse(K3sToken, wanted, fmt.Sprintf("a token for sha256 %s, and a CA of sha256 %s", m[1], hash), "the token and the CA are of two clusters: see that both are backed up from the same server")
		return ""
	}
	j.prove(K3sToken, wanted, "sha256 "+hash)
	return string(m[2])
}

// caHash is the hash that K3s puts into a token for a CA: of a single
// certificate the file's as it is, of a bundle that of the root of its first
// certificate, in DER (pkg/clientaccess/token.go). Another root in the bundle, as
// a rotation leaves one, has no say.
func caHash(bundle []byte) (hash string, certificates int) {
	var first *x509.Certificate
	var at time.Time
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		if certificates++; cert.NotBefore.After(at) {
			at = cert.NotBefore // a CA that has expired since is still this one
		}
		switch {
		case first == nil:
			first = cert
		case len(cert.AuthorityKeyId) == 0, bytes.Equal(cert.AuthorityKeyId, cert.SubjectKeyId):
			roots.AddCert(cert)
		default:
			between.AddCert(cert)
		}
	}
	what := bundle
	if certificates > 1 {
		if chains, err := first.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: at}); err == nil {
			what = chains[0][len(chains[0])-1].Raw
		}
	}
	sum := sha256.Sum256(what)
	return hex.EncodeToString(sum[:]), certificates
}
