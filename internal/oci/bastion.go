package oci

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"github.com/oracle/oci-go-sdk/v65/bastion"
	"github.com/oracle/oci-go-sdk/v65/common"
)

// Session is a way through a bastion to one port of one private address. The
// server ends it.
type Session struct {
	ID, Name string
	State    string // CREATING, ACTIVE, DELETING, DELETED, FAILED
	// Username is what to log in as at SSHHost, which forwards the port.
	Username string
	Expires  time.Time
	SSHHost  string
	// HostKey is the bastion's public key as OCI shows it, or "" if it does not.
	HostKey    string
	TargetIP   string
	TargetPort int
}

// CreateSession asks for a session that forwards port of targetIP to whoever
// has the private half of publicKey, a line as in authorized_keys. It is
// CREATING at first: ask Session until it is ACTIVE. ttl is at least 30
// minutes and at most what the bastion allows, 3 hours. There is one attempt;
// its token makes OCI take a repeat for the same request.
func (c *Client) CreateSession(ctx context.Context, bastionID, targetIP string, port int, publicKey, name string, ttl time.Duration) (out Session, err error) {
	token := common.RetryToken()
	details := bastion.CreateSessionDetails{
		BastionId:             &bastionID,
		TargetResourceDetails: bastion.CreatePortForwardingSessionTargetResourceDetails{TargetResourcePrivateIpAddress: &targetIP, TargetResourcePort: &port},
		KeyDetails:            &bastion.PublicKeyDetails{PublicKeyContent: &publicKey},
		KeyType:               bastion.CreateSessionDetailsKeyTypePub,
		DisplayName:           optional(name),
		SessionTtlInSeconds:   common.Int(int(ttl / time.Second)),
	}
	o := op{name: "CreateSession", id: bastionID, need: "manage bastion-session", change: true}
	err = c.do(ctx, o, func(ctx context.Context) error {
		resp, err := c.bastion.CreateSession(ctx, bastion.CreateSessionRequest{CreateSessionDetails: details, OpcRetryToken: &token})
		if err != nil {
			return err
		}
		out = c.session(resp.Session)
		return named(out.ID)
	})
	return out, err
}

// Session returns one session.
func (c *Client) Session(ctx context.Context, id string) (out Session, err error) {
	err = c.do(ctx, op{name: "GetSession", id: id, need: "read bastion-session", again: true}, func(ctx context.Context) error {
		resp, err := c.bastion.GetSession(ctx, bastion.GetSessionRequest{SessionId: &id})
		if err != nil {
			return err
		}
		out = c.session(resp.Session)
		return same(id, out.ID)
	})
	return out, err
}

// Sessions returns the sessions of a bastion, those that have ended too. The
// list has no HostKey.
func (c *Client) Sessions(ctx context.Context, bastionID string) ([]Session, error) {
	get := func(ctx context.Context, page *string) ([]bastion.SessionSummary, *string, error) {
		resp, err := c.bastion.ListSessions(ctx, bastion.ListSessionsRequest{BastionId: &bastionID, Limit: common.Int(pageSize), Page: page})
		return resp.Items, resp.OpcNextPage, err
	}
	return pages(ctx, c, op{name: "ListSessions", id: bastionID, need: "inspect bastion-session", again: true}, get, func(s bastion.SessionSummary) (Session, error) {
		out := c.session(bastion.Session{
			Id: s.Id, DisplayName: s.DisplayName, LifecycleState: s.LifecycleState, TimeCreated: s.TimeCreated,
			SessionTtlInSeconds: s.SessionTtlInSeconds, TargetResourceDetails: s.TargetResourceDetails,
		})
		return out, named(out.ID)
	})
}

// DeleteSession ends a session. One that has ended already is no error, if
// OCI still shows it as such; a 404 alone does not say so.
func (c *Client) DeleteSession(ctx context.Context, id string) error {
	o := op{name: "DeleteSession", id: id, need: "manage bastion-session", again: true, change: true}
	err := c.do(ctx, o, func(ctx context.Context) error {
		_, err := c.bastion.DeleteSession(ctx, bastion.DeleteSessionRequest{SessionId: &id})
		return err
	})
	switch status(err) {
	case http.StatusNotFound, http.StatusConflict:
		if s, lookErr := c.Session(ctx, id); lookErr == nil && (s.State == "DELETED" || s.State == "DELETING") {
			return nil
		}
	}
	return err
}

// sshCommand finds where to log in: OCI gives a whole command line, with the
// session's id for the user.
var sshCommand = regexp.MustCompile(`(ocid1\.bastionsession\.[A-Za-z0-9._-]+)@(host\.bastion\.[a-z0-9.-]+)`)

func (c *Client) session(s bastion.Session) Session {
	out := Session{
		ID: or(s.Id), Name: or(s.DisplayName), State: string(s.LifecycleState), HostKey: or(s.BastionPublicHostKeyInfo),
		Username: or(s.Id), SSHHost: fmt.Sprintf("host.bastion.%s.oci.oraclecloud.com", c.region),
	}
	if m := sshCommand.FindStringSubmatch(s.SshMetadata["command"]); m != nil && m[1] == out.ID {
		out.SSHHost = m[2]
	}
	if created := or(s.TimeCreated).Time; !created.IsZero() {
		out.Expires = created.Add(time.Duration(or(s.SessionTtlInSeconds)) * time.Second)
	}
	if t, ok := s.TargetResourceDetails.(bastion.PortForwardingSessionTargetResourceDetails); ok {
		out.TargetIP, out.TargetPort = or(t.TargetResourcePrivateIpAddress), or(t.TargetResourcePort)
	}
	return out
}
