package ocitest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/oci"
)

// skew is how far a Date may be off.
const skew = 5 * time.Minute

// keyring is the keys that the server takes, by keyId.
type keyring struct {
	private     *rsa.PrivateKey
	pem         []byte
	fingerprint string
	public      map[string]*rsa.PublicKey
	tokens      map[string]time.Time // a session token's end
}

func newKeyring() (*keyring, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	k := &keyring{public: map[string]*rsa.PublicKey{}, tokens: map[string]time.Time{}}
	return k, k.use(key)
}

func (k *keyring) use(key *rsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	k.private, k.pem = key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	k.fingerprint = oci.Fingerprint(&key.PublicKey)
	return nil
}

func (k *keyring) add(id string, key *rsa.PublicKey) { k.public[id] = key }

func (w *World) keyID(fingerprint string) string {
	return w.Tenancy + "/" + w.User + "/" + fingerprint
}

// Credentials are of the world's user, with a key that was made for this
// server.
func (s *Server) Credentials() oci.Credentials {
	return oci.Credentials{Auth: oci.APIKey, Tenancy: s.world.Tenancy, User: s.world.User, Fingerprint: s.keys.fingerprint, Key: s.keys.pem, Region: s.world.Region}
}

// Options are for a client of this server that does not wait long.
func (s *Server) Options() oci.Options {
	return oci.Options{Credentials: s.Credentials(), Endpoint: s.URL, Timeout: 10 * time.Second, Pause: time.Millisecond}
}

// Client is a client of this server, with its options changed.
func (s *Server) Client(t testing.TB, change ...func(*oci.Options)) *oci.Client {
	t.Helper()
	o := s.Options()
	for _, f := range change {
		f(&o)
	}
	c, err := oci.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// WriteConfig writes a config file with the profile DEFAULT and its key to a
// directory, as ~/.oci has them. It returns the file's path.
func (s *Server) WriteConfig(dir string) (string, error) {
	key, path := filepath.Join(dir, "key.pem"), filepath.Join(dir, "config")
	if err := files.Write(key, s.keys.pem); err != nil {
		return "", err
	}
	c := s.Credentials()
	text := fmt.Sprintf("[DEFAULT]\nuser=%s\nfingerprint=%s\nkey_file=%s\ntenancy=%s\nregion=%s\n", c.User, c.Fingerprint, key, c.Tenancy, c.Region)
	return path, files.Write(path, []byte(text))
}

// UseKey makes the key in a file the user's, so that a config file of an
// earlier server keeps working.
func (s *Server) UseKey(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return fmt.Errorf("%s holds no PEM", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return err
	}
	rsaKey, ok := key.(*rsa.PrivateKey)
	if !ok {
		return fmt.Errorf("%s holds no RSA key", path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys.public, s.world.keyID(s.keys.fingerprint))
	if err := s.keys.use(rsaKey); err != nil {
		return err
	}
	s.keys.add(s.world.keyID(s.keys.fingerprint), &rsaKey.PublicKey)
	return nil
}

// WriteSession writes a config file with a profile SESSION, of a token that
// ends by the server's clock after ttl. It returns the file's path.
func (s *Server) WriteSession(dir string, ttl time.Duration) (string, error) {
	s.mu.Lock()
	token := "eyJ." + strings.ToLower(random(24)) + ".sig"
	s.keys.add("ST$"+token, &s.keys.private.PublicKey)
	s.keys.tokens["ST$"+token] = s.now().Add(ttl)
	s.mu.Unlock()
	if err := files.Write(filepath.Join(dir, "token"), []byte(token)); err != nil {
		return "", err
	}
	if err := files.Write(filepath.Join(dir, "session.pem"), s.keys.pem); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "session-config")
	c := s.Credentials()
	text := fmt.Sprintf("[SESSION]\nfingerprint=%s\nkey_file=%s\ntenancy=%s\nregion=%s\nsecurity_token_file=%s\n",
		c.Fingerprint, filepath.Join(dir, "session.pem"), c.Tenancy, c.Region, filepath.Join(dir, "token"))
	return path, files.Write(path, []byte(text))
}

const unauthenticated = "The required information to complete authentication was not provided or was incorrect."

var authorization = regexp.MustCompile(`([A-Za-z]+)="([^"]*)"`)

// verify returns what the server has against a request's signature, or "".
func (s *Server) verify(r *http.Request, body []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Signature ")
	if !ok {
		return unauthenticated
	}
	p := map[string]string{}
	for _, m := range authorization.FindAllStringSubmatch(fields, -1) {
		p[m[1]] = m[2]
	}
	key, known := s.keys.public[p["keyId"]]
	end, isToken := s.keys.tokens[p["keyId"]]
	date, err := http.ParseTime(r.Header.Get("Date"))
	now := s.now()
	switch {
	case p["version"] != "1", p["algorithm"] != "rsa-sha256", !known, err != nil:
		return unauthenticated
	case isToken && now.After(end):
		return unauthenticated
	case date.Sub(now).Abs() > skew:
		const form = "Mon, 02 Jan 2006 15:04:05 UTC"
		return fmt.Sprintf("Date '%s' is not within allowed clock skew. Current '%s', valid datetime range: ['%s', '%s']", date.UTC().Format(form), now.UTC().Format(form), now.UTC().Add(-skew).Format(form), now.UTC().Add(skew).Format(form))
	}
	needed := []string{"date", "(request-target)", "host"}
	if r.Method == http.MethodPost || r.Method == http.MethodPut || r.Method == http.MethodPatch {
		needed = append(needed, "content-length", "content-type", "x-content-sha256")
		sum := sha256.Sum256(body)
		if r.Header.Get("X-Content-Sha256") != base64.StdEncoding.EncodeToString(sum[:]) {
			return unauthenticated
		}
	}
	var signing []string
	signed := map[string]bool{}
	for _, name := range strings.Split(p["headers"], " ") {
		value := r.Header.Get(name)
		switch name {
		case "(request-target)":
			value = strings.ToLower(r.Method) + " " + r.URL.RequestURI()
		case "host":
			value = r.Host
		case "content-length":
			value = strconv.Itoa(len(body))
		}
		if value == "" || signed[name] {
			return unauthenticated
		}
		signed[name] = true
		signing = append(signing, name+": "+value)
	}
	for _, name := range needed {
		if !signed[name] {
			return unauthenticated
		}
	}
	signature, err := base64.StdEncoding.DecodeString(p["signature"])
	sum := sha256.Sum256([]byte(strings.Join(signing, "\n")))
	if err != nil || rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) != nil {
		return unauthenticated
	}
	return ""
}
