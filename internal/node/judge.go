package node

import (
	"errors"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"
)

// Expect is what a node is held against. What is empty is not known, and the
// checks that need it are unproven.
type Expect struct {
	// Hostname, MachineID and InstanceID say which machine is meant. One is
	// enough; all that are given must hold.
	Hostname, MachineID, InstanceID string
	// BootIDBefore is the boot id from before the reboot.
	BootIDBefore string
	// System is the store path that must be active, and Generation its number
	// in the profile.
	System     string
	Generation int
	// FailedBefore are the units that are known to fail.
	FailedBefore []string
	// Units must be active.
	Units []string
	// KeyMargin is how much longer the node's tailnet key must be valid.
	KeyMargin time.Duration
	// Deployments are "namespace/name". Those that own one of Containers are
	// judged too.
	Deployments []string
	// Containers must run in a pod on this node.
	Containers []string
	// Ports must answer on the address by which the node was reached.
	Ports []int
	// Secrets are paths under /run/secrets that must be there.
	Secrets []string
	// AgeKeyFile is where sops-nix finds its key.
	AgeKeyFile string
	// MinBootFree and MinStoreFree are bytes.
	MinBootFree, MinStoreFree uint64
	// Architecture is as uname -m has it; MinMemory is in bytes.
	Architecture string
	MinMemory    uint64
	// RootLabel and ESPLabel are the labels by which the system's configuration
	// finds its file systems; MinESP and MinESPFree are bytes.
	RootLabel, ESPLabel string
	MinESP, MinESPFree  uint64
	// Now is the runner's clock when the probe was sent. The node's may be
	// MaxSkew away from it.
	Now     time.Time
	MaxSkew time.Duration
}

// DefaultExpect is an edge node that serves RustDesk on K3s and is reached
// through Tailscale. Which machine it is has to be added.
func DefaultExpect() Expect {
	return Expect{
		Units:      []string{"k3s.service", "tailscaled.service", "sshd.service"},
		KeyMargin:  7 * 24 * time.Hour,
		Containers: []string{"hbbs", "hbbr"},
		Ports:      []int{21115, 21116, 21117, 6443},
		AgeKeyFile: ageFile,
		// One more kernel with its initrd, and one more closure.
		MinBootFree: 40 << 20, MinStoreFree: 2 << 30,
	}
}

// Asked are the checks, beside those of a set, that e has something for.
func (e Expect) Asked() []string {
	var ids []string
	for id, asked := range map[string]bool{
		BootID: e.BootIDBefore != "", Generation: e.Generation > 0, Clock: e.MaxSkew > 0,
	} {
		if asked {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// The ids of the checks. Those of the tailnet are tailnet.State and its like.
const (
	HostIdentity    = "host-identity"
	BootID          = "boot-id"
	BootedSystem    = "booted-system"
	System          = "system"
	LiveSystem      = "live-system"
	Generation      = "generation"
	Kernel          = "kernel"
	LoaderDefault   = "loader-default"
	SystemState     = "system-state"
	FailedUnits     = "failed-units"
	Units           = "units"
	K3sNode         = "k3s-node"
	K3sWorkloads    = "k3s-workloads"
	K3sContainers   = "k3s-containers"
	Ports           = "ports"
	Secrets         = "secrets"
	AgeKey          = "age-key"
	RootLoginConfig = "root-login-config"
	BootSpace       = "boot-space"
	StoreSpace      = "store-space"
	Clock           = "clock"
	Architecture    = "architecture"
	Memory          = "memory"
	RootLabel       = "root-label"
	ESP             = "esp"
	// RootRefused and SSHClosed need the runner: see RootLoginRefused and
	// PortClosed.
	RootRefused = "root-login-refused"
	SSHClosed   = "public-ssh-closed"
)

// When a check is made if nobody says otherwise.
const (
	onRequest = iota
	afterReboot
	always
)

// check is one question to the facts.
type check struct {
	id     string
	when   int
	groups string // of the probe, that it needs
	judge  func(*Facts, Expect) verdict.Check
}

// table has the checks in the order of a report.
func table() []check {
	return []check{
		{HostIdentity, always, "host oci", identity},
		{BootID, afterReboot, "host", bootID},
		{BootedSystem, afterReboot, "system", bootedSystem},
		{System, always, "system", system},
		{LiveSystem, onRequest, "system", liveSystem},
		{Generation, onRequest, "system", generation},
		{Kernel, afterReboot, "host system", kernel},
		{LoaderDefault, always, "system loader", loaderDefault},
		{SystemState, always, "systemd", systemState},
		{FailedUnits, always, "systemd", failedUnits},
		{Units, always, "systemd", units},
		{tailnet.State, always, "host tailscale", onTailnet(tailnet.State)},
		{tailnet.Online, always, "host tailscale", onTailnet(tailnet.Online)},
		{tailnet.Key, always, "host tailscale", onTailnet(tailnet.Key)},
		{tailnet.Health, always, "host tailscale", onTailnet(tailnet.Health)},
		{K3sNode, always, "host k3s", k3sNode},
		{K3sWorkloads, always, "host k3s", k3sWorkloads},
		{K3sContainers, always, "host k3s", k3sContainers},
		{Ports, always, "ports", ports},
		{Secrets, always, "secrets", secrets},
		{AgeKey, always, "secrets", ageKey},
		{RootLoginConfig, always, "sshd", rootLoginConfig},
		{BootSpace, always, "space", bootSpace},
		{StoreSpace, always, "space", storeSpace},
		{Clock, onRequest, "host", clock},
		{Architecture, onRequest, "host", architecture},
		{Memory, onRequest, "machine", memory},
		{RootLabel, onRequest, "disk", rootLabel},
		{ESP, onRequest, "disk", esp},
	}
}

// Judge holds the facts against what is wanted and answers every question that
// it knows. A Policy says which of the answers count.
func Judge(f *Facts, want Expect) []verdict.Check {
	var out []verdict.Check
	for _, c := range table() {
		out = append(out, c.judge(f, want))
	}
	return out
}

// question is a check that is being made.
type question struct {
	id, wanted string
	errs       []error // what could not be read
}

// need takes a value that the answer needs.
func need[T any](q *question, v Value[T]) T {
	x, err := v.Get()
	if err != nil {
		q.errs = append(q.errs, err)
	}
	return x
}

// ask is for a question that has something to ask; without, it is unproven.
func (q *question) ask(something bool, missing string) {
	if !something {
		q.errs = append(q.errs, errors.New(missing))
	}
}

// answer is unproven if anything that it needs is not known.
func (q *question) answer(holds bool, got, hint string) verdict.Check {
	switch {
	case len(q.errs) > 0:
		return q.unproven("see on the node why it could not be read")
	case !holds:
		return verdict.Refuse(q.id, q.wanted, got, hint).Check
	}
	return verdict.Check{ID: q.id, Verdict: verdict.Proven, Wanted: q.wanted, Got: got}
}

func (q *question) unproven(hint string) verdict.Check {
	var why []string
	for _, err := range q.errs {
		if !slices.Contains(why, err.Error()) {
			why = append(why, err.Error())
		}
	}
	return verdict.CannotTell(q.id, q.wanted, errors.New(strings.Join(why, "; ")), hint).Check
}
