package sshx

import (
	"fmt"
	"path/filepath"
	"testing"
)

// A bastion that takes one key only, and that no other file knows: what
// ssh_config says of a jump is the jump's, whatever is given for the target.
func TestAJumpWithAKeyOfItsOwn(t *testing.T) {
	h := newHome(t)
	its := newKey(t, h.dir, "session", "")
	inner, outer := startServer(t, []string{h.key}), startServer(t, []string{its})
	known := write(t, filepath.Join(h.dir, "bastion_known_hosts"), "bastion "+outer.HostKey+"\n")
	target := Target{
		Host: "127.0.0.1", Port: inner.Port, User: me(), HostKeys: []string{inner.HostKey}, IdentityFiles: []string{h.key}, Env: h.env(),
		KnownHosts: []string{write(t, filepath.Join(h.dir, "known"), "other "+outer.HostKey+"\n")},
		Config: write(t, filepath.Join(h.dir, "config"), fmt.Sprintf(`Host bastion
  HostName 127.0.0.1
  Port %d
  User %s
  HostKeyAlias bastion
  IdentityFile %s
  UserKnownHostsFile %s
Host 127.0.0.1
  ProxyJump bastion
`, outer.Port, me(), its, known)),
	}
	works(t, dialed(t, target))
	// The target's key does not open the bastion, nor the bastion's the target.
	target.IdentityFiles = []string{its}
	fails(t, target, AuthRefused)
	write(t, known, "bastion "+inner.HostKey+"\n")
	fails(t, target, HostKeyChanged, "bastion (")
}
