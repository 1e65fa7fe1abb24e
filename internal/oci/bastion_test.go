package oci_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

const publicKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKNobodysKeyAtAllNobodysKeyAtAll0000000000 door"

func TestBastion(t *testing.T) {
	s, c, n := rig(t)
	ctx, b := t.Context(), s.World().Bastions[0].ID
	made, err := c.CreateSession(ctx, b, n.PrivateIP, 22, publicKey, "lease", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	want := oci.Session{
		ID: made.ID, Name: "lease", State: "CREATING", Username: made.ID, Expires: s.World().Sessions[0].TimeCreated.Add(time.Hour),
		SSHHost: "host.bastion.eu-frankfurt-1.oci.oraclecloud.com", HostKey: made.HostKey, TargetIP: n.PrivateIP, TargetPort: 22,
	}
	if diff := cmp.Diff(want, made); diff != "" || made.HostKey == "" {
		t.Error(diff)
	}
	for _, state := range []string{"CREATING", "ACTIVE"} {
		if got, err := c.Session(ctx, made.ID); err != nil || got.State != state {
			t.Errorf("%+v, %v, want %s", got, err, state)
		}
	}
	want.State, want.HostKey = "ACTIVE", ""
	if got, err := c.Sessions(ctx, b); err != nil || cmp.Diff([]oci.Session{want}, got) != "" {
		t.Errorf("%v, %s", err, cmp.Diff([]oci.Session{want}, got))
	}
	for range 2 { // the second finds it gone, and shown as such
		if err := c.DeleteSession(ctx, made.ID); err != nil {
			t.Error(err)
		}
	}
	if err := c.DeleteSession(ctx, made.ID+"x"); !verdict.Has(err, oci.MissingOrForbidden) {
		t.Errorf("a session that nobody knows: %v", err)
	}
}

func TestTheServerEndsASession(t *testing.T) {
	s, c, n := rig(t)
	made, err := c.CreateSession(t.Context(), s.World().Bastions[0].ID, n.PrivateIP, 22, publicKey, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	s.Offset(time.Hour + time.Minute)
	if got, err := c.Session(t.Context(), made.ID); err != nil || got.State != "DELETED" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, ttl := range []time.Duration{time.Minute, 4 * time.Hour} {
		if _, err := c.CreateSession(t.Context(), s.World().Bastions[0].ID, n.PrivateIP, 22, publicKey, "", ttl); !verdict.Has(err, oci.Refused) || oci.Ambiguous(err) {
			t.Errorf("%s: %v", ttl, err)
		}
	}
}

func TestCreateSessionIsOneAttempt(t *testing.T) {
	s, c, n := rig(t)
	s.LoseResponse("POST", "/sessions", -1)
	_, err := c.CreateSession(t.Context(), s.World().Bastions[0].ID, n.PrivateIP, 22, publicKey, "", time.Hour)
	if !oci.Ambiguous(err) || len(s.Requests()) != 1 || len(s.World().Sessions) != 1 {
		t.Errorf("%v, %+v", err, s.Requests())
	}
	// The clock's repeat has the same token, so it makes no second one.
	s, c, n = rig(t)
	s.Offset(time.Hour)
	s.Inject(ocitest.Fault{Kind: ocitest.FailAfter, Times: 1, Skip: 1, Status: 401})
	if _, err := c.CreateSession(t.Context(), s.World().Bastions[0].ID, n.PrivateIP, 22, publicKey, "", time.Hour); !verdict.Has(err, oci.BadCredentials) || len(s.World().Sessions) != 1 {
		t.Errorf("%v, %d sessions", err, len(s.World().Sessions))
	}
}
