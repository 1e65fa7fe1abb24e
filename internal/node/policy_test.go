package node

import (
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestPolicy(t *testing.T) {
	f, e := good(t)
	checks := Judge(f, e)
	ids := func(checks []verdict.Check) (out []string) {
		for _, c := range checks {
			out = append(out, c.ID)
		}
		return out
	}
	if diff := cmp.Diff(Running(), ids(Policy{Set: Running()}.Apply(checks))); diff != "" {
		t.Error(diff)
	}
	// What is on after a reboot and not before it.
	more := slices.DeleteFunc(AfterReboot(), func(id string) bool { return slices.Contains(Running(), id) })
	if diff := cmp.Diff([]string{BootID, BootedSystem, Kernel}, more); diff != "" {
		t.Error(diff)
	}
	p := Policy{Set: []string{Units}, Require: []string{Generation, RootRefused, Units}, Waive: []string{Units, Ports}, WaivedBy: "allow"}
	got := p.Apply(checks)
	if diff := cmp.Diff([]string{Generation, Units, RootRefused}, ids(got)); diff != "" {
		t.Error(diff)
	}
	if got[0].Waived != "" || got[1].Waived != "allow" || got[2].Verdict != verdict.Unproven || !strings.Contains(got[2].Got, "not made") {
		t.Errorf("%+v", got)
	}
	if verdict.Of(got) != verdict.Unproven {
		t.Error("a required check that nobody made is no obstacle")
	}
	if c := (Policy{Set: []string{Units}, Waive: []string{Units}}).Apply(checks); c[0].Waived == "" || verdict.Of(c) != verdict.Unproven {
		t.Errorf("%+v", c)
	}
	if got := (Policy{}).Apply(checks); len(got) != 0 || verdict.Of(got) != verdict.Unproven {
		t.Errorf("%+v", got)
	}
	// An answer is taken as it is.
	edit(&f.Ports, func(m *map[int]bool) { (*m)[6443] = false })
	if got := (Policy{Set: Running()}).Apply(Judge(f, e)); verdict.Of(got) != verdict.Disproven {
		t.Errorf("%+v", got)
	}
}

func TestUnknownIDs(t *testing.T) {
	if err := (Policy{Set: AfterReboot(), Require: KnownIDs(), Waive: KnownIDs()}).Validate(); err != nil {
		t.Error(err)
	}
	err := Policy{Set: []string{"a"}, Require: []string{"k3s_node\n"}, Waive: []string{"", Ports}}.Validate()
	if got := verdict.ChecksOf(err); len(got) != 3 || got[1].Got != `"k3s_node"` || !strings.Contains(got[2].Hint, "public-ssh-closed") {
		t.Errorf("%+v", got)
	}
}

func TestGroups(t *testing.T) {
	if diff := cmp.Diff([]string{"system", "systemd"}, Policy{Set: []string{System}, Require: []string{FailedUnits, RootRefused}}.Groups()); diff != "" {
		t.Error(diff)
	}
	// What a policy asks the probe for is enough to prove all of its checks.
	r := newRig(t)
	for _, p := range []Policy{{Set: Running()}, {Set: AfterReboot(), Require: r.expect().Asked()}, {Set: []string{K3sContainers}}, {Set: []string{LoaderDefault}}, {Set: []string{"tailnet-key"}}} {
		f, err := Parse(r.document("dash", p.Groups(), r.expect()))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Apply(Judge(f, r.expect())) {
			if c.Verdict != verdict.Proven && c.ID != AgeKey {
				t.Errorf("%q: %+v", p.Groups(), c)
			}
		}
	}
	for _, group := range strings.Fields("host system loader space systemd tailscale k3s ports secrets sshd oci") {
		if !slices.Contains(Policy{Set: KnownIDs()}.Groups(), group) {
			t.Errorf("no check needs %s", group)
		}
	}
}

func TestAsked(t *testing.T) {
	_, e := good(t)
	if diff := cmp.Diff([]string{BootID, Clock, Generation}, e.Asked()); diff != "" {
		t.Error(diff)
	}
	if got := (Expect{}).Asked(); len(got) != 0 {
		t.Errorf("%q", got)
	}
}
