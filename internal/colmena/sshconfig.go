package colmena

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"edge-actions/internal/files"

	"golang.org/x/crypto/ssh"
)

// Pin is a host with the key that it was seen to have.
type Pin struct {
	Name    string // the node's
	Host    string // as the hive's targetHost says
	HostKey ssh.PublicKey
	// IdentityFile is the key to log in with; "" leaves it to the rest of the
	// configuration and the agent.
	IdentityFile string
}

// plainWord can stand in an ssh_config as it is.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@~+-]+$`)

// WriteSSHConfig writes an ssh_config, for SSH_CONFIG_FILE and NIX_SSHOPTS, and
// its known_hosts file into dir, and returns its path. Colmena runs ssh with
// "StrictHostKeyChecking=accept-new", which no configuration can override; but
// a host of which a key is known is held to it, and so every host here has one,
// under an alias that no other file knows. include is the user's own
// configuration, for the rest; "" for none.
func WriteSSHConfig(dir string, pins []Pin, include string) (string, error) {
	path, known := filepath.Join(dir, "ssh_config"), filepath.Join(dir, "known_hosts")
	for _, word := range []string{path, known, include} {
		if word != "" && !plainWord.MatchString(word) { // NIX_SSHOPTS is split at blanks
			return "", fmt.Errorf("wanted a path without blanks and quotes for ssh, found %q: set RUNNER_TEMP or the input ssh_config to another place", word)
		}
	}
	var config, hosts strings.Builder
	for _, p := range pins {
		if !plainWord.MatchString(p.Host) || !plainWord.MatchString(p.Name) || p.IdentityFile != "" && !plainWord.MatchString(p.IdentityFile) {
			return "", fmt.Errorf("wanted names without blanks and quotes for ssh, found %q, %q and %q", p.Name, p.Host, p.IdentityFile)
		}
		alias := "edge-actions-" + p.Name
		fmt.Fprintf(&hosts, "%s %s", alias, ssh.MarshalAuthorizedKey(p.HostKey))
		fmt.Fprintf(&config, "Host %s\n  HostKeyAlias %s\n  UserKnownHostsFile %s\n  GlobalKnownHostsFile /dev/null\n  HostKeyAlgorithms %s\n  UpdateHostKeys no\n  CheckHostIP no\n",
			p.Host, alias, known, algorithms(p.HostKey))
		if p.IdentityFile != "" {
			fmt.Fprintf(&config, "  IdentityFile %s\n  IdentitiesOnly yes\n", p.IdentityFile)
		}
	}
	// Without them a connection that died is waited for, for ever.
	config.WriteString("Host *\n  ConnectTimeout 20\n  ServerAliveInterval 15\n  ServerAliveCountMax 4\n  BatchMode yes\n")
	if include != "" {
		fmt.Fprintf(&config, "  Include %s\n", include)
	}
	if err := files.Write(known, []byte(hosts.String())); err != nil {
		return "", err
	}
	return path, files.Write(path, []byte(config.String()))
}

func algorithms(key ssh.PublicKey) string {
	if key.Type() == ssh.KeyAlgoRSA {
		return ssh.KeyAlgoRSASHA512 + "," + ssh.KeyAlgoRSASHA256
	}
	return key.Type()
}
