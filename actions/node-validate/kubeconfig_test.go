package main

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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubeconfig is one as K3s writes it, with certificates that can be read.
func kubeconfig(t testing.TB) string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "system:admin"}, NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
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
`, text("CERTIFICATE", certificate), text("CERTIFICATE", certificate), text("EC PRIVATE KEY", key))
}

// secretsOf are the parts of a kubeconfig that nobody may see.
func secretsOf(config string) []string {
	_, key, _ := strings.Cut(config, "client-key-data: ")
	return []string{strings.TrimSpace(key)}
}

// The kubeconfig is written whole or not at all.
func TestLabKubeconfig(t *testing.T) {
	const on = "/etc/rancher/k3s/k3s.yaml"
	l := newLab(t, 1)
	h := l.Hosts[0]
	whole := kubeconfig(t)
	if err := h.Put(on, whole); err != nil {
		t.Fatal(err)
	}
	j := labJob(t, l, h)
	path := filepath.Join(j.Home, "config")
	j.Inputs["kubeconfig_path"] = path
	r := j.do()
	r.want(t)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || r.Outputs["kubeconfig_path"] != path {
		t.Fatalf("%v %v %q", err, info, r.Outputs["kubeconfig_path"])
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(whole, "https://127.0.0.1:6443", "https://"+h.Address+":6443", 1)
	if strings.Join(strings.Fields(string(got)), " ") != strings.Join(strings.Fields(want), " ") {
		t.Errorf("it is\n%s", got)
	}
	for _, secret := range secretsOf(whole) {
		if strings.Contains(r.Log, secret) {
			t.Error("a credential is in the log")
		}
	}
	j.Inputs["kubeconfig_server"] = "edge-1.tail0123.ts.net"
	j.do().want(t)
	good, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(good), "server: https://edge-1.tail0123.ts.net:6443\n") {
		t.Errorf("%v\n%s", err, got)
	}
	for name, script := range map[string]string{
		"empty":      ": >" + on,
		"half of it": fmt.Sprintf("head -c %d %s >/root/half && mv /root/half %s", len(whole)/2, on, on),
		"not there":  "rm " + on,
	} {
		if err := h.Put(on, whole); err != nil {
			t.Fatal(err)
		}
		must(t, h, script)
		r := j.do()
		if got := r.Not(); len(got) != 1 || got[0] != "kubeconfig=unproven" || r.Code != 1 || r.Outputs["kubeconfig_path"] != "" {
			t.Errorf("%s: %v\n%s", name, got, r.Log)
		}
		r.Says("the file is as it was")
		if after, err := os.ReadFile(path); err != nil || string(after) != string(good) {
			t.Errorf("%s: the good one was touched: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(j.Home, "*")); len(left) != 1 { // the pattern is right
		t.Errorf("left are %q", left)
	}
}
