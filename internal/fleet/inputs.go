package fleet

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/colmena"
	"edge-actions/internal/files"
	"edge-actions/internal/handoff"
	"edge-actions/internal/handoff/schema"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// ReadSpec reads the inputs that say which nodes are meant, who logs in, and how
// they are reached through a tailnet. What is wrong with them is recorded in
// in.
func ReadSpec(in *action.Inputs, a *action.Action) *Spec {
	s := readSpec(in, a, ReadWay(in, a, "nodes"))
	s.Parallel = in.Int("max_parallel", 1, 256)
	return s
}

// ReadHosts is ReadSpec for hosts that something else than an input names: from
// says what. A handoff need not know them.
func ReadHosts(in *action.Inputs, a *action.Action, from string, hosts []string) *Spec {
	return readSpec(in, a, readWay(in, a, from, hosts, true))
}

func readSpec(in *action.Inputs, a *action.Action, s *Spec) *Spec {
	s.User, s.KeyMargin = in.Text("user"), in.Duration("key_margin", 0, 365*24*time.Hour)
	if s.User != "" && !userForm.MatchString(s.User) {
		in.Wrong("user", "the name of a login user", fmt.Sprintf("%q", s.User), "correct the input user")
	}
	path := in.Text("tailscale_path")
	if in.OneOf("tailnet", "required", "off") == "required" && in.Err() == nil && len(s.Nodes) > 0 {
		found, err := tailnet.Find(path)
		if err != nil {
			in.Wrong("tailscale_path", "the command line of Tailscale on the runner", fmt.Sprintf("none as %q", cmp.Or(path, "tailscale")), "install Tailscale there, or set tailnet: off if the nodes are reached another way")
		} else {
			s.Tailnet = &tailnet.CLI{Path: found, Env: tailnet.Environ(a.Environ()), Timeout: 15 * time.Second}
		}
	}
	return s
}

// ReadWay reads the inputs that say which nodes are meant, by the input of the
// given name, and how SSH finds them.
func ReadWay(in *action.Inputs, a *action.Action, nodes string) *Spec {
	s := readWay(in, a, nodes, words(in.Text(nodes)), false)
	s.MachineIDs = pairs(in, "machine_ids", machineID)
	s.among(in, "machine_ids", keys(s.MachineIDs))
	if len(s.Nodes) == 0 && in.Err() == nil {
		in.Wrong(nodes, "the names of the nodes, or a handoff that has some", "nothing", "set the input "+nodes+", or handoff_path")
	}
	return s
}

func readWay(in *action.Inputs, a *action.Action, from string, nodes []string, strangers bool) *Spec {
	s := &Spec{
		Nodes: nodes, Strangers: strangers, IdentityFile: in.KeyFile("identity_file"), SSHConfig: home(a, in.Text("ssh_config")),
		Env: a.Environ(), Connect: in.Duration("connect_timeout", time.Second, 10*time.Minute), Parallel: 1,
	}
	readable(in, "ssh_config", s.SSHConfig)
	s.Hosts = pairs(in, "hosts", address)
	s.HostKeys = hostKeys(in)
	if known := home(a, in.Text("known_hosts")); known != "" {
		readable(in, "known_hosts", known)
		s.KnownHosts = []string{known}
	}
	s.Handoff = ReadHandoff(in)
	if len(s.Nodes) == 0 && s.Handoff != nil && !strangers {
		for _, n := range s.Handoff.Nodes {
			s.Nodes = append(s.Nodes, n.Name)
		}
	}
	for i, name := range s.Nodes {
		if err := colmena.CheckName(name); err != nil {
			in.Wrong(from, "names of nodes", err.Error(), "name each node in full, by commas, blanks or lines")
		} else if slices.Contains(s.Nodes[:i], name) {
			in.Wrong(from, "each node once", fmt.Sprintf("%q twice", name), "correct the input "+from)
		}
	}
	s.among(in, "hosts", keys(s.Hosts))
	s.among(in, "host_keys", keys(s.HostKeys))
	return s
}

// among refuses names that are none of the nodes.
func (s *Spec) among(in *action.Inputs, name string, found []string) {
	for _, key := range found {
		if len(s.Nodes) > 0 && !slices.Contains(s.Nodes, key) {
			in.Wrong(name, fmt.Sprintf("names among the nodes %q", s.Nodes), fmt.Sprintf("%q", key), "correct the input "+name)
		}
	}
}

// ReadChecks reads the inputs that say what is wanted of a node and which
// checks count.
func ReadChecks(in *action.Inputs, set []string) (node.Expect, node.Policy) {
	e := node.DefaultExpect()
	policy := node.Policy{Set: set, Require: words(in.Text("require")), Waive: words(in.Text("waive")), WaivedBy: "waive"}
	e.Containers, e.Deployments, e.Secrets, e.FailedBefore = words(in.Text("containers")), words(in.Text("deployments")), words(in.Text("secrets")), words(in.Text("failed_units"))
	e.Units = words(in.Text("units"))
	e.MaxSkew = in.Duration("max_clock_skew", time.Second, 24*time.Hour)
	e.MinBootFree = uint64(in.Int("min_boot_free_mib", 1, 1<<20)) << 20
	e.MinStoreFree = uint64(in.Int("min_store_free_mib", 1, 1<<30)) << 20
	for _, list := range []struct {
		name, wanted string
		words        []string
		form         *regexp.Regexp
	}{
		{"units", "units with their types, such as k3s.service", e.Units, unitForm},
		{"failed_units", "units with their types, such as k3s.service", e.FailedBefore, unitForm},
		{"containers", "names of containers", e.Containers, labelForm},
		{"deployments", "deployments as namespace/name", e.Deployments, deploymentForm},
		{"secrets", "paths below /run/secrets", e.Secrets, secretForm},
	} {
		for _, word := range list.words {
			if !list.form.MatchString(word) || strings.Contains(word, "..") {
				in.Wrong(list.name, list.wanted, fmt.Sprintf("%q", word), "correct the input "+list.name)
			}
		}
	}
	var err error
	if e.Ports, err = parsePorts(words(in.Text("ports"))); err != nil {
		in.Wrong("ports", "ports and ranges such as 21115-21117, 6443", err.Error(), "correct the input ports")
	}
	policy.Require = append(policy.Require, e.Asked()...)
	for _, list := range []struct {
		name string
		ids  []string
	}{{"require", policy.Require}, {"waive", policy.Waive}} {
		for _, id := range list.ids {
			if !slices.Contains(known(), id) {
				in.Wrong(list.name, "ids of checks: "+strings.Join(known(), ", "), fmt.Sprintf("%q", id), "correct the input "+list.name)
			}
		}
	}
	return e, policy
}

// readable refuses a file that is not there; "none" is none.
func readable(in *action.Inputs, name, path string) {
	if path == "" || path == "none" && name == "ssh_config" {
		return
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || !filepath.IsAbs(path) {
		in.Wrong(name, "the absolute path of a file on the runner", fmt.Sprintf("%q", path), "correct the input "+name)
	}
}

// known are the ids that may be required or waived: those of the node and
// those of the way to it.
func known() []string { return append(node.KnownIDs(), TailnetPath, TailnetPing, "operator-keys") }

// Files of the runner's may stand in a home.
func home(a *action.Action, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && a.Getenv("HOME") != "" {
		return filepath.Join(a.Getenv("HOME"), rest)
	}
	return path
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}

func keys[T any](m map[string]T) []string {
	var out []string
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

var (
	unitForm       = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,240}\.[a-z]{4,10}$`)
	labelForm      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	userForm       = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)
	deploymentForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	secretForm     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]*$`)
	addressForm    = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$`)
	machineIDForm  = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

func address(s string) error {
	if !addressForm.MatchString(s) {
		return errors.New("no host name or address")
	}
	return nil
}

func machineID(s string) error {
	if !machineIDForm.MatchString(s) {
		return errors.New("no machine id (32 hex digits, /etc/machine-id)")
	}
	return nil
}

// pairs reads lines NAME=VALUE.
func pairs(in *action.Inputs, name string, check func(string) error) map[string]string {
	out := map[string]string{}
	for _, line := range in.Lines(name) {
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if !ok || key == "" || value == "" {
			in.Wrong(name, "lines of the form NODE=VALUE", fmt.Sprintf("%q", line), "correct the input "+name)
		} else if err := check(value); err != nil {
			in.Wrong(name, "lines of the form NODE=VALUE", fmt.Sprintf("%q: %v", line, err), "correct the input "+name)
		} else if _, twice := out[key]; twice {
			in.Wrong(name, "each node once", fmt.Sprintf("%q twice", key), "correct the input "+name)
		}
		out[key] = value
	}
	return out
}

// hostKeys reads lines "NODE ssh-ed25519 AAAA…", as a known_hosts file has
// them; a node may have several.
func hostKeys(in *action.Inputs) map[string][]string {
	out := map[string][]string{}
	for _, line := range in.Lines("host_keys") {
		name, key, _ := strings.Cut(line, " ")
		if _, err := sshx.ParseHostKey(strings.TrimSpace(key)); err != nil {
			in.Wrong("host_keys", `lines of the form "NODE ssh-ed25519 AAAA…"`, fmt.Sprintf("%.120q", line), "take the line of the host's /etc/ssh/ssh_host_ed25519_key.pub, with the node's name before it")
		}
		out[name] = append(out[name], strings.TrimSpace(key))
	}
	return out
}

func parsePorts(list []string) ([]int, error) {
	var out []int
	for _, word := range list {
		from, to, isRange := strings.Cut(word, "-")
		if !isRange {
			to = from
		}
		a, errA := strconv.ParseUint(from, 10, 16)
		b, errB := strconv.ParseUint(to, 10, 16)
		if errA != nil || errB != nil || a == 0 || b < a || b-a > 1000 {
			return nil, fmt.Errorf("%q", word)
		}
		for p := a; p <= b; p++ {
			out = append(out, int(p))
		}
	}
	return out, nil
}

// ReadHandoff reads the handoff that an earlier step or repository made: the
// bytes are held against their digest, the schema and, where one is given, the
// signer's key.
func ReadHandoff(in *action.Inputs) *handoff.Document {
	path, sum, signer := in.Text("handoff_path"), in.SHA256("handoff_sha256"), in.Text("handoff_signer")
	if path == "" {
		if sum != "" || signer != "" {
			in.Wrong("handoff_path", "the handoff that handoff_sha256 or handoff_signer is of", "nothing", "set the input handoff_path")
		}
		return nil
	}
	if sum == "" && signer == "" {
		in.Wrong("handoff_sha256", "the handoff's sha256, or the key of its signer in handoff_signer", "neither", "pass the output handoff_sha256 of emit-handoff")
		return nil
	}
	doc, err := loadHandoff(path, sum, signer)
	if err != nil {
		for _, c := range verdict.ChecksOf(err) {
			in.Wrong("handoff_path", cmp.Or(c.Wanted, "a handoff that can be read"), c.Got, cmp.Or(c.Hint, "correct the input handoff_path"))
		}
		return nil
	}
	return doc
}

func loadHandoff(path, sum, signer string) (*handoff.Document, error) {
	if !filepath.IsAbs(path) {
		return nil, verdict.Refuse("handoff", "an absolute path", fmt.Sprintf("%q", path), "pass the output handoff_path of emit-handoff")
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	const max = 64 << 20
	if !info.Mode().IsRegular() || info.Size() > max {
		return nil, fmt.Errorf("%q is no regular file of at most %d bytes", path, max)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); sum != "" && got != sum {
		return nil, verdict.Refuse("handoff", "a handoff with the sha256 "+sum, got, "the file was changed since it was made: pass path and sha256 of the same emit-handoff")
	}
	if signer != "" {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(signer))
		if err != nil {
			return nil, verdict.Refuse("handoff", "a public key in handoff_signer (ssh-ed25519 AAAA…)", fmt.Sprintf("%.100q", signer), "give the line of the .pub file of emit-handoff's signing_key")
		}
		signature, err := os.ReadFile(path + handoff.SignatureSuffix)
		if err != nil {
			return nil, err
		}
		if err := handoff.Verify(data, signature, key); err != nil {
			return nil, err
		}
	}
	if err := schema.Validate(data); err != nil {
		return nil, err
	}
	return handoff.Parse(data)
}

// KeyFile reads a secret file of the runner's, or returns nil for "".
func KeyFile(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	if err := files.CheckSecret(path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// ReadExpected reads the inputs that say what a validation is held against.
func ReadExpected(in *action.Inputs, v *Validation) {
	v.Expect.System = in.Text("system_path")
	if v.Expect.System != "" {
		if err := nixos.CheckSystemPath(v.Expect.System); err != nil {
			in.Wrong("system_path", "the store path of a system", err.Error(), "pass the output system_path of colmena-deploy")
		}
	}
	if v.Expect.Generation = in.Int("generation", 1, 1<<30); v.Expect.Generation > 0 {
		v.Policy.Require = append(v.Policy.Require, node.Generation)
	}
	if v.Expect.AgeKeyFile = in.Text("age_key_path"); v.Expect.AgeKeyFile != "" {
		if _, _, err := node.Command(nil, v.Expect); verdict.Has(err, "input-age_key_path") {
			in.Wrong("age_key_path", "the absolute path of a file in a directory", fmt.Sprintf("%q", v.Expect.AgeKeyFile), "give the path of sops.age.keyFile")
		}
	}
	v.PublicPort = in.Int("public_port", 1, 65535)
	if v.PublicAddress = in.Text("public_address"); v.PublicAddress != "" {
		if _, err := netip.ParseAddr(v.PublicAddress); err != nil {
			in.Wrong("public_address", "an IP address", fmt.Sprintf("%q", v.PublicAddress), "give the address, not a name")
		}
		if len(v.Spec.Nodes) > 1 {
			in.Wrong("public_address", "one node, whose address it is", fmt.Sprintf("%d nodes", len(v.Spec.Nodes)), "run the step for one node, or give a handoff that has the addresses")
		}
	}
}
