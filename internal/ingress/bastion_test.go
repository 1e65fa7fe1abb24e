package ingress

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

const bastionKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJiUu4BdRhmxmLcmYUY8BTy9Djb0A4SW5hHwIxPUzBxd"

func through(r *rig) *Through {
	return &Through{
		Bastions: r.client, BastionID: r.server.World().Bastions[0].ID, HostKeys: []string{bastionKey}, TTL: 30 * time.Minute, Wait: 5 * time.Second,
		Pace: Pace{Pause: time.Millisecond}, Logf: r.t.Logf,
	}
}

func (r *rig) sessions() (states string) {
	list, err := r.client.Sessions(r.t.Context(), r.server.World().Bastions[0].ID)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range list {
		states += s.State + " "
	}
	return states
}

func TestBastion(t *testing.T) {
	for name, tt := range map[string]struct{ before, then func(*rig) }{
		"all is well":                      {},
		"it is slow":                       {before: func(r *rig) { r.server.SessionReady(5) }},
		"the answer of the create is lost": {before: func(r *rig) { r.server.LoseResponse("POST", "/sessions", 1) }},
		"the create is lost":               {before: func(r *rig) { r.server.LoseRequest("POST", "/sessions", 1) }},
		"it is throttled":                  {before: func(r *rig) { r.server.Inject(ocitest.Fault{Kind: ocitest.Throttle, Method: "POST", Times: 2}) }},
		"the answer of the delete is lost": {then: func(r *rig) { r.server.LoseResponse("DELETE", "/sessions", 1) }},
		"the delete fails at first":        {then: func(r *rig) { r.server.Fail("DELETE", "/sessions", 2, 500, "InternalServerError") }},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if tt.before != nil {
				tt.before(r)
			}
			dir := t.TempDir()
			p, err := through(r).Open(t.Context(), r.node.PrivateIP, dir, "")
			if err != nil {
				t.Fatal(err)
			}
			want(t, p.Check(), verdict.Proven, SessionOpened)
			if s := r.sessions(); s != "ACTIVE " {
				t.Errorf("%s", s)
			}
			config, err := os.ReadFile(p.Config)
			if err != nil || !strings.Contains(string(config), "Host "+r.node.PrivateIP+"\n  ProxyJump edge-actions-bastion") || !strings.Contains(string(config), "User "+p.Session.Username) {
				t.Errorf("%v\n%s", err, config)
			}
			if info, err := os.Stat(filepath.Join(dir, "bastion_key")); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if tt.then != nil {
				tt.then(r)
			}
			want(t, p.Close(t.Context()), verdict.Proven, SessionClosed)
			if s := r.sessions(); strings.Contains(s, "ACTIVE") || strings.Contains(s, "CREATING") {
				t.Errorf("%s", s)
			}
			if len(r.ours()) > 0 {
				t.Error("a rule was made")
			}
			r.untouched()
		})
	}
}

func TestBastionThatIsRefused(t *testing.T) {
	r := newRig(t)
	b := through(r)
	b.HostKeys = nil
	p, err := b.Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	refused(t, err, SessionOpened, "bastion_host_key")
	if p != nil || r.sessions() != "" {
		t.Error("a session was made without a key to know the bastion by")
	}
	r.server.Forbid(b.BastionID)
	b.HostKeys = []string{bastionKey}
	p, err = b.Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	refused(t, err, oci.MissingOrForbidden)
	want(t, p.Close(t.Context()), verdict.Proven, SessionClosed, "never made")
}

func TestSessionThatIsNeverActive(t *testing.T) {
	r := newRig(t)
	r.server.SessionReady(1 << 20)
	b := through(r)
	b.Wait = 50 * time.Millisecond
	p, err := b.Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	refused(t, err, SessionOpened, "CREATING")
	want(t, p.Close(t.Context()), verdict.Proven, SessionClosed)
}

// A session that can't be ended is not called so.
func TestSessionThatStays(t *testing.T) {
	r := newRig(t)
	p, err := through(r).Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	r.server.Fail("DELETE", "", -1, 403, "NotAuthorized")
	want(t, p.Close(t.Context()), verdict.Unproven, SessionClosed, "by itself after 30m0s")
}

// The first attempt came through and its answer was lost, the second was refused
// clearly: whether there is a session is not known from that.
func TestALostSessionThenAClearNo(t *testing.T) {
	r := newRig(t)
	r.server.LoseResponse("POST", "/sessions", 1)
	r.server.Inject(ocitest.Fault{Kind: ocitest.Fail, Method: "POST", Path: "/sessions", Times: -1, Status: 403, Code: "NotAuthorized"})
	// It can't be looked for between the two.
	r.server.Inject(ocitest.Fault{Kind: ocitest.Fail, Method: "GET", Path: "/sessions", Times: 1, Status: 404, Code: "NotAuthorizedOrNotFound"})
	p, err := through(r).Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	refused(t, err, oci.Forbidden)
	r.server.Heal()
	if s := r.sessions(); s == "" {
		t.Fatal("there is none: the test proves nothing")
	}
	want(t, p.Close(t.Context()), verdict.Proven, SessionClosed, "DELETED")
	if s := r.sessions(); strings.Contains(s, "ACTIVE") || strings.Contains(s, "CREATING") {
		t.Errorf("%s", s)
	}
}

// It came through, its answer was lost, and the list did not show it yet: now
// there are two of one name, and both go.
func TestTwoSessions(t *testing.T) {
	r := newRig(t)
	r.server.LoseResponse("POST", "/sessions", 1)
	r.server.Inject(ocitest.Fault{Kind: ocitest.Fail, Method: "GET", Path: "/sessions", Times: 1, Status: 404, Code: "NotAuthorizedOrNotFound"})
	p, err := through(r).Open(t.Context(), r.node.PrivateIP, t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if s := r.sessions(); len(strings.Fields(s)) != 2 {
		t.Fatalf("%q: the test proves nothing", s)
	}
	want(t, p.Close(t.Context()), verdict.Proven, SessionClosed)
	if s := r.sessions(); strings.Contains(s, "ACTIVE") || strings.Contains(s, "CREATING") {
		t.Errorf("%s", s)
	}
}
