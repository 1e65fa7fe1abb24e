package oci

import (
	"cmp"
	"context"
	"crypto/md5"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/oracle/oci-go-sdk/v65/common"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// Auth is the way in which requests are signed.
type Auth string

const (
	// ConfigFile: an API key, by a profile of a file like ~/.oci/config.
	ConfigFile Auth = "config_file"
	// APIKey: an API key that is given as a value and never written to disk.
	APIKey Auth = "key"
	// SessionToken: a token of at most an hour, by a profile that oci session
	// authenticate has written. It is read once.
	SessionToken Auth = "session_token"
	// InstancePrincipal: the machine's own identity, if it is one of OCI's.
	// Only this asks a metadata service.
	InstancePrincipal Auth = "instance_principal"
)

// Auths are all of them, for an input's list of values.
func Auths() []Auth { return []Auth{ConfigFile, APIKey, SessionToken, InstancePrincipal} }

// Credentials say who asks. No environment variable is looked at.
type Credentials struct {
	Auth Auth

	// ConfigFile and Profile are for config_file and session_token: "" is
	// ~/.oci/config and DEFAULT. Its format:
	// https://docs.oracle.com/iaas/Content/API/Concepts/sdkconfig.htm
	ConfigFile, Profile string

	// Tenancy and User are OCIDs, Fingerprint is the key's, as 16 hex bytes
	// with colons, and Key is its PEM. They are for key.
	Tenancy, User, Fingerprint string
	Key                        []byte

	// Passphrase is of the private key, if that has one. It goes before the
	// pass_phrase of a config file.
	Passphrase string
	// Region is an identifier (eu-frankfurt-1) or a key (fra). It goes before
	// the region of a config file, and must be given for key.
	Region string
}

// Format keeps the key and the passphrase out of whatever prints them, or the
// Options that they are part of.
func (c Credentials) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s profile %q of %q, user %q, region %q}", c.Auth, c.Profile, c.ConfigFile, c.User, c.Region)
}

var (
	ocidForm   = regexp.MustCompile(`^ocid1\.[a-z0-9]+\.[a-z0-9]*\.[a-z0-9-]*\.[A-Za-z0-9._-]+$`)
	printForm  = regexp.MustCompile(`^([0-9a-f]{2}:){15}[0-9a-f]{2}$`)
	regionForm = regexp.MustCompile(`^[a-z][a-z0-9-]{2,62}$`)
)

// provider makes what the SDK signs with. It says all that is wrong at once.
func (c *Credentials) provider(ctx context.Context) (common.ConfigurationProvider, error) {
	if c.Region != "" && !regionForm.MatchString(c.Region) {
		return nil, unusable("a region, like eu-frankfurt-1", []string{fmt.Sprintf("the region %q", cut(c.Region, 80))}, "give the region as the console shows it")
	}
	switch c.Auth {
	case ConfigFile, SessionToken:
		return c.fromFile()
	case APIKey:
		return c.fromValues()
	case InstancePrincipal:
		return instancePrincipal(ctx, c.Region)
	}
	return nil, unusable("a way to sign", []string{fmt.Sprintf("%q", cut(string(c.Auth), 80))}, fmt.Sprintf("give one of %q", Auths()))
}

func unusable(wanted string, problems []string, hint string) error {
	return verdict.Refuse(BadCredentials, wanted, strings.Join(problems, "; "), hint)
}

func (c *Credentials) fromValues() (common.ConfigurationProvider, error) {
	i := &identity{tenancy: c.Tenancy, user: c.User, fingerprint: strings.ToLower(strings.TrimSpace(c.Fingerprint)), region: c.Region}
	problems := i.check("tenancy", "user", "fingerprint", "region")
	if len(strings.TrimSpace(string(c.Key))) == 0 {
		problems = append(problems, "no key")
	} else if key, err := parseKey(c.Key, c.Passphrase); err != nil {
		problems = append(problems, fmt.Sprintf("the key %v", err))
	} else {
		problems = append(problems, i.use(key)...)
	}
	if problems != nil {
		return nil, unusable("tenancy, user, fingerprint, region and the key's PEM", problems, "the console shows the first four under API keys, view configuration file")
	}
	i.keyID = i.tenancy + "/" + i.user + "/" + i.fingerprint
	return i, nil
}

func (c *Credentials) fromFile() (common.ConfigurationProvider, error) {
	path, name := c.ConfigFile, c.Profile
	if path == "" {
		path = "~/.oci/config"
	}
	if name == "" {
		name = "DEFAULT"
	}
	wanted := fmt.Sprintf("a usable profile %q in %s", cut(name, 80), path)
	hint := "mend that file; oci setup config writes one"
	if c.Auth == SessionToken {
		hint = "run oci session authenticate, which writes that profile"
	}
	p, err := readProfile(path, name)
	if err != nil {
		return nil, unusable(wanted, []string{err.Error()}, hint)
	}
	i := &identity{tenancy: p["tenancy"], user: p["user"], fingerprint: strings.ToLower(p["fingerprint"]), region: p["region"]}
	if c.Region != "" {
		i.region = c.Region
	}
	needed := []string{"tenancy", "user", "fingerprint", "region"}
	if c.Auth == SessionToken {
		needed = slices.DeleteFunc(needed, func(s string) bool { return s == "user" })
	}
	problems := i.check(needed...)
	passphrase := c.Passphrase
	if inFile := cmp.Or(p["pass_phrase"], p["passphrase"]); inFile != "" {
		if err := files.CheckSecret(home(path)); err != nil {
			problems = append(problems, fmt.Sprintf("the file holds a pass_phrase and %v", err))
		}
		passphrase = cmp.Or(passphrase, inFile)
	}
	if data, err := secretFile(p, "key_file"); err != nil {
		problems = append(problems, err.Error())
	} else if key, err := parseKey(data, passphrase); err != nil {
		problems = append(problems, fmt.Sprintf("key_file %q %v", p["key_file"], err))
	} else {
		problems = append(problems, i.use(key)...)
	}
	i.keyID = i.tenancy + "/" + i.user + "/" + i.fingerprint
	if c.Auth == SessionToken {
		token, err := secretFile(p, "security_token_file")
		text := strings.TrimSpace(string(token))
		switch {
		case err != nil:
			problems = append(problems, err.Error())
		case text == "" || strings.ContainsAny(text, " \t\r\n\""):
			problems = append(problems, fmt.Sprintf("security_token_file %q holds no token", p["security_token_file"]))
		}
		i.keyID = "ST$" + text
	}
	if problems != nil {
		return nil, unusable(wanted, problems, hint)
	}
	return i, nil
}

// secretFile reads the file that a key of a profile names.
func secretFile(p map[string]string, key string) ([]byte, error) {
	if p[key] == "" {
		return nil, fmt.Errorf("no %s", key)
	}
	path := home(p[key])
	if err := files.CheckSecret(path); err != nil {
		return nil, fmt.Errorf("%s %q: %w", key, p[key], err)
	}
	return os.ReadFile(path)
}

// parseKey reads an RSA key in any PEM that OCI's own tools write. Its errors
// hold nothing of the key.
func parseKey(data []byte, passphrase string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("is no PEM of a private key")
	}
	encrypted := block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != ""
	switch {
	case encrypted && passphrase == "":
		return nil, errors.New("is encrypted, and there is no passphrase")
	case block.Type == "OPENSSH PRIVATE KEY":
		return nil, errors.New("is one of SSH: an API key is made with openssl or by the console")
	}
	var secret []byte
	if encrypted {
		secret = []byte(passphrase)
	}
	key, err := common.PrivateKeyFromBytesWithPassword(data, secret)
	switch {
	case err == nil && key != nil:
		return key, nil
	case encrypted:
		return nil, errors.New("can't be decrypted: the passphrase is another one")
	}
	return nil, errors.New("is no RSA key")
}

// identity is one key of one user; it implements
// common.ConfigurationProvider. The SDK's own for files keeps what it read for
// the life of the process and cuts a passphrase at its first "=".
type identity struct {
	tenancy, user, fingerprint, region string
	keyID                              string
	key                                *rsa.PrivateKey
}

// check says which of the fields are missing or malformed.
func (i *identity) check(fields ...string) (problems []string) {
	for _, f := range fields {
		value, form := "", ocidForm
		switch f {
		case "tenancy":
			value = i.tenancy
		case "user":
			value = i.user
		case "fingerprint":
			value, form = i.fingerprint, printForm
		case "region":
			value, form = i.region, regionForm
		}
		switch {
		case value == "":
			problems = append(problems, "no "+f)
		case !form.MatchString(value):
			problems = append(problems, fmt.Sprintf("the %s %q has another form", f, cut(value, 120)))
		}
	}
	return problems
}

// use takes the key, if it is the fingerprint's.
func (i *identity) use(key *rsa.PrivateKey) []string {
	i.key = key
	if own := Fingerprint(&key.PublicKey); printForm.MatchString(i.fingerprint) && own != i.fingerprint {
		return []string{fmt.Sprintf("the key has the fingerprint %s and not %s", own, i.fingerprint)}
	}
	return nil
}

// Fingerprint is how OCI names a public key: the MD5 of its DER, in hex with
// colons.
func Fingerprint(key *rsa.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	var hex []string
	for _, b := range md5.Sum(der) {
		hex = append(hex, fmt.Sprintf("%02x", b))
	}
	return strings.Join(hex, ":")
}

func (i *identity) PrivateRSAKey() (*rsa.PrivateKey, error) { return i.key, nil }
func (i *identity) KeyID() (string, error)                  { return i.keyID, nil }
func (i *identity) TenancyOCID() (string, error)            { return i.tenancy, nil }
func (i *identity) UserOCID() (string, error)               { return i.user, nil }
func (i *identity) KeyFingerprint() (string, error)         { return i.fingerprint, nil }
func (i *identity) Region() (string, error)                 { return i.region, nil }

// AuthType tells the SDK to look no further: for a type of a config file it
// would read more files.
func (i *identity) AuthType() (common.AuthConfig, error) {
	return common.AuthConfig{AuthType: common.UserPrincipal}, nil
}
