package assert

import (
	"crypto/ed25519"
	"encoding/base64"
	"os"
	"testing"

	"edge-actions/internal/verdict"
)

func TestRustDesk(t *testing.T) {
	const dir = "/var/lib/rustdesk"
	pair := func(t *testing.T) (private, public string) {
		pub, priv, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(priv), base64.StdEncoding.EncodeToString(pub)
	}
	for name, tt := range map[string]struct {
		spoil func(t *testing.T, r *restoredRig, private, public string)
		want  verdict.Verdict
		says  string
	}{
		"whole":             {nil, proven, "sha256"},
		"with a line's end": {func(t *testing.T, r *restoredRig, private, _ string) { r.write(dir+"/id_ed25519", private+"\n") }, proven, "sha256"},
		"no private key":    {func(t *testing.T, r *restoredRig, _, _ string) { os.Remove(r.at(dir + "/id_ed25519")) }, disproven, "did not come back"},
		"no public key":     {func(t *testing.T, r *restoredRig, _, _ string) { os.Remove(r.at(dir + "/id_ed25519.pub")) }, disproven, "did not come back"},
		"the public key of another pair": {func(t *testing.T, r *restoredRig, _, _ string) {
			_, other := pair(t)
			r.write(dir+"/id_ed25519.pub", other)
		}, disproven, "is not the public key"},
		"a seed of another pair": {func(t *testing.T, r *restoredRig, private, public string) {
			other, _ := pair(t)
			seed, _ := base64.StdEncoding.DecodeString(other)
			pub, _ := base64.StdEncoding.DecodeString(public)
			r.write(dir+"/id_ed25519", base64.StdEncoding.EncodeToString(append(seed[:32:32], pub...)))
		}, disproven, "makes another public key"},
		"an OpenSSH key": {func(t *testing.T, r *restoredRig, _, _ string) {
			r.write(dir+"/id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\n"+marker)
		}, disproven, "not 64 bytes in base64"},
		"half of it": {func(t *testing.T, r *restoredRig, private, _ string) { r.write(dir+"/id_ed25519", private[:44]) }, disproven, "not 64 bytes in base64"},
		"empty":      {func(t *testing.T, r *restoredRig, _, _ string) { r.write(dir+"/id_ed25519.pub", "") }, disproven, "0 bytes"},
		"a link out": {func(t *testing.T, r *restoredRig, private, _ string) {
			os.WriteFile(r.dir+"/../live", []byte(private), 0o600)
			os.Remove(r.at(dir + "/id_ed25519"))
			os.Symlink("../../../../live", r.at(dir+"/id_ed25519"))
		}, disproven, "leads out"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRestored(t)
			private, public := pair(t)
			r.write(dir+"/id_ed25519", private)
			r.write(dir+"/id_ed25519.pub", public)
			if tt.spoil != nil {
				tt.spoil(t, r, private, public)
			}
			a := &RustDesk{Dir: dir}
			if name == "whole" {
				a = &RustDesk{Private: dir + "/id_ed25519", Public: dir + "/id_ed25519.pub"}
			}
			checks := r.assert(Assertion{RustDesk: a})
			expect(t, checks, map[string]verdict.Verdict{RustDeskKey: tt.want}, tt.says)
			if _, text := told(checks); contains(text, private[:20]) {
				t.Error("a check carries the key")
			}
		})
	}
}
