package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"edge-actions/internal/files"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Validation is what is to be proved of the nodes of a spec.
type Validation struct {
	Spec   *Spec
	Expect node.Expect
	Policy node.Policy
	// PublicAddress is an IP address whose PublicPort must be closed; "" takes
	// the handoff's.
	PublicAddress string
	PublicPort    int
	// KubeconfigPath is where the K3s admin kubeconfig is written, for one
	// node; "" is nowhere. KubeconfigServer is the host in it; "" is the
	// address by which the node was reached.
	KubeconfigPath, KubeconfigServer string
	Log                              Log
}

// Validated is what was proved of one node; the output "nodes" is a list of
// them.
type Validated struct {
	Name       string          `json:"name"`
	Verdict    verdict.Verdict `json:"verdict"`
	Address    string          `json:"address,omitempty"`
	SystemPath string          `json:"system_path,omitempty"`
	Generation int             `json:"generation,omitempty"`
	BootID     string          `json:"boot_id,omitempty"`

	Checks []verdict.Check `json:"-"`
	// Kubeconfig is true if it was written.
	Kubeconfig bool `json:"-"`
}

// Validate looks at all nodes at once, one connection each.
func (v *Validation) Validate(ctx context.Context) ([]*Validated, []verdict.Check) {
	status, checks := v.Spec.tailnetStatus(ctx)
	out := make([]*Validated, len(v.Spec.Nodes))
	for i, name := range v.Spec.Nodes {
		out[i] = &Validated{Name: name, Verdict: verdict.Unproven}
	}
	if v.Spec.Tailnet != nil && verdict.Of(checks) != verdict.Proven {
		return out, checks
	}
	each(out, v.Spec.Parallel, func(r *Validated) {
		m, wrong := v.Spec.member(r.Name, "", "", 0, status)
		if m == nil {
			r.Checks = wrong
		} else {
			v.validate(ctx, m, r)
		}
		r.Verdict = verdict.Of(r.Checks)
		v.Log.Logf("%s: %s", r.Name, outcome(string(r.Verdict), r.Checks))
	})
	return out, checks
}

func (v *Validation) validate(ctx context.Context, m *Member, r *Validated) {
	outside := v.fromOutside(ctx, m) // goes on beside the probe
	policy := v.policyOf(m)
	c, err := m.dial(ctx)
	if err != nil {
		// The login as root failed for the same reason: one line is enough.
		others := slices.DeleteFunc(outside(), func(c verdict.Check) bool { return c.ID == node.RootRefused && c.Verdict == verdict.Unproven })
		r.Checks = policy.waive(append(verdict.ChecksOf(err), others...))
		return
	}
	defer c.Close()
	r.Address = c.RemoteAddr().String()
	r.Checks = policy.waive(m.connected(c))
	expect := m.expect(v.Expect)
	f, err := node.Collect(ctx, c, policy.Groups(), expect, probeTimeout)
	if err != nil {
		// Nothing was seen on the node, and that is one line in the report, not
		// one for every check that was not made.
		r.Checks = append(r.Checks, policy.waive(append(verdict.ChecksOf(err), outside()...))...)
		return
	}
	r.SystemPath, _ = f.Current.Get() // the checks say what could not be read
	r.Generation, _ = f.Generation.Get()
	r.BootID, _ = f.BootID.Get()
	judged := append(node.Judge(f, expect), outside()...)
	r.Checks = append(r.Checks, policy.waive(extra(judged))...)
	r.Checks = append(r.Checks, policy.Apply(judged)...)
	if v.KubeconfigPath != "" {
		r.Checks = append(r.Checks, v.kubeconfig(ctx, c, m, r))
	}
}

// fromOutside begins the proofs that need the runner and returns how to wait
// for them.
func (v *Validation) fromOutside(ctx context.Context, m *Member) func() []verdict.Check {
	var mu sync.Mutex
	var all sync.WaitGroup
	var checks []verdict.Check
	begin := func(do func() []verdict.Check) {
		all.Go(func() {
			found := do()
			mu.Lock()
			checks = append(checks, found...)
			mu.Unlock()
		})
	}
	if slices.Contains(v.Policy.Set, node.RootRefused) || slices.Contains(v.Policy.Require, node.RootRefused) {
		begin(func() []verdict.Check {
			return []verdict.Check{node.RootLoginRefused(ctx, m.Target, m.options())}
		})
	}
	if address := v.public(m); address != "" {
		begin(func() []verdict.Check { return []verdict.Check{node.PortClosed(ctx, address, 5*time.Second)} })
	}
	begin(func() []verdict.Check { return m.ping(ctx) })
	return func() []verdict.Check {
		all.Wait()
		return checks
	}
}

// public is the address and port that must be closed, or "".
func (v *Validation) public(m *Member) string {
	ip := v.PublicAddress
	if ip == "" && m.Facts != nil {
		ip = m.Facts.PublicIP
	}
	if ip == "" {
		return ""
	}
	return net.JoinHostPort(ip, fmt.Sprint(v.PublicPort))
}

// nodePolicy is a policy for one node, which knows the checks of the way too.
type nodePolicy struct{ node.Policy }

func (v *Validation) policyOf(m *Member) nodePolicy {
	p := v.Policy
	if v.public(m) != "" {
		p.Require = append(slices.Clone(p.Require), node.SSHClosed)
	}
	return nodePolicy{p}
}

// waive marks the checks that are not the node's own.
func (p nodePolicy) waive(checks []verdict.Check) []verdict.Check {
	for i := range checks {
		if slices.Contains(p.Waive, checks[i].ID) {
			checks[i].Waived = cmp.Or(p.WaivedBy, "waive")
		}
	}
	return checks
}

// outcome is a word with the checks that it comes from: who reads the log while
// other nodes are still being looked at wants to know which they are.
func outcome(word string, checks []verdict.Check) string {
	if wrong := deciding(checks); len(wrong) > 0 {
		return word + ", for " + strings.Join(wrong, ", ")
	}
	return word
}

// deciding are the ids of the checks that keep others from being proven.
func deciding(checks []verdict.Check) []string {
	var ids []string
	for _, c := range checks {
		if c.Verdict != verdict.Proven && c.Waived == "" && !slices.Contains(ids, c.ID) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// extra are the checks that no node's policy knows: those of the way.
func extra(checks []verdict.Check) []verdict.Check {
	known := append(node.KnownIDs(), tailnet.State, tailnet.Online, tailnet.Key, tailnet.Health)
	return slices.DeleteFunc(slices.Clone(checks), func(c verdict.Check) bool { return slices.Contains(known, c.ID) })
}

// kubeconfig writes the operator's kubeconfig, whole, or leaves what is there.
func (v *Validation) kubeconfig(ctx context.Context, c *sshx.Conn, m *Member, r *Validated) verdict.Check {
	const id, from = "kubeconfig", "/etc/rancher/k3s/k3s.yaml"
	wanted := "the node's kubeconfig in " + v.KubeconfigPath
	unproven := func(err error) verdict.Check {
		return verdict.CannotTell(id, wanted, err, "the file is as it was; see "+from+" on the node").Check
	}
	if !slices.ContainsFunc(r.Checks, func(c verdict.Check) bool { return c.ID == node.HostIdentity && c.Verdict == verdict.Proven }) {
		return unproven(errors.New("it is not proven which machine this is"))
	}
	raw, err := c.Output(ctx, sshx.Cmd{Name: "reading the kubeconfig", Root: true, Args: []string{"cat", "--", from}, Timeout: time.Minute}, 1<<20)
	if err != nil {
		return unproven(err)
	}
	defer clear(raw)
	server := v.KubeconfigServer
	if server == "" {
		server = m.Target.Host
	}
	config, err := node.Kubeconfig(raw, server)
	if err != nil {
		check := verdict.ChecksOf(err)[0]
		check.Hint = "the file is as it was; " + check.Hint
		return check
	}
	if err := files.Write(v.KubeconfigPath, config); err != nil {
		return unproven(err)
	}
	r.Kubeconfig = true
	return verdict.Check{ID: id, Verdict: verdict.Proven, Wanted: wanted, Got: "written, for the server " + server}
}
