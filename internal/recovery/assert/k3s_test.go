package assert

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

const (
	k3sTokenPath = "/var/lib/rancher/k3s/server/token"
	k3sCAPath    = "/var/lib/rancher/k3s/server/tls/server-ca.crt"
	k3sSnapshots = "/var/lib/rancher/k3s/server/db/snapshots"
	k3sState     = "/var/lib/rancher/k3s/server/db/state.db"
)

// authority makes certificates: a root, and one that it signed.
func authority(t testing.TB) (root, signed []byte) {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	make := func(name string, serial int64, parent *x509.Certificate) []byte {
		c := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
		if parent == nil {
			parent = c
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	root = make("root", 1, nil)
	parsed, err := x509.ParseCertificate(root)
	if err != nil {
		t.Fatal(err)
	}
	return root, make("k3s-server-ca", 2, parsed)
}

func asPEM(ders ...[]byte) string {
	out := ""
	for _, der := range ders {
		out += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out
}

// cluster restores a token and its CA.
func cluster(t testing.TB) *restoredRig {
	r := newRestored(t)
	root, _ := authority(t)
	r.write(k3sCAPath, asPEM(root))
	r.write(k3sTokenPath, fmt.Sprintf("K10%x::server:%s\n", sha256.Sum256([]byte(asPEM(root))), marker))
	return r
}

func TestK3sToken(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, r *restoredRig)
		want  verdict.Verdict
		says  string
	}{
		"whole":          {nil, proven, "sha256"},
		"no token":       {func(t *testing.T, r *restoredRig) { os.Remove(r.at(k3sTokenPath)) }, disproven, "did not come back"},
		"no CA":          {func(t *testing.T, r *restoredRig) { os.Remove(r.at(k3sCAPath)) }, disproven, "did not come back"},
		"the short form": {func(t *testing.T, r *restoredRig) { r.write(k3sTokenPath, marker) }, disproven, "another form"},
		"no password": {func(t *testing.T, r *restoredRig) {
			r.write(k3sTokenPath, "K10"+strings.Repeat("a", 64)+"::server:")
		}, disproven, "another form"},
		"the CA of another cluster": {func(t *testing.T, r *restoredRig) {
			root, _ := authority(t)
			r.write(k3sCAPath, asPEM(root))
		}, disproven, "two clusters"},
		"no certificate": {func(t *testing.T, r *restoredRig) { r.write(k3sCAPath, marker) }, disproven, "without a certificate"},
		"a CA of one's own": {func(t *testing.T, r *restoredRig) {
			root, signed := authority(t)
			r.write(k3sCAPath, asPEM(signed, root))
			r.write(k3sTokenPath, fmt.Sprintf("K10%x::server:%s\n", sha256.Sum256(root), marker))
		}, proven, "sha256"},
		"a bundle that still has another cluster's root": {func(t *testing.T, r *restoredRig) {
			root, signed := authority(t)
			other, _ := authority(t)
			r.write(k3sCAPath, asPEM(signed, root, other))
			r.write(k3sTokenPath, fmt.Sprintf("K10%x::server:%s\n", sha256.Sum256(other), marker))
		}, disproven, "two clusters"},
		"the bundle as a file": {func(t *testing.T, r *restoredRig) {
			root, signed := authority(t)
			r.write(k3sCAPath, asPEM(signed, root))
			r.write(k3sTokenPath, fmt.Sprintf("K10%x::server:%s\n", sha256.Sum256([]byte(asPEM(signed, root))), marker))
		}, disproven, "two clusters"},
		"a token that is far too long": {func(t *testing.T, r *restoredRig) {
			root, _ := authority(t)
			r.write(k3sCAPath, asPEM(root))
			r.write(k3sTokenPath, fmt.Sprintf("K10%x::server:%s", sha256.Sum256([]byte(asPEM(root))), strings.Repeat("x", 5000)))
		}, unproven, "more than the 4096"},
		"a token for joining": {func(t *testing.T, r *restoredRig) {
			r.write(k3sTokenPath, "K10"+strings.Repeat("a", 64)+"::abcdef.0123456789abcdef")
		}, disproven, "another form"},
	} {
		t.Run(name, func(t *testing.T) {
			r := cluster(t)
			if tt.spoil != nil {
				tt.spoil(t, r)
			}
			// The token alone is never more than partial.
			expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath}}),
				map[string]verdict.Verdict{K3sToken: tt.want, K3sDatastore: unproven}, tt.says, "partial")
		})
	}
}

// bootstrapKey is the name under which K3s keeps what a password seals.
func bootstrapKey(password string) string {
	sum := sha256.Sum256([]byte(password))
	return fmt.Sprintf("/bootstrap/%x", sum[:6])
}

// sealed is a value as K3s seals it.
func sealed(t testing.TB, password, text string) []byte {
	t.Helper()
	key, err := pbkdf2.Key(sha1.New, password, []byte("0123456789abcdef"), 4096, 32)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, gcm.NonceSize())
	rand.Read(nonce)
	return []byte("0123456789abcdef:" + base64.StdEncoding.EncodeToString(gcm.Seal(nonce, nonce, []byte(text), nil)))
}

func TestK3sSQLite(t *testing.T) {
	with := func(datastore, bootstrap verdict.Verdict) map[string]verdict.Verdict {
		want := map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: datastore, K3sBootstrap: bootstrap}
		if bootstrap == "" {
			delete(want, K3sBootstrap)
		}
		return want
	}
	type row struct {
		name    string
		deleted int
		value   []byte
	}
	mine := bootstrapKey(marker)
	for name, tt := range map[string]struct {
		rows []row
		min  int64
		want map[string]verdict.Verdict
		says string
	}{
		"whole":                    {[]row{{"/registry/a", 0, []byte(marker)}, {mine, 0, sealed(t, marker, "{}")}}, 2, with(proven, proven), "opened, 2 bytes"},
		"too few rows":             {[]row{{mine, 0, sealed(t, marker, "{}")}}, 2, with(disproven, ""), ""},
		"no row":                   {[]row{}, 0, with(disproven, ""), ""},
		"another cluster's":        {[]row{{bootstrapKey("x"), 0, sealed(t, "x", "{}")}}, 0, with(proven, disproven), "1 other tokens"},
		"no cluster's":             {[]row{{"/registry/a", 0, nil}}, 0, with(proven, unproven), "no such keys"},
		"a later one that is gone": {[]row{{mine, 0, sealed(t, marker, "{}")}, {mine, 1, sealed(t, marker, "{}")}}, 0, with(proven, disproven), "1 other tokens"},
		"a later one that is none": {[]row{{mine, 0, sealed(t, marker, "{}")}, {mine, 0, []byte(marker)}}, 0, with(proven, disproven), "does not open"},
		"a placeholder":            {[]row{{mine, 0, nil}}, 0, with(proven, disproven), "does not open"},
		"sealed by another":        {[]row{{mine, 0, sealed(t, "x", "{}")}}, 0, with(proven, disproven), "does not open"},
		"sealed nothing":           {[]row{{mine, 0, sealed(t, marker, "")}}, 0, with(proven, disproven), "does not open"},
		"another table":            {nil, 0, with(disproven, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := cluster(t)
			db := database(t, r.at(k3sState), `CREATE TABLE other (id INTEGER)`)
			if tt.rows != nil {
				db = database(t, r.at(k3sState), `CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, deleted INTEGER, value BLOB)`)
			}
			for _, row := range tt.rows {
				if _, err := db.Exec(`INSERT INTO kine (name, deleted, value) VALUES (?, ?, ?)`, row.name, row.deleted, row.value); err != nil {
					t.Fatal(err)
				}
			}
			db.Close()
			expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, SQLite: k3sState, MinRows: tt.min}}), tt.want, tt.says)
		})
	}
}

func TestK3sWithoutItsDatabase(t *testing.T) {
	r := cluster(t)
	expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, SQLite: k3sState}}),
		map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: disproven, K3sDatastore: unproven})
	// A token that fits nothing opens nothing either.
	r = cluster(t)
	r.write(k3sTokenPath, marker)
	db := database(t, r.at(k3sState), `CREATE TABLE kine (id INTEGER, name TEXT, deleted INTEGER, value BLOB)`)
	if _, err := db.Exec(`INSERT INTO kine VALUES (1, ?, 0, ?)`, bootstrapKey(""), sealed(t, "", "{}")); err != nil {
		t.Fatal(err)
	}
	db.Close()
	expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, SQLite: k3sState}}),
		map[string]verdict.Verdict{K3sToken: disproven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: proven, K3sBootstrap: unproven})
}
