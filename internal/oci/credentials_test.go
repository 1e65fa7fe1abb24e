package oci_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

func pkcs1(t *testing.T, key *rsa.PrivateKey) []byte {
	t.Helper()
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// works makes one call with credentials.
func works(t *testing.T, s *ocitest.Server, c oci.Credentials) error {
	t.Helper()
	o := s.Options()
	o.Credentials = c
	client, err := oci.New(t.Context(), o)
	if err != nil {
		return err
	}
	_, err = client.Instance(t.Context(), s.World().Instances[0].ID)
	return err
}

func TestCredentials(t *testing.T) {
	s, _, _ := rig(t)
	dir := t.TempDir()
	config, err := s.WriteConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.WriteSession(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	good := s.Credentials()
	block, _ := pem.Decode(good.Key)
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	own := parsed.(*rsa.PrivateKey)
	modern, old := encryptedPKCS8(t, own, "p=ss word"), encryptedPEM(t, own, "p=ss word")
	text, _ := os.ReadFile(config)
	withKey := func(key []byte, extra string) string {
		d := t.TempDir()
		write(t, filepath.Join(d, "key.pem"), string(key))
		return write(t, filepath.Join(d, "config"), strings.ReplaceAll(string(text), dir, d)+extra)
	}
	changed := func(f func(*oci.Credentials)) oci.Credentials {
		c := good
		f(&c)
		return c
	}
	t.Setenv("OCI_CONFIG_FILE", filepath.Join(dir, "nowhere"))
	t.Setenv("HOME", t.TempDir())
	if err := os.Mkdir(filepath.Join(os.Getenv("HOME"), ".oci"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(os.Getenv("HOME"), ".oci", "config"), string(text))
	for name, c := range map[string]oci.Credentials{
		"key": good,
		"key, CRLF and a label": changed(func(c *oci.Credentials) {
			c.Key = []byte(strings.ReplaceAll(string(c.Key), "\n", "\r\n") + "OCI_API_KEY\n")
		}),
		"key, fingerprint in capitals":  changed(func(c *oci.Credentials) { c.Fingerprint = strings.ToUpper(c.Fingerprint) }),
		"key, PKCS 1":                   changed(func(c *oci.Credentials) { c.Key = pkcs1(t, own) }),
		"key, encrypted":                changed(func(c *oci.Credentials) { c.Key, c.Passphrase = modern, "p=ss word" }),
		"key, encrypted the old way":    changed(func(c *oci.Credentials) { c.Key, c.Passphrase = old, "p=ss word" }),
		"config file":                   {Auth: oci.ConfigFile, ConfigFile: config},
		"config file at home":           {Auth: oci.ConfigFile},
		"config file, encrypted key":    {Auth: oci.ConfigFile, ConfigFile: withKey(modern, "pass_phrase = p=ss word\n")},
		"config file, passphrase given": {Auth: oci.ConfigFile, ConfigFile: withKey(modern, ""), Passphrase: "p=ss word"},
		"config file, another profile":  {Auth: oci.ConfigFile, Profile: "EDGE", ConfigFile: write(t, filepath.Join(dir, "two"), "# two of them\n[DEFAULT]\nuser=x\n"+strings.Replace(string(text), "DEFAULT", "EDGE", 1))},
		"session token":                 {Auth: oci.SessionToken, ConfigFile: session, Profile: "SESSION"},
	} {
		if err := works(t, s, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCredentialsThatOCIRefuses(t *testing.T) {
	s, _, _ := rig(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	wrongKey := s.Credentials()
	wrongKey.Key, wrongKey.Fingerprint = pkcs1(t, other), oci.Fingerprint(&other.PublicKey)
	wrongUser := s.Credentials()
	wrongUser.User = "ocid1.user.oc1..aaaaaaaanobody"
	dir := t.TempDir()
	session, err := s.WriteSession(dir, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	s.Offset(2 * time.Minute)
	expired := oci.Credentials{Auth: oci.SessionToken, ConfigFile: session, Profile: "SESSION"}
	for name, test := range map[string]struct {
		c    oci.Credentials
		hint string
	}{"another key": {wrongKey, "API key"}, "another user": {wrongUser, "API key"}, "an expired session": {expired, "oci session"}} {
		before := len(s.Requests())
		err := works(t, s, test.c)
		if !verdict.Has(err, oci.BadCredentials) || len(s.Requests())-before > 2 || !strings.Contains(verdict.ChecksOf(err)[0].Hint, test.hint) {
			t.Errorf("%s: %v, %d requests", name, err, len(s.Requests())-before)
		}
	}
}

func TestCredentialsThatCanNotBeUsed(t *testing.T) {
	s, _, _ := rig(t)
	dir := t.TempDir()
	config, err := s.WriteConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.WriteSession(dir, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(config)
	stext, _ := os.ReadFile(session)
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ecDER, _ := x509.MarshalPKCS8PrivateKey(ec)
	other, _ := rsa.GenerateKey(rand.Reader, 2048)
	good := s.Credentials()
	changed := func(f func(*oci.Credentials)) oci.Credentials {
		c := good
		f(&c)
		return c
	}
	n := 0
	file := func(text string) oci.Credentials {
		n++
		return oci.Credentials{Auth: oci.ConfigFile, ConfigFile: write(t, filepath.Join(dir, "c"+string(rune('a'+n))), text)}
	}
	open := filepath.Join(dir, "open.pem")
	write(t, open, string(good.Key))
	os.Chmod(open, 0o644)
	shared := file(string(text) + "pass_phrase=secret-word\n").ConfigFile
	os.Chmod(shared, 0o644)
	for name, test := range map[string]struct {
		c    oci.Credentials
		says []string
	}{
		"no way to sign":                  {oci.Credentials{}, []string{`""`, "session_token"}},
		"another way":                     {oci.Credentials{Auth: "magic"}, []string{`"magic"`}},
		"nothing at all":                  {oci.Credentials{Auth: oci.APIKey}, []string{"no tenancy", "no user", "no fingerprint", "no region", "no key"}},
		"malformed, all":                  {oci.Credentials{Auth: oci.APIKey, Tenancy: "t", User: "u", Fingerprint: "f", Region: "eu-frankfurt-1", Key: []byte("k")}, []string{`tenancy "t"`, `user "u"`, `fingerprint "f"`, "no PEM"}},
		"a region of a URL":               {changed(func(c *oci.Credentials) { c.Region = "evil.example/" }), []string{`region "evil.example/"`}},
		"no region":                       {changed(func(c *oci.Credentials) { c.Region = "" }), []string{"no region"}},
		"the key of another":              {changed(func(c *oci.Credentials) { c.Key = pkcs1(t, other) }), []string{"has the fingerprint " + oci.Fingerprint(&other.PublicKey)}},
		"an EC key":                       {changed(func(c *oci.Credentials) { c.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: ecDER}) }), []string{"no RSA key"}},
		"a public key":                    {changed(func(c *oci.Credentials) { c.Key = pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY"}) }), []string{"no PEM of a private key"}},
		"an SSH key":                      {changed(func(c *oci.Credentials) { c.Key = pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY"}) }), []string{"is one of SSH"}},
		"encrypted":                       {changed(func(c *oci.Credentials) { c.Key = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"}) }), []string{"no passphrase"}},
		"another passphrase, really":      {changed(func(c *oci.Credentials) { c.Passphrase = "secret-word"; c.Key = encryptedPKCS8(t, other, "right") }), []string{"the passphrase is another one"}},
		"another passphrase, the old way": {changed(func(c *oci.Credentials) { c.Passphrase = "secret-word"; c.Key = encryptedPEM(t, other, "right") }), []string{"the passphrase is another one"}},
		"a passphrase for everybody":      {oci.Credentials{Auth: oci.ConfigFile, ConfigFile: shared}, []string{"chmod 600"}},
		"another passphrase": {changed(func(c *oci.Credentials) {
			c.Passphrase = "secret-word"
			c.Key = pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY"})
		}), []string{"the passphrase is another one"}},
		"no file":                {oci.Credentials{Auth: oci.ConfigFile, ConfigFile: filepath.Join(dir, "none")}, []string{"no such file"}},
		"no profile":             {oci.Credentials{Auth: oci.ConfigFile, ConfigFile: config, Profile: "EDGE"}, []string{`no such profile among "DEFAULT"`}},
		"an empty profile":       {file("[DEFAULT]\n"), []string{"no tenancy", "no user", "no fingerprint", "no region", "no key_file"}},
		"no key=value":           {file("[DEFAULT]\nuser\n"), []string{"line 2"}},
		"the profile twice":      {file(string(text) + "\n[DEFAULT]\nuser=x\n"), []string{"twice"}},
		"a key twice":            {file(string(text) + "region=eu-zurich-1\n"), []string{`gives "region" again`}},
		"two files missing":      {file(strings.ReplaceAll(string(text), "key.pem", "none.pem") + "\n"), []string{"key_file", "no such file"}},
		"a key for everybody":    {file(strings.ReplaceAll(string(text), "key.pem", "open.pem")), []string{"chmod 600"}},
		"a session that is none": {oci.Credentials{Auth: oci.SessionToken, ConfigFile: config}, []string{"no security_token_file"}},
		"an empty session":       {oci.Credentials{Auth: oci.SessionToken, Profile: "SESSION", ConfigFile: file(strings.ReplaceAll(string(stext), filepath.Join(dir, "token"), write(t, filepath.Join(dir, "empty"), "\n"))).ConfigFile}, []string{"holds no token"}},
	} {
		_, err := oci.New(t.Context(), oci.Options{Credentials: test.c, Endpoint: s.URL})
		if !verdict.Has(err, oci.BadCredentials) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range test.says {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: no %q in %v", name, want, err)
			}
		}
		if strings.Contains(err.Error(), "secret-word") || strings.Contains(err.Error(), "PRIVATE KEY--") {
			t.Errorf("%s: a secret in %v", name, err)
		}
	}
	if got := len(s.Requests()); got != 0 {
		t.Errorf("%d requests", got)
	}
}

// The metadata service is asked if the machine's own identity is wanted, and
// never else: for an unknown region neither.
func TestTheMetadataService(t *testing.T) {
	s, _, _ := rig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int64
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		cancel()
		w.WriteHeader(http.StatusNotFound)
	}))
	defer metadata.Close()
	t.Setenv("OCI_METADATA_BASE_URL", metadata.URL)
	if err := works(t, s, s.Credentials()); err != nil {
		t.Error(err)
	}
	s.Client(t, func(o *oci.Options) { o.Region = "xx-nowhere-1" })
	if got := asked.Load(); got != 0 {
		t.Errorf("asked %d times", got)
	}
	_, err := oci.New(ctx, oci.Options{Credentials: oci.Credentials{Auth: oci.InstancePrincipal}, Endpoint: s.URL})
	if !verdict.Has(err, oci.BadCredentials) || verdict.ChecksOf(err)[0].Verdict != verdict.Unproven || asked.Load() == 0 {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

func TestTheSDKMayNotPrint(t *testing.T) {
	s, _, _ := rig(t)
	for value, ok := range map[string]bool{"": true, "null": true, "info": false, "v": false} {
		t.Setenv("OCI_GO_SDK_DEBUG", value)
		if _, err := oci.New(t.Context(), s.Options()); (err == nil) != ok || err != nil && !verdict.Has(err, oci.Refused) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestEndpoints(t *testing.T) {
	s, _, _ := rig(t)
	for endpoint, ok := range map[string]bool{
		"":                         true,
		"http://127.0.0.1:1234":    true,
		"http://localhost:1":       true,
		"http://[::1]:1":           true,
		"https://oci.example":      true,
		"https://oci.example:8443": true,
		"http://oci.example":       false,
		"http://10.0.0.1:80":       false,
		"http://127.0.0.1.example": false,
		"https://oci.example/api":  false,
		"https://u:p@oci.example":  false,
		"https://oci.example?x":    false,
		"oci.example":              false,
		"file:///etc":              false,
		"https://":                 false,
		"http://%":                 false,
	} {
		o := s.Options()
		o.Endpoint = endpoint
		_, err := oci.New(t.Context(), o)
		if (err == nil) != ok || err != nil && !verdict.Has(err, oci.Refused) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	// A region by its key is the region by its name.
	c := s.Client(t, func(o *oci.Options) { o.Region = "fra" })
	if c.Region() != "eu-frankfurt-1" {
		t.Errorf("region %q", c.Region())
	}
}
