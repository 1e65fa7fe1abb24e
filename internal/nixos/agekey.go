package nixos

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the script that runs on the host
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"filippo.io/age"
)

// AgeKeyFile is where sops-nix looks for its key unless told otherwise.
const AgeKeyFile = "/var/lib/sops-nix/key.txt"

//go:embed agekey.sh
var ageKeyScript string

// AgeKey is the key with which a host decrypts its secrets.
type AgeKey struct {
	text      []byte
	line      string
	recipient string
}

// ParseAgeKey reads a key file as age-keygen writes it, with exactly one key in
// it. Its errors show nothing of the content.
func ParseAgeKey(text []byte) (*AgeKey, error) {
	k := &AgeKey{text: text}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		if !strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			continue
		}
		if k.line != "" {
			return nil, errors.New("it has more than one key")
		}
		k.line = line
	}
	switch id, err := age.ParseX25519Identity(k.line); {
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("it is empty")
	case k.line == "":
		return nil, errors.New("no line of it is a key (AGE-SECRET-KEY-1…)")
	case err != nil:
		return nil, errors.New("its key is damaged, or none of the type X25519")
	default:
		k.recipient = id.Recipient().String()
	}
	return k, nil
}

// Recipient is the public half, "age1…".
func (k *AgeKey) Recipient() string { return k.recipient }

// StageAgeKey puts the key on the host: root's, 0600; the directory that is
// sops-nix' own gets mode 0700. What arrived is compared before it takes the place of anything; a good
// key is never replaced by an empty one, and by a different one only if replace
// says so. It returns a check named "age-key-staged".
func StageAgeKey(ctx context.Context, c *sshx.Conn, k *AgeKey, file string, replace bool) verdict.Check {
	const id = "age-key-staged"
	wanted := fmt.Sprintf("the key of %s at %s", k.recipient, file)
	if !path.IsAbs(file) || path.Clean(file) != file {
		return verdict.Refuse(id, "an absolute path for the age key", fmt.Sprintf("%q", file), "correct sops.age.keyFile").Check
	}
	may := "no"
	if replace {
		may = "yes"
	}
	out, err := c.Output(ctx, sshx.Cmd{
		Name: "staging the age key", Root: true, Script: ageKeyScript, Stdin: bytes.NewReader(k.text), Timeout: time.Minute,
		Args: []string{file, digest(k.text), digest([]byte(k.line + "\n")), may},
	}, 4096)
	if err != nil {
		return verdict.CannotTell(id, wanted, err, "look at the file on the host before the deploy is run again").Check
	}
	switch word := strings.TrimSpace(string(out)); word {
	case "staged", "replaced", "kept":
		return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: word}
	case "different":
		return verdict.Refuse(id, wanted, "another key there, which was left", "if it is to be replaced, set age_key_replace: true; secrets that only the old key can read are lost with it").Check
	case "strange":
		return verdict.Refuse(id, wanted, "something there that is no regular file, which was left", "look at it on the host").Check
	case "damaged":
		return verdict.Refuse(id, wanted, "something else arrived; what was there was left", "look at the room on the host's disk, then run it again").Check
	default:
		return verdict.CannotTell(id, wanted, fmt.Errorf("the answer %.200q", word), "look at the file on the host").Check
	}
}

// CheckAgeKey looks whether the key that is on the host is that of recipient.
// The key goes over the connection into memory and nowhere else.
func CheckAgeKey(ctx context.Context, c *sshx.Conn, file, recipient string) verdict.Check {
	const id = "age-recipient"
	wanted := fmt.Sprintf("the key of %s at %s", recipient, file)
	text, err := c.Output(ctx, sshx.Cmd{Name: "reading the age key", Root: true, Args: []string{"cat", "--", file}, Timeout: time.Minute}, 64<<10)
	if err != nil {
		return verdict.CannotTell(id, wanted, err, "stage it with age_key_file").Check
	}
	defer clear(text)
	k, err := ParseAgeKey(text)
	if err != nil {
		return verdict.Refuse(id, wanted, "a file that is none: "+err.Error(), "stage the key with age_key_file").Check
	}
	if k.recipient != recipient {
		return verdict.Refuse(id, wanted, "the key of "+k.recipient, "stage the right one with age_key_file and age_key_replace, or correct age_recipient").Check
	}
	return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: recipient}
}

func digest(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }
