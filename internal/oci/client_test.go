package oci_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// rig is a client of a server with one node.
func rig(t *testing.T, build ...func(*ocitest.World)) (*ocitest.Server, *oci.Client, ocitest.Node) {
	t.Helper()
	var n ocitest.Node
	s := ocitest.New(t, append([]func(*ocitest.World){func(w *ocitest.World) { n = w.AddNode("node-1") }}, build...)...)
	return s, s.Client(t), n
}

var door = oci.Rule{Description: "a door", Protocol: "6", Source: "198.51.100.7/32", SourceType: "CIDR_BLOCK", Ports: &oci.Ports{Min: 22, Max: 22}}

func TestReads(t *testing.T) {
	var second, volume string
	s, c, n := rig(t, func(w *ocitest.World) {
		n := ocitest.Node{Name: "node-1", InstanceID: w.Instances[0].ID, VNICID: w.VNICs[0].ID, SubnetID: w.Subnets[0].ID}
		second = w.AddVNIC(n, "storage")
		volume = w.AddVolume(n, "data", "iscsi", "/dev/oracleoci/oraclevdb")
		w.AddVolume(n, "scratch", "paravirtualized", "")
		w.AddVolume(n, "old", "emulated", "")
		w.ReservePublicIP(n, "203.0.113.200")
		w.AddRule(w.NSGs[0].ID, ocitest.Rule{Direction: "EGRESS", Protocol: "all", Destination: "0.0.0.0/0", DestinationType: "CIDR_BLOCK"})
		w.AddRule(w.NSGs[0].ID, ocitest.SSHFrom("198.51.100.7/32", "hers"))
	})
	w, ctx := s.World(), t.Context()
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in, group, list := w.Instances[0], w.NSGs[0], w.SecurityLists[0]
	get := func(v any, err error) any {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return v
	}
	instance := oci.Instance{ID: n.InstanceID, Name: "node-1", CompartmentID: w.Compartment(), Region: "eu-frankfurt-1", AvailabilityDomain: in.AvailabilityDomain, FaultDomain: "FAULT-DOMAIN-1", Shape: "VM.Standard.A1.Flex", State: "RUNNING", Created: created}
	attachment := oci.VNICAttachment{ID: w.VNICAttachments[0].ID, InstanceID: n.InstanceID, VNICID: n.VNICID, SubnetID: n.SubnetID, State: "ATTACHED"}
	attachment2 := oci.VNICAttachment{ID: w.VNICAttachments[1].ID, InstanceID: n.InstanceID, VNICID: second, SubnetID: n.SubnetID, State: "ATTACHED"}
	for name, test := range map[string]struct{ got, want any }{
		"Instance":        {get(c.Instance(ctx, n.InstanceID)), instance},
		"Instances":       {get(c.Instances(ctx, w.Compartment())), []oci.Instance{instance}},
		"no Instances":    {get(c.Instances(ctx, w.Tenancy)), []oci.Instance(nil)},
		"VNICAttachments": {get(c.VNICAttachments(ctx, w.Compartment(), n.InstanceID)), []oci.VNICAttachment{attachment, attachment2}},
		"all of them":     {get(c.VNICAttachments(ctx, w.Compartment(), "")), []oci.VNICAttachment{attachment, attachment2}},
		"VNIC":            {get(c.VNIC(ctx, n.VNICID)), oci.VNIC{ID: n.VNICID, PrivateIP: "10.0.0.10", PublicIP: "203.0.113.10", SubnetID: n.SubnetID, CompartmentID: w.Compartment(), State: "AVAILABLE", NSGs: []string{n.NSGID}, Primary: true}},
		"second VNIC":     {get(c.VNIC(ctx, second)), oci.VNIC{ID: second, PrivateIP: "10.0.0.101", SubnetID: n.SubnetID, CompartmentID: w.Compartment(), State: "AVAILABLE"}},
		"Subnet":          {get(c.Subnet(ctx, n.SubnetID)), oci.Subnet{ID: n.SubnetID, Name: "edge", CompartmentID: w.Compartment(), VCNID: group.VCNID, CIDR: "10.0.0.0/24", SecurityLists: []string{list.ID}}},
		"PrivateIPs": {get(c.PrivateIPs(ctx, n.SubnetID)), []oci.PrivateIP{
			{ID: w.PrivateIPs[0].ID, Address: "10.0.0.10", VNICID: n.VNICID, SubnetID: n.SubnetID, Primary: true},
			{ID: w.PrivateIPs[1].ID, Address: "10.0.0.101", VNICID: second, SubnetID: n.SubnetID, Primary: true},
		}},
		"ephemeral PublicIPs": {get(c.PublicIPs(ctx, w.Compartment(), in.AvailabilityDomain)), []oci.PublicIP{{ID: w.PublicIPs[0].ID, Address: "203.0.113.10", PrivateIPID: w.PrivateIPs[0].ID}}},
		"reserved PublicIPs":  {get(c.PublicIPs(ctx, w.Compartment(), "")), []oci.PublicIP{{ID: w.PublicIPs[1].ID, Address: "203.0.113.200", PrivateIPID: w.PrivateIPs[0].ID}}},
		"VolumeAttachments": {get(c.VolumeAttachments(ctx, w.Compartment(), n.InstanceID)), []oci.VolumeAttachment{
			{ID: w.VolumeAttachments[0].ID, InstanceID: n.InstanceID, VolumeID: volume, Type: "iscsi", Device: "/dev/oracleoci/oraclevdb", State: "ATTACHED", IQN: "iqn.2015-12.com.oracleiaas:data", IPv4: "169.254.2.2", Port: 3260},
			{ID: w.VolumeAttachments[1].ID, InstanceID: n.InstanceID, VolumeID: w.VolumeAttachments[1].VolumeID, Type: "paravirtualized", State: "ATTACHED"},
			{ID: w.VolumeAttachments[2].ID, InstanceID: n.InstanceID, VolumeID: w.VolumeAttachments[2].VolumeID, Type: "emulated", State: "ATTACHED"},
		}},
		"SecurityList": {get(c.SecurityList(ctx, list.ID)), oci.SecurityList{ID: list.ID, Name: list.DisplayName, Ingress: []oci.Rule{
			{Protocol: "1", Source: "0.0.0.0/0", SourceType: "CIDR_BLOCK"}, {Protocol: "6", Source: "10.0.0.0/16", SourceType: "CIDR_BLOCK"},
		}}},
		"NSG":          {get(c.NSG(ctx, n.NSGID)), oci.NSG{ID: n.NSGID, Name: "node-1-ssh", CompartmentID: w.Compartment(), VCNID: group.VCNID, State: "AVAILABLE"}},
		"NSGs":         {get(c.NSGs(ctx, w.Compartment())), []oci.NSG{{ID: n.NSGID, Name: "node-1-ssh", CompartmentID: w.Compartment(), VCNID: group.VCNID, State: "AVAILABLE"}}},
		"IngressRules": {get(c.IngressRules(ctx, n.NSGID)), []oci.Rule{{ID: group.Rules[1].ID, Description: "hers", Protocol: "6", Source: "198.51.100.7/32", SourceType: "CIDR_BLOCK", Ports: &oci.Ports{Min: 22, Max: 22}, Created: created}}},
		"RuleCount":    {get(c.RuleCount(ctx, n.NSGID)), 2},
		"Region":       {c.Region(), "eu-frankfurt-1"},
		"Calls":        {c.Calls(), len(s.Requests())},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAllPagesAreRead(t *testing.T) {
	s, c, n := rig(t, func(w *ocitest.World) {
		for i := range 4 {
			w.AddNode(string(rune('a' + i)))
		}
		for range 5 {
			w.AddRule(w.NSGs[0].ID, ocitest.SSHFrom("10.0.0.0/8", ""))
		}
	})
	s.PageSize(2)
	ctx, w := t.Context(), s.World()
	count := map[string]int{}
	note := func(name string, n int, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		count[name] = n
	}
	instances, err := c.Instances(ctx, w.Compartment())
	note("instances", len(instances), err)
	attachments, err := c.VNICAttachments(ctx, w.Compartment(), "")
	note("attachments", len(attachments), err)
	rules, err := c.IngressRules(ctx, n.NSGID)
	note("rules", len(rules), err)
	groups, err := c.NSGs(ctx, w.Compartment())
	note("groups", len(groups), err)
	all, err := c.RuleCount(ctx, n.NSGID)
	note("count", all, err)
	if diff := cmp.Diff(map[string]int{"instances": 5, "attachments": 5, "rules": 5, "groups": 5, "count": 5}, count); diff != "" {
		t.Error(diff)
	}
	s.Inject(ocitest.Fault{Kind: ocitest.RepeatPage, Times: -1})
	if _, err := c.IngressRules(ctx, n.NSGID); !verdict.Has(err, oci.ServerError) {
		t.Errorf("a list without an end: %v", err)
	}
	if got := len(s.Requests()); got > 25 {
		t.Errorf("%d requests for a list without an end", got)
	}
}

func TestReadsAreRepeated(t *testing.T) {
	for name, f := range map[string]ocitest.Fault{
		"throttled":       {Kind: ocitest.Throttle},
		"server error":    {Kind: ocitest.Fail, Status: 503, Code: "ServiceUnavailable"},
		"incorrect state": {Kind: ocitest.Fail, Status: 409, Code: "IncorrectState"},
		"lost request":    {Kind: ocitest.LoseRequest},
		"lost response":   {Kind: ocitest.LoseResponse},
		"cut response":    {Kind: ocitest.CutResponse},
		"somebody else's": {Kind: ocitest.Garble},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, n := rig(t)
			f.Times = 2
			s.Inject(f)
			if in, err := c.Instance(t.Context(), n.InstanceID); err != nil || in.ID != n.InstanceID {
				t.Errorf("%+v, %v", in, err)
			}
			f.Times = -1
			s.Inject(f)
			before := len(s.Requests())
			in, err := c.Instance(t.Context(), n.InstanceID)
			if err == nil || in.ID != "" && in.ID != n.InstanceID {
				t.Errorf("%+v, %v", in, err)
			}
			// net/http repeats a GET on a connection that was kept by itself.
			if got := len(s.Requests()) - before; got < 6 || got > 12 {
				t.Errorf("%d requests", got)
			}
			if verdict.ChecksOf(err)[0].Verdict == verdict.Proven {
				t.Error(err)
			}
		})
	}
}

func TestAClearNoIsNotRepeated(t *testing.T) {
	for status, id := range map[int]string{400: oci.Refused, 403: oci.Forbidden, 404: oci.MissingOrForbidden, 409: oci.Conflict, 412: oci.Conflict, 413: oci.Refused} {
		s, c, n := rig(t)
		s.Fail("", "", -1, status, "SomeCode")
		_, err := c.Instance(t.Context(), n.InstanceID)
		if !verdict.Has(err, id) || oci.Ambiguous(err) || len(s.Requests()) != 1 {
			t.Errorf("%d: %v, %d requests", status, err, len(s.Requests()))
		}
	}
}

func TestTheServersWaitIsBounded(t *testing.T) {
	s, c, n := rig(t)
	s.Inject(ocitest.Fault{Kind: ocitest.Throttle, Times: -1, RetryAfter: "3600"})
	if _, err := c.Instance(t.Context(), n.InstanceID); !verdict.Has(err, oci.Throttled) || len(s.Requests()) != 1 {
		t.Errorf("%v, %d requests", err, len(s.Requests()))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	s.Heal()
	s.Inject(ocitest.Fault{Kind: ocitest.Throttle, Times: -1, RetryAfter: "25"})
	if _, err := c.Instance(ctx, n.InstanceID); !verdict.Has(err, oci.Throttled) || ctx.Err() != nil {
		t.Errorf("%v: it waited beyond its own deadline", err)
	}
}

// what each failure of a change means, and that it is never sent twice.
func TestAddRuleIsOneAttempt(t *testing.T) {
	for name, test := range map[string]struct {
		fault     ocitest.Fault
		id        string
		ambiguous bool
		made      int
	}{
		"no fault":             {ocitest.Fault{}, "", false, 1},
		"throttled":            {ocitest.Fault{Kind: ocitest.Throttle}, oci.Throttled, false, 0},
		"lost request":         {ocitest.Fault{Kind: ocitest.LoseRequest}, oci.Unreachable, true, 0},
		"lost response":        {ocitest.Fault{Kind: ocitest.LoseResponse}, oci.Unreachable, true, 1},
		"cut response":         {ocitest.Fault{Kind: ocitest.CutResponse}, oci.Unreachable, true, 1},
		"somebody else's":      {ocitest.Fault{Kind: ocitest.Garble}, oci.Unreachable, true, 1},
		"server error":         {ocitest.Fault{Kind: ocitest.Fail, Status: 500, Code: "InternalServerError"}, oci.ServerError, true, 0},
		"server error, all in": {ocitest.Fault{Kind: ocitest.FailAfter, Status: 504, Code: "GatewayTimeout"}, oci.ServerError, true, 1},
		"bad request":          {ocitest.Fault{Kind: ocitest.Fail, Status: 400, Code: "InvalidParameter"}, oci.Refused, false, 0},
		"unauthorized":         {ocitest.Fault{Kind: ocitest.Fail, Status: 401, Code: "NotAuthenticated"}, oci.BadCredentials, false, 0},
		"forbidden":            {ocitest.Fault{Kind: ocitest.Fail, Status: 403, Code: "NotAllowed"}, oci.Forbidden, false, 0},
		"not found":            {ocitest.Fault{Kind: ocitest.Fail, Status: 404, Code: "NotAuthorizedOrNotFound"}, oci.MissingOrForbidden, false, 0},
		"incorrect state":      {ocitest.Fault{Kind: ocitest.Fail, Status: 409, Code: "IncorrectState"}, oci.Conflict, false, 0},
		"limit":                {ocitest.Fault{Kind: ocitest.Fail, Status: 400, Code: "LimitExceeded"}, oci.Limit, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, n := rig(t)
			test.fault.Times = -1
			s.Inject(test.fault)
			before := s.Now()
			r, err := c.AddRule(t.Context(), n.NSGID, door)
			if verdict.Reason(err) != test.id || oci.Ambiguous(err) != test.ambiguous {
				t.Errorf("%v, ambiguous %v", err, oci.Ambiguous(err))
			}
			if got := len(s.World().NSG(n.NSGID).Rules); got != test.made || len(s.Requests()) != 1 {
				t.Errorf("%d rules made by %d requests", got, len(s.Requests()))
			}
			if err != nil {
				if r != (oci.Rule{}) {
					t.Errorf("%+v beside an error", r)
				}
				return
			}
			want := door
			want.ID, want.Created = s.World().NSG(n.NSGID).Rules[0].ID, r.Created
			if diff := cmp.Diff(want, r); diff != "" || r.Created.Before(before.Add(-time.Second)) {
				t.Errorf("%s, created %s", diff, r.Created)
			}
		})
	}
	if oci.Ambiguous(nil) || oci.Ambiguous(errors.New("x")) {
		t.Error("ambiguous without a request")
	}
}

func TestAConnectionThatWasNeverMadeIsNoDoubt(t *testing.T) {
	s, c, n := rig(t)
	s.Close()
	if _, err := c.AddRule(t.Context(), n.NSGID, door); !verdict.Has(err, oci.Unreachable) || oci.Ambiguous(err) {
		t.Errorf("%v, ambiguous %v", err, oci.Ambiguous(err))
	}
	if _, err := c.Instance(t.Context(), n.InstanceID); !verdict.Has(err, oci.Unreachable) || verdict.ChecksOf(err)[0].Verdict != verdict.Unproven {
		t.Error(err)
	}
}

func TestDeadlines(t *testing.T) {
	s, _, n := rig(t)
	held := make(chan struct{})
	s.OnRequest(func(_ *http.Request, p ocitest.Phase) {
		if p == ocitest.Before {
			<-held
		}
	})
	t.Cleanup(func() { close(held) })
	// Long enough for the connection on a busy machine: without one there is no
	// doubt about what the cloud did.
	c := s.Client(t, func(o *oci.Options) { o.Timeout = 2 * time.Second })
	_, err := c.AddRule(t.Context(), n.NSGID, door)
	if !verdict.Has(err, oci.Unreachable) || !oci.Ambiguous(err) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one attempt: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the runner said so")
	c = s.Client(t)
	s.OnRequest(func(_ *http.Request, p ocitest.Phase) {
		if p == ocitest.Before {
			cancel(why)
			<-held
		}
	})
	if _, err := c.Instance(ctx, n.InstanceID); !verdict.Has(err, oci.Unreachable) || !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	before := c.Calls()
	if _, err := c.AddRule(ctx, n.NSGID, door); !errors.Is(err, why) || oci.Ambiguous(err) || c.Calls() != before {
		t.Errorf("a context that had ended: %v", err)
	}
}

func TestAnIdIsNoPath(t *testing.T) {
	s, c, n := rig(t)
	for _, id := range []string{"", "a/b", "../instances", "a?b", "a b", "%2e", ".."} {
		if _, err := c.Instance(t.Context(), id); !verdict.Has(err, oci.Refused) {
			t.Errorf("%q: %v", id, err)
		}
		if err := c.RemoveRules(t.Context(), n.NSGID, id); !verdict.Has(err, oci.Refused) {
			t.Errorf("rule %q: %v", id, err)
		}
	}
	if got := len(s.Requests()); got != 0 {
		t.Errorf("%d requests", got)
	}
}

func TestWhatAnErrorSays(t *testing.T) {
	s, c, n := rig(t)
	s.Inject(ocitest.Fault{Kind: ocitest.Fail, Times: 1, Status: 404, Code: "NotAuthorizedOrNotFound", Message: "evil\n::add-path::/x\x1b[2J" + strings.Repeat("x", 5000)})
	_, err := c.SecurityList(t.Context(), n.InstanceID)
	check := verdict.ChecksOf(err)[0]
	for _, want := range []string{"GetSecurityList", n.InstanceID, "404 NotAuthorizedOrNotFound", "opc-request-id", `evil\n::add-path`} {
		if !strings.Contains(check.Got, want) {
			t.Errorf("no %q in %s", want, check.Got)
		}
	}
	if !strings.Contains(check.Hint, "inspect security-lists") || !strings.Contains(check.Hint, "not exist") || check.Verdict != verdict.Unproven {
		t.Errorf("%+v", check)
	}
	if strings.ContainsAny(err.Error(), "\n\x1b") || len(err.Error()) > 2000 {
		t.Errorf("%q", err)
	}
}

func TestNoSecretIsShown(t *testing.T) {
	s, _, n := rig(t, func(w *ocitest.World) { w.AddVolume(ocitest.Node{InstanceID: w.Instances[0].ID}, "data", "iscsi", "") })
	var said []string
	c := s.Client(t, func(o *oci.Options) {
		o.Logf = func(f string, a ...any) { said = append(said, f) }
	})
	s.Throttle(2)
	if got, err := c.VolumeAttachments(t.Context(), s.World().Compartment(), n.InstanceID); err != nil || strings.Contains(cmp.Diff(got, nil), "chap") {
		t.Errorf("%+v, %v", got, err)
	}
	if len(said) != 2 {
		t.Errorf("told %q of 2 retries", said)
	}
	s.Fail("", "", -1, 401, "NotAuthenticated")
	_, err := c.Instance(t.Context(), n.InstanceID)
	key := strings.Split(string(s.Credentials().Key), "\n")[1]
	if !verdict.Has(err, oci.BadCredentials) || strings.Contains(err.Error(), key) || strings.Contains(err.Error(), "Signature") {
		t.Error(err)
	}
}

func TestPortsAreOfAProtocol(t *testing.T) {
	s, c, n := rig(t)
	for protocol, want := range map[string]string{"6": "", "17": "", "all": oci.Refused, "1": oci.Refused} {
		r := door
		r.Protocol = protocol
		got, err := c.AddRule(t.Context(), n.NSGID, r)
		if verdict.Reason(err) != want || want == "" && (got.Ports == nil || *got.Ports != *door.Ports) {
			t.Errorf("%s: %+v, %v", protocol, got, err)
		}
	}
	if got := len(s.Requests()); got != 2 {
		t.Errorf("%d requests", got)
	}
}

func TestWhatIsPrinted(t *testing.T) {
	o := oci.Options{Credentials: oci.Credentials{Auth: oci.APIKey, Key: []byte("key-text"), Passphrase: "pass-text"}}
	all := ""
	for _, form := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		all += fmt.Sprintf(form, o) + fmt.Sprintf(form, &o) + fmt.Sprintf(form, o.Credentials)
	}
	for _, secret := range []string{"key-text", "pass-text", fmt.Sprintf("%x", "key-text"), fmt.Sprint([]byte("key-text")), "a2V5LXRleHQ"} {
		if strings.Contains(all, secret) {
			t.Errorf("%q in %s", secret, all)
		}
	}
}

func TestSeveralAtOnce(t *testing.T) {
	s, c, n := rig(t)
	s.Throttle(5)
	s.Offset(time.Hour)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := c.AddRule(t.Context(), n.NSGID, door)
			for oci.Ambiguous(err) || verdict.Has(err, oci.Throttled) {
				r, err = c.AddRule(t.Context(), n.NSGID, door)
			}
			if err == nil {
				_, err = c.IngressRules(t.Context(), n.NSGID)
			}
			if err == nil {
				err = c.RemoveRules(t.Context(), n.NSGID, r.ID)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := s.World().NSG(n.NSGID).Rules; len(got) != 0 || c.Calls() != len(s.Requests()) {
		t.Errorf("left: %+v; %d calls, %d requests", got, c.Calls(), len(s.Requests()))
	}
}

func TestThe404IsNeverGone(t *testing.T) {
	s, c, n := rig(t, func(w *ocitest.World) { w.AddRule(w.NSGs[0].ID, ocitest.SSHFrom("0.0.0.0/0", "")) })
	id := s.World().NSG(n.NSGID).Rules[0].ID
	s.Forbid(n.NSGID)
	if rules, err := c.IngressRules(t.Context(), n.NSGID); !verdict.Has(err, oci.MissingOrForbidden) || rules != nil {
		t.Errorf("%v, %v", rules, err)
	}
	if err := c.RemoveRules(t.Context(), n.NSGID, id); !verdict.Has(err, oci.MissingOrForbidden) {
		t.Errorf("%v", err)
	}
	if v := s.World().NSG(n.NSGID).Rules; !slices.ContainsFunc(v, func(r ocitest.Rule) bool { return r.ID == id }) {
		t.Error("it was removed")
	}
}
