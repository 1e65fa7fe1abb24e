package ingress

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// The ids of the checks of a bastion session.
const (
	SessionOpened = "bastion-session"
	SessionClosed = "bastion-session-closed"
)

// Bastions is what a session asks of the cloud; *oci.Client answers.
type Bastions interface {
	CreateSession(ctx context.Context, bastionID, targetIP string, port int, publicKey, name string, ttl time.Duration) (oci.Session, error)
	Session(ctx context.Context, id string) (oci.Session, error)
	Sessions(ctx context.Context, bastionID string) ([]oci.Session, error)
	DeleteSession(ctx context.Context, id string) error
}

// Through is access without a rule: a session of a bastion in the machine's
// own network. The server ends it, so there is nothing to sweep.
type Through struct {
	Bastions Bastions
	// BastionID is the bastion, and HostKeys are the keys that it may have,
	// "type base64". Without one nobody is called.
	BastionID string
	HostKeys  []string
	// TTL is how long; OCI takes 30 minutes to 3 hours.
	TTL time.Duration
	// Host and Port are where the bastion listens; empty is where the cloud
	// says.
	Host string
	Port int
	// Wait is for the session to become active, 3 minutes if zero.
	Wait time.Duration
	Pace Pace
	Logf func(format string, args ...any)
}

// Passage is a session that was opened.
type Passage struct {
	Session oci.Session
	// Config is an ssh_config by which Target is reached through the bastion.
	Config string

	through *Through
	name    string
	sure    bool // whether there is a session is known
	lost    bool // an answer was lost: there may be two
}

// plain can stand in an ssh_config as it is.
var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@~+-]+$`)

// Open asks for a session to port SSH of target and writes into dir what ssh
// needs to use it: a key of its own, which nobody has seen before, and the
// bastion's pinned host key. include is the ssh_config for the rest, "" for
// none. Even with an error, a passage that is not nil has to be closed.
func (t *Through) Open(ctx context.Context, target, dir, include string) (*Passage, error) {
	if len(t.HostKeys) == 0 {
		return nil, verdict.CannotTell(SessionOpened, "the bastion's host key", errors.New("none is given"), "set bastion_host_key: a key that is learned on the way proves nothing")
	}
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "edge-actions bastion session")
	if err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "bastion_key")
	if err := files.Write(key, pem.EncodeToMemory(block)); err != nil {
		return nil, err
	}
	p := &Passage{through: t, name: "edge-actions-" + newNonce()[:16]}
	text := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(line)))
	if err := p.create(ctx, target, text); err != nil {
		return p, err
	}
	if err := p.active(ctx); err != nil {
		return p, err
	}
	return p, p.configure(target, dir, key, include)
}

// create asks for the session; one whose answer was lost is found by its name.
func (p *Passage) create(ctx context.Context, target, key string) error {
	t, pace := p.through, p.through.Pace.defaults()
	var last error
	for attempt := range pace.Adds {
		if attempt > 0 {
			if err := pause(ctx, pace.Pause<<min(attempt, 4)); err != nil {
				return errors.Join(last, err)
			}
		}
		s, err := t.Bastions.CreateSession(ctx, t.BastionID, target, SSH, key, p.name, t.TTL)
		if err == nil {
			p.Session, p.sure = s, true
			return nil
		}
		last = err
		if !again(err) {
			p.sure = !p.lost
			return err
		}
		p.lost = p.lost || oci.Ambiguous(err)
		t.Logf("whether the session was made is not known (%v): looking for it by its name", verdict.Reason(err))
		if err := p.find(ctx); err == nil && p.Session.ID != "" {
			p.sure = true
			return nil
		}
	}
	return verdict.CannotTell(SessionOpened, "a session of "+t.BastionID, last, "see the bastion in the cloud's console, and run it again")
}

func (p *Passage) find(ctx context.Context) error {
	list, err := p.through.Bastions.Sessions(ctx, p.through.BastionID)
	if err != nil {
		return err
	}
	for _, s := range list {
		// Of two, one that is there.
		if s.Name == p.name && (p.Session.ID == "" || !strings.HasPrefix(s.State, "DELET")) {
			p.Session = s
		}
	}
	return nil
}

func (p *Passage) active(ctx context.Context) error {
	t := p.through
	limit := t.Wait
	if limit == 0 {
		limit = 3 * time.Minute
	}
	wanted := fmt.Sprintf("the session %s to be active within %s", p.name, limit)
	for end := time.Now().Add(limit); p.Session.State != "ACTIVE"; {
		if p.Session.State == "FAILED" || strings.HasPrefix(p.Session.State, "DELET") {
			return verdict.Refuse(SessionOpened, wanted, quote(p.Session.State), "see the bastion in the cloud's console: its client allow-list, its plugin on the machine")
		}
		if time.Now().After(end) {
			return verdict.CannotTell(SessionOpened, wanted, errors.New(quote(p.Session.State)), "see the bastion in the cloud's console")
		}
		if err := pause(ctx, t.Pace.defaults().Pause); err != nil {
			return err
		}
		s, err := t.Bastions.Session(ctx, p.Session.ID)
		if err != nil {
			if again(err) {
				continue
			}
			return err
		}
		p.Session = s
	}
	return nil
}

// bastionHost is the name of the jump in the ssh_config.
const bastionHost = "edge-actions-bastion"

func (p *Passage) configure(target, dir, key, include string) error {
	t := p.through
	host, port, known := t.Host, t.Port, filepath.Join(dir, "bastion_known_hosts")
	if host == "" {
		host = p.Session.SSHHost
	}
	if port == 0 {
		port = SSH
	}
	for _, word := range []string{host, p.Session.Username, key, known, target, include} {
		if word != "" && !plain.MatchString(word) {
			return fmt.Errorf("wanted names and paths without blanks and quotes for ssh, found %s", quote(word))
		}
	}
	var hosts strings.Builder
	for _, k := range t.HostKeys {
		fmt.Fprintf(&hosts, "%s %s\n", bastionHost, k)
	}
	config := fmt.Sprintf("Host %[1]s\n  HostName %[2]s\n  Port %[3]d\n  User %[4]s\n  HostKeyAlias %[1]s\n  IdentityFile %[5]s\n  IdentitiesOnly yes\n"+
		"  UserKnownHostsFile %[6]s\n  GlobalKnownHostsFile /dev/null\n  UpdateHostKeys no\n  ConnectTimeout 20\n\nHost %[7]s\n  ProxyJump %[1]s\n",
		bastionHost, host, port, p.Session.Username, key, known, target)
	if include != "" {
		config += "\nHost *\n  Include " + include + "\n"
	}
	p.Config = filepath.Join(dir, "bastion_ssh_config")
	if err := files.Write(known, []byte(hosts.String())); err != nil {
		return err
	}
	return files.Write(p.Config, []byte(config))
}

// Check says that the session is there.
func (p *Passage) Check() verdict.Check {
	return verdict.Check{ID: SessionOpened, Verdict: verdict.Proven, Wanted: "a session of the bastion", Got: fmt.Sprintf("%s, until %s", quote(p.Session.ID), stamp(p.Session.Expires))}
}

// Close ends the session and sees that the cloud calls it deleted. One that
// can't be ended is by the cloud, at its expiry.
func (p *Passage) Close(ctx context.Context) verdict.Check {
	t, pace := p.through, p.through.Pace.defaults()
	wanted := fmt.Sprintf("the session %s to be gone", p.name)
	hint := "the cloud ends it by itself after " + t.TTL.String()
	var last error
	for look := range 4 * pace.Looks {
		if look > 0 {
			if err := pause(ctx, pace.Pause); err != nil {
				return verdict.CannotTell(SessionClosed, wanted, errors.Join(last, err), hint).Check
			}
		}
		if p.Session.ID == "" {
			if p.sure {
				return verdict.Check{ID: SessionClosed, Verdict: verdict.Proven, Wanted: wanted, Got: "it was never made"}
			}
			if last = p.find(ctx); last != nil || p.Session.ID == "" && look < pace.Looks {
				continue
			}
			if p.Session.ID == "" {
				return verdict.Check{ID: SessionClosed, Verdict: verdict.Proven, Wanted: wanted, Got: "it is in none of the bastion's lists"}
			}
		}
		s, err := t.Bastions.Session(ctx, p.Session.ID)
		switch {
		case err != nil:
			last = err
		case s.State == "DELETED":
			if p.lost {
				if last = p.find(ctx); last != nil || p.Session.ID != s.ID {
					continue
				}
			}
			return verdict.Check{ID: SessionClosed, Verdict: verdict.Proven, Wanted: wanted, Got: "DELETED"}
		case s.State == "DELETING":
			continue
		}
		if err := t.Bastions.DeleteSession(ctx, p.Session.ID); err != nil {
			last = err
			if !again(err) {
				break
			}
		}
	}
	if last == nil {
		last = errors.New("it is still there")
	}
	return verdict.CannotTell(SessionClosed, wanted, last, hint).Check
}

var _ Bastions = (*oci.Client)(nil)
