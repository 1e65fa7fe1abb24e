package ocitest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edge-actions/internal/oci"
)

// ask sends a signed request and returns the status, the code, and the body.
func ask(t *testing.T, s *Server, method, target, body string) (int, string, string) {
	t.Helper()
	status, code, resp := send(t, signed(t, s, method, target, body, s.Now()))
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return status, code, string(data)
}

func rules(n int, change func(i int, r map[string]any)) string {
	var all []map[string]any
	for i := range n {
		r := map[string]any{"direction": "INGRESS", "protocol": "6", "source": "198.51.100.7/32", "sourceType": "CIDR_BLOCK", "description": fmt.Sprint(i)}
		if change != nil {
			change(i, r)
		}
		all = append(all, r)
	}
	data, _ := json.Marshal(map[string]any{"securityRules": all})
	return string(data)
}

func TestLimits(t *testing.T) {
	s := New(t, func(w *World) {
		w.AddNode("node-1")
		for range 100 {
			w.AddRule(w.NSGs[0].ID, Rule{Direction: "EGRESS", Protocol: "all", Destination: "0.0.0.0/0"})
		}
	})
	group := "/20160918/networkSecurityGroups/" + s.world.NSGs[0].ID
	set := func(key string, v any) func(int, map[string]any) {
		return func(_ int, r map[string]any) { r[key] = v }
	}
	for _, test := range []struct {
		name, path, body string
		status           int
		code             string
		rules            int
	}{
		{"none", "addSecurityRules", rules(0, nil), 400, "InvalidParameter", 100},
		{"26", "addSecurityRules", rules(26, nil), 400, "InvalidParameter", 100},
		{"21, over 120", "addSecurityRules", rules(21, nil), 400, "LimitExceeded", 100},
		{"a long description", "addSecurityRules", rules(1, set("description", strings.Repeat("x", 256))), 400, "InvalidParameter", 100},
		{"no direction", "addSecurityRules", rules(1, set("direction", "")), 400, "InvalidParameter", 100},
		{"no protocol", "addSecurityRules", rules(1, set("protocol", "tcp")), 400, "InvalidParameter", 100},
		{"no CIDR", "addSecurityRules", rules(1, set("source", "198.51.100.7")), 400, "InvalidParameter", 100},
		{"host bits", "addSecurityRules", rules(1, set("source", "198.51.100.7/24")), 400, "InvalidParameter", 100},
		{"no group", "addSecurityRules", rules(1, set("sourceType", "NETWORK_SECURITY_GROUP")), 400, "InvalidParameter", 100},
		{"UDP's ports", "addSecurityRules", rules(1, set("udpOptions", map[string]any{})), 400, "InvalidParameter", 100},
		{"ports the wrong way", "addSecurityRules", rules(1, set("tcpOptions", Options{DestinationPortRange: &Range{23, 22}})), 400, "InvalidParameter", 100},
		{"an id of one's own", "addSecurityRules", rules(1, set("id", "ABCDEF")), 400, "InvalidParameter", 100},
		{"an unknown field", "addSecurityRules", rules(1, set("ports", 22)), 400, "CannotParseRequest", 100},
		{"no JSON", "addSecurityRules", "{", 400, "CannotParseRequest", 100},
		{"one bad of two", "addSecurityRules", rules(2, func(i int, r map[string]any) {
			if i == 1 {
				r["protocol"] = ""
			}
		}), 400, "InvalidParameter", 100},
		{"a long description that fits", "addSecurityRules", rules(1, set("description", strings.Repeat("é", 255))), 200, "", 101},
		{"19, to 120", "addSecurityRules", rules(19, nil), 200, "", 120},
		{"the 121st", "addSecurityRules", rules(1, nil), 400, "LimitExceeded", 120},
		{"remove none", "removeSecurityRules", `{"securityRuleIds":[]}`, 400, "InvalidParameter", 120},
		{"remove what is not there", "removeSecurityRules", fmt.Sprintf(`{"securityRuleIds":["%s","FFFFFFF"]}`, s.world.NSGs[0].Rules[0].ID), 400, "InvalidParameter", 120},
		{"remove one", "removeSecurityRules", fmt.Sprintf(`{"securityRuleIds":["%s"]}`, s.world.NSGs[0].Rules[0].ID), 200, "", 119},
	} {
		status, code, _ := ask(t, s, "POST", group+"/actions/"+test.path, test.body)
		if got := len(s.World().NSGs[0].Rules); status != test.status || code != test.code || got != test.rules {
			t.Errorf("%s: %d %s, %d rules", test.name, status, code, got)
		}
	}
	w := Standard()
	n := w.AddNode("node-1")
	w.AddVNIC(n, "second", "a", "b", "c", "d", "e", "f")
	if _, err := Start(w); err == nil {
		t.Error("six groups on one interface")
	}
}

func TestWhatIsHiddenIsMissing(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1"); w.AddNode("node-2") })
	w := s.World()
	s.Forbid(w.Instances[0].ID)
	_, _, hidden := ask(t, s, "GET", "/20160918/instances/"+w.Instances[0].ID, "")
	status, code, missing := ask(t, s, "GET", "/20160918/instances/ocid1.instance.none", "")
	if status != 404 || code != "NotAuthorizedOrNotFound" || hidden != missing {
		t.Errorf("%d %s: %s, %s", status, code, hidden, missing)
	}
	for path, want := range map[string]int{
		"instances?compartmentId=" + w.Compartment(): 200,
		"instances":                     400,
		"instances?compartmentId=other": 404,
		"vnicAttachments?compartmentId=" + w.Compartment() + "&instanceId=x":     404,
		"publicIps?compartmentId=" + w.Compartment() + "&scope=REGION":           200,
		"publicIps?compartmentId=" + w.Compartment():                             400,
		"privateIps?subnetId=x":                                                  404,
		"nothing/x":                                                              404,
		"instances?compartmentId=" + w.Compartment() + "&page=nonsense":          400,
		"networkSecurityGroups/x/securityRules":                                  404,
		"networkSecurityGroups/" + w.NSGs[0].ID + "/nothing":                     404,
		"networkSecurityGroups/" + w.NSGs[0].ID + "/securityRules?direction=NON": 200,
	} {
		if got, _, body := ask(t, s, "GET", "/20160918/"+path, ""); got != want {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	_, _, list := ask(t, s, "GET", "/20160918/instances?compartmentId="+w.Compartment(), "")
	if strings.Contains(list, w.Instances[0].ID) || !strings.Contains(list, w.Instances[1].ID) || list[0] != '[' {
		t.Errorf("%s", list)
	}
	if _, _, body := ask(t, s, "GET", "/20160918/volumeAttachments?compartmentId="+w.Compartment(), ""); body != "[]" {
		t.Errorf("a list of nothing: %q", body)
	}
}

func TestEventual(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1"); w.AddRule(w.NSGs[0].ID, SSHFrom("10.0.0.0/8", "old")) })
	s.Eventual(3)
	c, group := s.Client(t), s.world.NSGs[0].ID
	listed := func(n int) (out []string) {
		for range n {
			all, err := c.IngressRules(t.Context(), group)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, r := range all {
				names = append(names, r.Description)
			}
			out = append(out, strings.Join(names, "+"))
		}
		return out
	}
	add := func(name string) oci.Rule {
		r, err := c.AddRule(t.Context(), group, oci.Rule{Description: name, Protocol: "6", Source: "198.51.100.7/32"})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := add("new")
	if diff := cmp.Diff([]string{"old", "old", "old+new", "old+new"}, listed(4)); diff != "" {
		t.Error(diff)
	}
	if err := c.RemoveRules(t.Context(), group, r.ID); err != nil {
		t.Error(err)
	}
	if s.Allowed(s.world.VNICs[0].ID, netip.MustParseAddr("198.51.100.7"), 22) {
		t.Error("traffic goes by the list")
	}
	if diff := cmp.Diff([]string{"old+new", "old+new", "old"}, listed(3)); diff != "" {
		t.Error(diff)
	}
	r = add("short")
	if err := c.RemoveRules(t.Context(), group, r.ID); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"old", "old", "old"}, listed(3)); diff != "" {
		t.Error(diff)
	}
}

func TestFaultsMatch(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1") })
	get := "/20160918/instances/" + s.world.Instances[0].ID
	vnic := "/20160918/vnics/" + s.world.VNICs[0].ID
	s.Inject(Fault{Kind: Fail, Method: "GET", Path: "/instances/", Skip: 1, Times: 2, Status: 503, Code: "X", RetryAfter: "7"})
	var got []int
	for _, path := range []string{get, vnic, get, vnic, get, get} {
		status, _, _ := ask(t, s, "GET", path, "")
		got = append(got, status)
	}
	if diff := cmp.Diff([]int{200, 200, 503, 200, 503, 200}, got); diff != "" {
		t.Error(diff)
	}
	s.Throttle(1)
	s.Inject(Fault{Kind: Fail, Times: -1, Status: 500, RetryAfter: "7"})
	if status, code, _ := ask(t, s, "GET", get, ""); status != 429 || code != "TooManyRequests" {
		t.Errorf("%d %s", status, code)
	}
	status, _, resp := send(t, signed(t, s, "GET", get, "", s.Now()))
	if status != 500 || resp.Header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", status, resp.Header)
	}
	s.Heal()
	if status, _, _ := ask(t, s, "GET", get, ""); status != 200 {
		t.Errorf("healed: %d", status)
	}
	log := s.Requests()
	if last := log[len(log)-1]; last.Status != 200 || last.Path != get || last.Method != "GET" || log[2].Fault != Fail || log[2].Status != 503 {
		t.Errorf("%+v", log)
	}
}

func TestPhases(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1") })
	group := s.world.NSGs[0].ID
	var seen []string
	done := make(chan struct{}, 8)
	s.OnRequest(func(r *http.Request, p Phase) {
		seen = append(seen, fmt.Sprint(p, len(s.World().NSG(group).Rules)))
		if p == Answered {
			done <- struct{}{}
		}
	})
	c := s.Client(t)
	if _, err := c.AddRule(t.Context(), group, oci.Rule{Protocol: "6", Source: "198.51.100.7/32"}); err != nil {
		t.Fatal(err)
	}
	<-done
	if diff := cmp.Diff([]string{"before0", "after1", "answered1"}, seen); diff != "" {
		t.Error(diff)
	}
	seen = nil
	s.LoseRequest("POST", "", 1)
	s.LoseResponse("POST", "", 1)
	for range 2 {
		if _, err := c.AddRule(t.Context(), group, oci.Rule{Protocol: "6", Source: "198.51.100.7/32"}); !oci.Ambiguous(err) {
			t.Errorf("%v", err)
		}
	}
	<-done
	if diff := cmp.Diff([]string{"before1", "after2", "answered2"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestAllowed(t *testing.T) {
	var n, other Node
	var second string
	s := New(t, func(w *World) {
		n, other = w.AddNode("node-1"), w.AddNode("node-2")
		second = w.AddVNIC(n, "second")
	})
	stranger := netip.MustParseAddr("198.51.100.7")
	set := func(r Rule) { s.Change(func(w *World) { w.nsg(n.NSGID).Rules = nil; w.AddRule(n.NSGID, r) }) }
	port := func(min, max int) *Options { return &Options{DestinationPortRange: &Range{min, max}} }
	for name, test := range map[string]struct {
		rule   Rule
		source netip.Addr
		want   bool
	}{
		"the address":       {SSHFrom("198.51.100.7/32", ""), stranger, true},
		"its network":       {SSHFrom("198.51.100.0/24", ""), stranger, true},
		"anywhere":          {SSHFrom("0.0.0.0/0", ""), stranger, true},
		"another address":   {SSHFrom("198.51.100.8/32", ""), stranger, false},
		"all of IPv6":       {SSHFrom("::/0", ""), stranger, false},
		"IPv6":              {SSHFrom("::/0", ""), netip.MustParseAddr("2001:db8::1"), true},
		"mapped":            {SSHFrom("198.51.100.0/24", ""), netip.MustParseAddr("::ffff:198.51.100.7"), true},
		"all protocols":     {Rule{Protocol: "all", Source: "0.0.0.0/0"}, stranger, true},
		"TCP, all ports":    {Rule{Protocol: "6", Source: "0.0.0.0/0"}, stranger, true},
		"a source port":     {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: &Options{SourcePortRange: &Range{1, 2}}}, stranger, true},
		"a range around it": {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: port(20, 30)}, stranger, true},
		"its lower end":     {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: port(22, 30)}, stranger, true},
		"its upper end":     {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: port(1, 22)}, stranger, true},
		"above":             {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: port(23, 30)}, stranger, false},
		"below":             {Rule{Protocol: "6", Source: "0.0.0.0/0", TCPOptions: port(1, 21)}, stranger, false},
		"UDP":               {Rule{Protocol: "17", Source: "0.0.0.0/0"}, stranger, false},
		"egress":            {Rule{Direction: "EGRESS", Protocol: "all", Destination: "0.0.0.0/0", Source: "0.0.0.0/0"}, stranger, false},
		"a service":         {Rule{Protocol: "all", Source: "all-fra-services", SourceType: "SERVICE_CIDR_BLOCK"}, stranger, false},
		"a group's member":  {Rule{Protocol: "all", Source: other.NSGID, SourceType: "NETWORK_SECURITY_GROUP"}, netip.MustParseAddr(other.PrivateIP), true},
		"nobody of a group": {Rule{Protocol: "all", Source: other.NSGID, SourceType: "NETWORK_SECURITY_GROUP"}, stranger, false},
	} {
		set(test.rule)
		if got := s.Allowed(n.VNICID, test.source, 22); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
		if s.Allowed(second, stranger, 22) || s.Allowed(other.VNICID, stranger, 22) || s.Allowed("x", stranger, 22) {
			t.Errorf("%s: another interface is open", name)
		}
	}
	s.Change(func(w *World) { w.OpenDefaultList() })
	if !s.Allowed(second, stranger, 22) || s.Allowed(second, stranger, 23) {
		t.Error("a list of the subnet holds for all interfaces")
	}
}

func TestOnChange(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1") })
	group, vnic, source := s.world.NSGs[0].ID, s.world.VNICs[0].ID, netip.MustParseAddr("198.51.100.7")
	var told []bool
	s.OnChange(func(now Snapshot) { told = append(told, now.Allowed(vnic, source, 22)) })
	c := s.Client(t)
	r, err := c.AddRule(t.Context(), group, oci.Rule{Protocol: "6", Source: "198.51.100.7/32"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.IngressRules(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	if err := c.RemoveRules(t.Context(), group, r.ID); err != nil {
		t.Fatal(err)
	}
	s.Change(func(w *World) { w.OpenDefaultList() })
	s.Change(func(w *World) { w.AddNSG("nobody's", "", SSHFrom("0.0.0.0/0", "")) })
	if diff := cmp.Diff([]bool{false, true, false, true}, told); diff != "" {
		t.Error(diff)
	}
}

func TestAWorldFile(t *testing.T) {
	s := New(t, func(w *World) {
		n := w.AddNode("node-1")
		w.AddVolume(n, "data", "iscsi", "")
		w.AddRule(n.NSGID, SSHFrom("0.0.0.0/0", "hers"))
	})
	path := filepath.Join(t.TempDir(), "world.json")
	if err := s.Persist(path); err != nil {
		t.Fatal(err)
	}
	c := s.Client(t)
	if _, err := c.AddRule(t.Context(), s.world.NSGs[0].ID, oci.Rule{Protocol: "6", Source: "198.51.100.7/32"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSession(t.Context(), s.world.Bastions[0].ID, "10.0.0.10", 22, "ssh-ed25519 AAAA", "", time.Hour); err != nil {
		t.Fatal(err)
	}
	again, err := ReadWorld(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.World(), again); diff != "" || len(again.NSGs[0].Rules) != 2 || len(again.Sessions) != 1 {
		t.Error(diff)
	}
	if _, err := ReadWorld(path + "x"); !Missing(err) {
		t.Errorf("%v", err)
	}
	// A world that can't be kept is no answer.
	s.mu.Lock()
	s.path = filepath.Join(t.TempDir(), "none", "world.json")
	s.mu.Unlock()
	if _, err := c.AddRule(t.Context(), s.world.NSGs[0].ID, oci.Rule{Protocol: "6", Source: "198.51.100.7/32"}); !oci.Ambiguous(err) {
		t.Errorf("%v", err)
	}
}

func TestRetryTokens(t *testing.T) {
	s := New(t)
	body := fmt.Sprintf(`{"bastionId":"%s","targetResourceDetails":{"sessionType":"PORT_FORWARDING","targetResourcePrivateIpAddress":"10.0.0.10","targetResourcePort":22},"keyDetails":{"publicKeyContent":"ssh-ed25519 AAAA"},"keyType":"PUB","sessionTtlInSeconds":1800}`, s.world.Bastions[0].ID)
	for _, token := range []string{"a", "a", "b", "", ""} {
		r := signed(t, s, "POST", "/20210331/sessions", body, s.Now())
		r.Header.Set("opc-retry-token", token)
		if status, code, _ := send(t, r); status != 200 {
			t.Errorf("%d %s", status, code)
		}
	}
	if got := len(s.World().Sessions); got != 4 {
		t.Errorf("%d sessions", got)
	}
	for from, to := range map[string]string{"PORT_FORWARDING": "MANAGED_SSH", "10.0.0.10": "host", "ssh-ed25519": "rsa", "1800": "1799", "bastion.": "bastion.x"} {
		if status, _, _ := ask(t, s, "POST", "/20210331/sessions", strings.Replace(body, from, to, 1)); status/100 != 4 {
			t.Errorf("%s for %s: %d", to, from, status)
		}
	}
}

func TestOnlyLoopback(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "10.0.0.1:0", "example.com:0", "127.0.0.1"} {
		if s, err := StartAt(Standard(), addr); err == nil {
			s.Close()
			t.Errorf("serving on %q", addr)
		}
	}
	wrong := errors.New("wrong")
	if _, err := StartAt(Standard(), "127.0.0.1:0", func(*Server) error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("%v", err)
	}
	if !slices.Contains(oci.Auths(), oci.APIKey) {
		t.Error("no key")
	}
}
