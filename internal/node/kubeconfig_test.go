package node

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/verdict"
)

// pair is a certificate that signs itself, and its key, as K3s writes them.
func pair(t testing.TB) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "k3s"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	return encode("CERTIFICATE", der), encode("EC PRIVATE KEY", keyDER)
}

func k3sYAML(ca, certificate, key string) string {
	return fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %s
    server: https://127.0.0.1:6443
  name: default
contexts:
- context:
    cluster: default
    user: default
  name: default
current-context: default
kind: Config
preferences: {}
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`, ca, certificate, key)
}

func TestKubeconfig(t *testing.T) {
	ca, _ := pair(t)
	certificate, key := pair(t)
	whole := k3sYAML(ca, certificate, key)
	for server, want := range map[string]string{
		"edge-1": "https://edge-1:6443", "edge-1.tail.net": "https://edge-1.tail.net:6443", "100.64.0.1": "https://100.64.0.1:6443", "fd7a::1": "https://[fd7a::1]:6443",
	} {
		out, err := Kubeconfig([]byte(whole), server)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(out); !strings.Contains(got, want) || strings.Contains(got, "127.0.0.1:6443") || !strings.Contains(got, ca) || !strings.Contains(got, key) {
			t.Errorf("%s: %s", server, got)
		}
		// What comes out goes in again: nothing was lost.
		again, err := Kubeconfig(out, server)
		if err != nil || string(again) != string(out) {
			t.Errorf("%v", err)
		}
	}
	want, err := Kubeconfig([]byte(whole), "edge-1")
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(whole) {
		if got, err := Kubeconfig([]byte(whole[:i]), "edge-1"); err == nil && string(got) != string(want) {
			t.Fatalf("cut off at %d of %d: %s", i, len(whole), got)
		}
	}
	for _, server := range []string{"", " ", "https://edge-1", "edge-1:6443", "a b", "a\n", "-x", "fe80::1%eth0", "edge-1\"\nx: y", "é"} {
		if _, err := Kubeconfig([]byte(whole), server); verdict.Reason(err) != "kubeconfig-server" {
			t.Errorf("%q: %v", server, err)
		}
	}
}

func TestKubeconfigThatIsNotWhole(t *testing.T) {
	ca, caKey := pair(t)
	certificate, key := pair(t)
	whole := k3sYAML(ca, certificate, key)
	replace := func(old, new string) string {
		if !strings.Contains(whole, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(whole, old, new, 1)
	}
	for name, test := range map[string]struct{ raw, want string }{
		"empty":                   {"", "empty"},
		"blanks":                  {"\n \n", "empty"},
		"an error of the shell's": {"cat: /etc/rancher/k3s/k3s.yaml: Permission denied\n", "no YAML of that form"},
		"another kind":            {replace("kind: Config", "kind: Pod"), "another kind"},
		"no kind":                 {replace("kind: Config\n", ""), "another kind"},
		"two documents":           {whole + "---\n" + whole, "more than one"},
		"no user":                 {whole[:strings.Index(whole, "users:")], "0 users"},
		"no data of the user":     {whole[:strings.Index(whole, "    client-certificate-data")], "cut off"},
		"no key":                  {whole[:strings.Index(whole, "    client-key-data")], "cut off"},
		"another's key":           {replace(key, caKey), "belong together"},
		"no authority":            {replace(ca, "''"), "authority"},
		"no base64":               {replace(ca, "'%'"), "authority"},
		"no server":               {replace("    server: https://127.0.0.1:6443\n", ""), "without a server"},
		"another context":         {replace("current-context: default", "current-context: other"), "current context"},
		"a context of no user":    {replace("    user: default", "    user: other"), "current context"},
		"two clusters":            {replace("contexts:", "- name: other\n  cluster: {server: x}\ncontexts:"), "2 clusters"},
		"too large":               {whole + strings.Repeat("#", maxKubeconfig), "bytes"},
		"binary":                  {"\x00\x01\xff", "no YAML"},
	} {
		out, err := Kubeconfig([]byte(test.raw), "edge-1")
		if out != nil || verdict.Reason(err) != "kubeconfig" || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
			continue
		}
		if strings.Contains(err.Error(), key[:20]) || strings.Contains(err.Error(), "Permission") {
			t.Errorf("%s: it shows what is in it: %v", name, err)
		}
	}
}
