package assert

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
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

func TestK3sSQLite(t *testing.T) {
	for name, tt := range map[string]struct {
		statements []string
		min        int64
		want       map[string]verdict.Verdict
	}{
		"whole":         {[]string{`CREATE TABLE kine (id INTEGER, value TEXT)`, `INSERT INTO kine VALUES (1, '` + marker + `'), (2, '')`}, 2, map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: proven}},
		"too few rows":  {[]string{`CREATE TABLE kine (id INTEGER, value TEXT)`, `INSERT INTO kine VALUES (1, '` + marker + `')`}, 2, map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: disproven}},
		"no row":        {[]string{`CREATE TABLE kine (id INTEGER, value TEXT)`}, 0, map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: disproven}},
		"another table": {[]string{`CREATE TABLE x (id INTEGER, value TEXT)`}, 0, map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: proven, SQLiteIntegrity: proven, K3sDatastore: disproven}},
		"no database":   {nil, 0, map[string]verdict.Verdict{K3sToken: proven, SQLiteFile: disproven, K3sDatastore: unproven}},
	} {
		t.Run(name, func(t *testing.T) {
			r := cluster(t)
			if tt.statements != nil {
				database(t, r.at(k3sState), tt.statements...).Close()
			}
			expect(t, r.assert(Assertion{K3s: &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, SQLite: k3sState, MinRows: tt.min}}), tt.want)
		})
	}
}

// snapshot runs a real etcd, puts keys into it and takes a snapshot as etcdctl
// does, over the server's own call for it. It returns the database too, as a
// copy of a stopped server would have it.
func snapshot(t testing.TB, keys ...string) (snapshot, database []byte) {
	t.Helper()
	dir := t.TempDir()
	s, err := startEtcd(context.Background(), realtools.Path(t, "etcd"), filepath.Join(dir, "data"), &judge{temp: dir, tools: Tools{Env: os.Environ()}})
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()
	call := func(at string, question any) io.ReadCloser {
		t.Helper()
		body, err := json.Marshal(question)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := s.client.Post("http://etcd"+at, "application/json", bytes.NewReader(body))
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v %v", at, err, resp)
		}
		return resp.Body
	}
	for _, key := range keys {
		call("/v3/kv/put", map[string][]byte{"key": []byte(key), "value": []byte(marker)}).Close()
	}
	body := call("/v3/maintenance/snapshot", struct{}{})
	defer body.Close()
	for d := json.NewDecoder(body); ; {
		var part struct {
			Result struct {
				Blob []byte `json:"blob"`
			} `json:"result"`
		}
		if err := d.Decode(&part); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		snapshot = append(snapshot, part.Result.Blob...)
	}
	s.stop()
	stopped = true
	if database, err = os.ReadFile(filepath.Join(dir, "data/member/snap/db")); err != nil {
		t.Fatal(err)
	}
	return snapshot, database
}

func TestK3sEtcd(t *testing.T) {
	keys := []string{"/registry/namespaces/kube-system", "/registry/namespaces/default", "/bootstrap/abc"}
	whole, live := snapshot(t, keys...)
	older, _ := snapshot(t, keys[:1]...)
	all := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: proven}
	damaged := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: disproven, K3sDatastore: unproven}
	short := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: disproven}
	const p = k3sSnapshots + "/etcd-snapshot-edge-1-1700000000"
	for name, tt := range map[string]struct {
		spoil  func(t *testing.T, r *restoredRig)
		change func(*K3s)
		want   map[string]verdict.Verdict
		says   []string
	}{
		"whole":                       {want: all, says: []string{"revision 4, 3 keys"}},
		"a key is missing":            {change: func(k *K3s) { k.RequiredKeys = append(k.RequiredKeys, "/registry/secrets/x") }, want: short, says: []string{`"/registry/secrets/x" is missing`}},
		"a part of a key":             {change: func(k *K3s) { k.RequiredKeys = []string{"/registry/namespaces"} }, want: short},
		"too few keys":                {change: func(k *K3s) { k.MinKeys = 4 }, want: short},
		"an old revision":             {change: func(k *K3s) { k.MinRevision = 5 }, want: short},
		"a byte of it":                {spoil: func(t *testing.T, r *restoredRig) { flip(t, r.at(p), 5000) }, want: damaged, says: []string{"another hash"}},
		"cut off":                     {spoil: func(t *testing.T, r *restoredRig) { os.Truncate(r.at(p), int64(len(whole)-512)) }, want: damaged, says: []string{"another hash"}},
		"a copy of the live database": {spoil: func(t *testing.T, r *restoredRig) { r.write(p, string(live)) }, want: damaged, says: []string{"without the hash"}},
		"empty":                       {spoil: func(t *testing.T, r *restoredRig) { r.write(p, "") }, want: damaged, says: []string{"without the hash"}},
		"a hash of nothing that is one": {spoil: func(t *testing.T, r *restoredRig) {
			noise := bytes.Repeat([]byte(marker), 512)
			sum := sha256.Sum256(noise)
			r.write(p, string(noise)+string(sum[:]))
		}, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: disproven}, says: []string{"etcdutl ended with exit code"}},
		"no snapshot": {spoil: func(t *testing.T, r *restoredRig) { os.Remove(r.at(p)) }, want: damaged, says: []string{"did not come back"}},
		"the newest of a directory": {spoil: func(t *testing.T, r *restoredRig) {
			old := strings.Replace(p, "17", "16", 1)
			r.write(old, string(older))
			os.Chtimes(r.at(old), time.Unix(1600000000, 0), time.Unix(1600000000, 0))
		}, change: func(k *K3s) { k.EtcdSnapshot = k3sSnapshots }, want: all, says: []string{"etcd-snapshot-edge-1-1700000000"}},
		"an older one of a directory is newer by its time": {spoil: func(t *testing.T, r *restoredRig) {
			r.write(p+"-z", string(older))
			os.Chtimes(r.at(p), time.Unix(1600000000, 0), time.Unix(1600000000, 0))
		}, change: func(k *K3s) { k.EtcdSnapshot = k3sSnapshots }, want: short},
		"an empty directory": {spoil: func(t *testing.T, r *restoredRig) { os.Remove(r.at(p)) }, change: func(k *K3s) { k.EtcdSnapshot = k3sSnapshots }, want: damaged, says: []string{"did not come back"}},
		"compressed": {spoil: func(t *testing.T, r *restoredRig) {
			os.Remove(r.at(p))
			f, err := os.Create(r.at(p + ".zip"))
			if err != nil {
				t.Fatal(err)
			}
			z := zip.NewWriter(f)
			w, _ := z.Create("etcd-snapshot")
			w.Write(whole)
			z.Close()
			f.Close()
		}, change: func(k *K3s) { k.EtcdSnapshot = p + ".zip" }, want: all},
		"a link out": {spoil: func(t *testing.T, r *restoredRig) {
			os.Rename(r.at(p), filepath.Join(r.dir, "../live"))
			os.Symlink(filepath.Join(r.dir, "../live"), r.at(p))
		}, want: damaged, says: []string{"leads out"}},
		"no etcd":    {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcd = "/nonexistent/etcd" }, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"install etcd"}},
		"no etcdutl": {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcdutl = "/nonexistent/etcdutl" }, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"install etcd"}},
		"an etcd that ends": {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcd = realtools.Path(t, "false") },
			want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"ended at once"}},
		"etcd's variables of a job": {spoil: func(t *testing.T, r *restoredRig) {
			r.tools.Env = append(r.tools.Env, "ETCD_LISTEN_METRICS_URLS=nonsense", "ETCD_FORCE_NEW_CLUSTER=nonsense")
		}, want: all},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := cluster(t)
			r.write(p, string(whole))
			if tt.spoil != nil {
				tt.spoil(t, r)
			}
			k := &K3s{Token: k3sTokenPath, ServerCA: k3sCAPath, EtcdSnapshot: p, MinRevision: 4, MinKeys: 3, RequiredKeys: keys[:2]}
			if tt.change != nil {
				tt.change(k)
			}
			expect(t, r.assert(Assertion{K3s: k}), tt.want, tt.says...)
		})
	}
}
