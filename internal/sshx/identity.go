package sshx

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// identity says where the keys to log in with come from.
type identity struct {
	files      []string
	agent      string // its socket
	only       bool   // of the agent's keys, only those of files
	must       bool   // files must be there
	passphrase func(string) ([]byte, error)
}

// keyring are the keys of one login.
type keyring struct {
	signers []ssh.Signer
	used    ssh.PublicKey // the last one that signed: the host asks for a signature only by a key that it lets in
	notes   []string      // what was offered and what could not be, for people
	agent   net.Conn
}

func (k *keyring) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}

func (k *keyring) methods() []ssh.AuthMethod {
	if len(k.signers) == 0 {
		return nil // "none" is always tried: Tailscale SSH lets it in
	}
	signers := make([]ssh.Signer, len(k.signers))
	for i, s := range k.signers {
		signers[i] = &noted{s, k}
	}
	return []ssh.AuthMethod{ssh.PublicKeys(signers...)}
}

// noted remembers that it signed. It passes on what the library asks of a
// signer, which would otherwise fall back to SHA-1 for RSA.
type noted struct {
	ssh.Signer
	ring *keyring
}

func (n *noted) SignWithAlgorithm(rand io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	n.ring.used = n.PublicKey()
	if s, ok := n.Signer.(ssh.AlgorithmSigner); ok {
		return s.SignWithAlgorithm(rand, data, algorithm)
	}
	return n.Sign(rand, data)
}

func (k *keyring) text() string {
	if len(k.notes) == 0 {
		return "there was no key to offer"
	}
	return strings.Join(k.notes, ", ")
}

func (k *keyring) add(s ssh.Signer, from string) {
	k.signers = append(k.signers, s)
	k.notes = append(k.notes, fmt.Sprintf("offered %s of %s", ssh.FingerprintSHA256(s.PublicKey()), from))
}

// open reads the identity files and asks the agent. The order is that of
// files, then the agent's other keys: sshd hangs up after six.
func (id identity) open(ctx context.Context, h Hop) (*keyring, error) {
	k := &keyring{}
	held := k.ask(ctx, id.agent)
	for _, path := range id.files {
		if err := k.load(id, path, held); err != nil {
			if id.must {
				k.close()
				return nil, verdict.CannotTell(Config, fmt.Sprintf("the identity file %s, for the login on %s", path, h), err, "give a private key of mode 0600, with its passphrase if it has one")
			}
			if !errors.Is(err, fs.ErrNotExist) {
				k.notes = append(k.notes, fmt.Sprintf("could not use %s (%v)", path, err))
			}
		}
	}
	if !id.only {
		for _, s := range held {
			if s != nil {
				k.add(*s, "the agent")
			}
		}
	}
	return k, nil
}

// ask returns the agent's keys. A key that was taken becomes nil.
func (k *keyring) ask(ctx context.Context, socket string) []*ssh.Signer {
	if socket == "" {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err == nil {
		if deadline, ok := ctx.Deadline(); ok {
			conn.SetDeadline(deadline) //nolint:errcheck // a socket has deadlines
		}
		k.agent = conn
		var signers []ssh.Signer
		if signers, err = agent.NewClient(conn).Signers(); err == nil {
			held := make([]*ssh.Signer, len(signers))
			for i := range signers {
				held[i] = &signers[i]
			}
			return held
		}
	}
	k.notes = append(k.notes, fmt.Sprintf("the agent at %s did not answer (%v)", socket, err))
	return nil
}

// load adds the key of a file: from the agent if it holds it, and so without
// a passphrase, else from the file. With a certificate beside it ("-cert.pub")
// that is offered first.
func (k *keyring) load(id identity, path string, held []*ssh.Signer) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fromAgent := func(pub ssh.PublicKey) bool {
		for i, s := range held {
			if s != nil && string((*s).PublicKey().Marshal()) == string(pub.Marshal()) {
				k.addWithCertificate(*s, path, "the agent, for "+path)
				held[i] = nil
				return true
			}
		}
		return false
	}
	if pub, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		if fromAgent(pub) {
			return nil
		}
		return errors.New("it is a public key, and the agent does not hold the private one")
	}
	if err := files.CheckSecret(path); err != nil {
		return err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		pub := encrypted.PublicKey // in OpenSSH's format only
		if beside, readErr := os.ReadFile(path + ".pub"); pub == nil && readErr == nil {
			pub, _, _, _, _ = ssh.ParseAuthorizedKey(beside)
		}
		if pub != nil && fromAgent(pub) {
			return nil
		}
		if id.passphrase == nil {
			return errors.New("it has a passphrase, which was not given")
		}
		secret, askErr := id.passphrase(path)
		if askErr != nil {
			return askErr
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, secret)
		clear(secret)
	}
	if err != nil {
		return err
	}
	if !fromAgent(signer.PublicKey()) {
		k.addWithCertificate(signer, path, path)
	}
	return nil
}

func (k *keyring) addWithCertificate(s ssh.Signer, path, from string) {
	certificate := strings.TrimSuffix(path, ".pub") + "-cert.pub"
	if data, err := os.ReadFile(certificate); err == nil {
		pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
		cert, ok := pub.(*ssh.Certificate)
		if err == nil && ok {
			if signer, err := ssh.NewCertSigner(cert, s); err == nil {
				k.add(signer, certificate)
			}
		}
	}
	k.add(s, from)
}
