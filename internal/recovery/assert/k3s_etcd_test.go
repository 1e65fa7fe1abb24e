package assert

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// snapshot runs a real etcd, puts keys into it and takes a snapshot as etcdctl
// does, over the server's own call for it. It returns the database too, as a
// copy of a stopped server would have it.
func snapshot(t testing.TB, keys map[string][]byte) (snapshot, database []byte) {
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
	for key, value := range keys {
		call("/v3/kv/put", map[string][]byte{"key": []byte(key), "value": value}).Close()
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
	keys := []string{"/registry/namespaces/kube-system", "/registry/namespaces/default"}
	mine := map[string][]byte{keys[0]: []byte(marker), keys[1]: []byte(marker), bootstrapKey(marker): sealed(t, marker, "{}")}
	whole, live := snapshot(t, mine)
	older, _ := snapshot(t, map[string][]byte{keys[0]: []byte(marker), bootstrapKey(marker): sealed(t, marker, "{}")})
	foreign, _ := snapshot(t, map[string][]byte{keys[0]: []byte(marker), keys[1]: []byte(marker), bootstrapKey("x"): sealed(t, "x", "{}")})
	wrong, _ := snapshot(t, map[string][]byte{keys[0]: []byte(marker), keys[1]: []byte(marker), bootstrapKey(marker): sealed(t, "x", "{}")})
	all := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: proven, K3sBootstrap: proven}
	other := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: proven, K3sBootstrap: disproven}
	damaged := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: disproven, K3sDatastore: unproven}
	short := map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: proven, K3sSnapshotKeys: disproven, K3sBootstrap: proven}
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
		"an older one of a directory has a later name": {spoil: func(t *testing.T, r *restoredRig) {
			r.write(p+"-z", string(older))
			os.Chtimes(r.at(p+"-z"), time.Unix(1600000000, 0), time.Unix(1600000000, 0))
		}, change: func(k *K3s) { k.EtcdSnapshot = k3sSnapshots }, want: all},
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
		"another cluster's":  {spoil: func(t *testing.T, r *restoredRig) { r.write(p, string(foreign)) }, want: other, says: []string{"1 other tokens"}},
		"sealed by another":  {spoil: func(t *testing.T, r *restoredRig) { r.write(p, string(wrong)) }, want: other, says: []string{"does not open"}},
		"an etcdutl of lies": {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcdutl = realtools.Path(t, "true") }, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"left no database"}},
		"no etcd":            {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcd = "/nonexistent/etcd" }, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"install etcd"}},
		"no etcdutl":         {spoil: func(t *testing.T, r *restoredRig) { r.tools.Etcdutl = "/nonexistent/etcdutl" }, want: map[string]verdict.Verdict{K3sToken: proven, K3sSnapshotHash: proven, K3sDatastore: unproven}, says: []string{"install etcd"}},
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
