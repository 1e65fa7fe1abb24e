package bootstrap

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/cloud"
	"edge-actions/internal/colmena"
	"edge-actions/internal/fleet"
	"edge-actions/internal/ingress"
	"edge-actions/internal/nixos"
	"edge-actions/internal/node"
	"edge-actions/internal/sshx"
)

// Job is a whole bootstrap as the inputs ask for it.
type Job struct {
	*Bootstrap
	Door  *Door
	Tools *fleet.Tools
}

// Known are the ids of the checks that may be waived or required.
func Known() []string {
	return append(node.KnownIDs(), "operator-keys", ingress.PublicSSH)
}

// ReadJob reads the inputs of a bootstrap. What is wrong with them is recorded
// in in.
func ReadJob(ctx context.Context, in *action.Inputs, a *action.Action) *Job {
	log := fleet.Log{Logf: a.Logf, Fence: a.Fence}
	spec := fleet.ReadWay(in, a, "node")
	if len(spec.Nodes) > 1 {
		in.Wrong("node", "one node", fmt.Sprintf("%d: %q", len(spec.Nodes), spec.Nodes), "run the step once for each, with a matrix")
	}
	d := &fleet.Deployment{Spec: spec, Log: log, Times: nixos.Times{Recover: in.Duration("recover_timeout", time.Second, time.Hour)}}
	fleet.ReadAgeKey(in, d)
	b := &Bootstrap{
		Deploy: d, Method: Method(in.OneOf("method", string(Infect), string(Anywhere), string(Adopt))), Users: words(in.Text("login_users")),
		MaxSkew: in.Duration("max_clock_skew", time.Second, 24*time.Hour), Clock: time.Now, Log: log,
		Times: Times{
			Connect: in.Duration("open_timeout", time.Second, time.Hour), Transition: in.Duration("transition_timeout", time.Second, 3*time.Hour),
			Boot: in.Duration("boot_timeout", time.Second, time.Hour), Stable: in.Duration("stable", 0, 10*time.Minute), Poll: in.Duration("poll", 100*time.Millisecond, time.Minute),
		},
	}
	for _, user := range b.Users {
		if !userForm.MatchString(user) {
			in.Wrong("login_users", "names of login users", fmt.Sprintf("%q", user), "correct the input login_users")
		}
	}
	if len(b.Users) == 0 {
		in.Wrong("login_users", "names of login users", "none", "correct the input login_users")
	}
	j := &Job{Bootstrap: b, Tools: fleet.ReadHive(in, a, d)}
	j.Tools.Rebuild = true
	b.needs(in)
	b.infectInputs(in)
	b.anywhereInputs(in, a)
	j.Door = b.door(ctx, in, a)
	return j
}

// needs reads what the machine must have.
func (b *Bootstrap) needs(in *action.Inputs) {
	b.Need = node.Expect{
		Architecture: in.Text("architecture"), MinMemory: mebibytes(in, "min_memory_mib"), RootLabel: in.Text("root_label"), ESPLabel: in.Text("esp_label"),
		MinESP: mebibytes(in, "min_esp_mib"), MinESPFree: mebibytes(in, "min_esp_free_mib"),
	}
	if !slices.Contains([]string{"aarch64", "x86_64"}, b.Need.Architecture) {
		in.Wrong("architecture", "aarch64 or x86_64", fmt.Sprintf("%q", b.Need.Architecture), "give it as uname -m does")
	}
	for _, name := range []string{"root_label", "esp_label"} {
		if label := in.Text(name); !labelForm.MatchString(label) {
			in.Wrong(name, "the label of a file system", fmt.Sprintf("%q", label), "give it as lsblk -o LABEL shows it")
		}
	}
	d := b.Deploy
	d.Expect = b.Need
	d.Expect.MinBootFree, d.Expect.MinStoreFree = mebibytes(in, "min_boot_free_mib"), mebibytes(in, "min_store_free_mib")
	b.Waive = words(in.Text("waive"))
	require := words(in.Text("require"))
	for _, list := range []struct {
		name string
		ids  []string
	}{{"waive", b.Waive}, {"require", require}} {
		for _, id := range list.ids {
			if !slices.Contains(Known(), id) {
				in.Wrong(list.name, "ids of checks: "+strings.Join(Known(), ", "), fmt.Sprintf("%q", id), "correct the input "+list.name)
			}
		}
	}
	// What the machine is on its first generation; what it serves is asked for
	// by colmena-deploy and node-validate, once the node is on the tailnet.
	d.Policy = node.Policy{
		Set: []string{node.HostIdentity, node.System, node.LoaderDefault, node.SystemState, node.FailedUnits, node.AgeKey, node.RootLoginConfig,
			node.Architecture, node.RootLabel, node.ESP},
		Require: require, Waive: b.Waive, WaivedBy: "waive",
	}
}

func (b *Bootstrap) infectInputs(in *action.Inputs) {
	path, sum := in.Text("infect_script"), in.SHA256("infect_sha256")
	b.Infect = InfectScript{SHA256: sum, Env: map[string]string{}}
	for _, line := range in.Lines("infect_env") {
		name, value, ok := strings.Cut(line, "=")
		switch {
		case !ok || !EnvForm.MatchString(name):
			in.Wrong("infect_env", "lines NAME=VALUE", fmt.Sprintf("%q", line), "correct the input infect_env")
		case name == "NO_REBOOT":
			in.Wrong("infect_env", "no NO_REBOOT: it is always set", fmt.Sprintf("%q", line), "take it away: the reboot is waited for and proven here")
		case slices.Contains([]string{"PATH", "HOME", "USER", "BASH_ENV", "ENV", "LD_PRELOAD", "LD_LIBRARY_PATH"}, name):
			in.Wrong("infect_env", "variables of nixos-infect", fmt.Sprintf("%q", name), "take it away")
		default:
			b.Infect.Env[name] = value
		}
	}
	if b.Method != Infect {
		if path != "" || sum != "" {
			in.Wrong("infect_script", "nothing unless method is nixos-infect", fmt.Sprintf("%q", path), "take it away, or correct method")
		}
		return
	}
	if path == "" || sum == "" {
		in.Wrong("infect_script", "the path of nixos-infect in the workspace, and its infect_sha256", fmt.Sprintf("%q and %q", path, sum), "keep the script in the repository, at a revision that somebody has read")
		return
	}
	file := in.WorkspaceFile("infect_script")
	if file == "" {
		return
	}
	content, err := os.ReadFile(file)
	const most = 1 << 20
	switch {
	case err != nil:
		in.Wrong("infect_script", "a script that can be read", err.Error(), "correct the input infect_script")
	case len(content) > most:
		in.Wrong("infect_script", fmt.Sprintf("a script of at most %d bytes", most), fmt.Sprint(len(content)), "correct the input infect_script")
	case fmt.Sprintf("%x", sha256.Sum256(content)) != sum:
		in.Wrong("infect_sha256", "the sha256 of "+path, fmt.Sprintf("%x", sha256.Sum256(content)), "read what has changed in the script, then give its new sha256")
	}
	b.Infect.Content = content
}

func (b *Bootstrap) anywhereInputs(in *action.Inputs, a *action.Action) {
	path, flake := in.Text("anywhere_path"), in.Text("anywhere_flake")
	args := in.Lines("anywhere_args")
	if b.Method != Anywhere {
		if flake != "" || len(args) > 0 {
			in.Wrong("anywhere_flake", "nothing unless method is nixos-anywhere", fmt.Sprintf("%q", flake), "take it away, or correct method")
		}
		return
	}
	if flake == "" && len(b.Deploy.Spec.Nodes) == 1 {
		flake = ".#" + b.Deploy.Spec.Nodes[0]
	}
	if strings.HasPrefix(flake, "-") || !strings.Contains(flake, "#") || strings.ContainsAny(flake, " \n\t") {
		in.Wrong("anywhere_flake", "FLAKE#NAME", fmt.Sprintf("%q", flake), "correct the input anywhere_flake")
	}
	for _, arg := range args {
		if !strings.HasPrefix(arg, "-") || slices.ContainsFunc(strings.Fields(arg), func(word string) bool { return slices.Contains(decided, word) }) {
			in.Wrong("anywhere_args", "options of nixos-anywhere that are not set here, one a line", fmt.Sprintf("%q", arg), "take it away: how the machine is reached and in which phases is decided here")
		}
	}
	t := &b.Anywhere
	t.Flake, t.Dir, t.Env = flake, b.Deploy.Colmena.Dir, colmena.Environ(a.Environ())
	for _, arg := range args {
		t.Args = append(t.Args, strings.Fields(arg)...)
	}
	for _, tool := range []struct {
		name, path string
		to         *string
	}{{"nixos-anywhere", path, &t.Path}, {"ssh", "ssh", &t.SSH}, {"scp", "scp", &t.SCP}} {
		found, err := exec.LookPath(tool.path)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		if err != nil {
			in.Wrong("anywhere_path", tool.name+" on the runner", err.Error(), "install it there (nix profile install nixpkgs#nixos-anywhere), or set anywhere_path")
		}
		*tool.to = found
	}
}

// decided are the options of nixos-anywhere that are not the operator's: how the
// machine is reached, in which phases, and with what.
var decided = []string{"--flake", "-f", "--store-paths", "-s", "--target-host", "--phases", "--ssh-option", "-i", "--copy-host-keys", "--extra-files", "--ssh-port", "-p",
	"--no-reboot", "--stop-after-disko", "--env-password", "--post-kexec-ssh-port"}

// ReadKeeper reads where the runner remembers its leases.
func ReadKeeper(in *action.Inputs, a *action.Action) *ingress.Keeper {
	return &ingress.Keeper{Dir: filepath.Join(in.RunnerPath("runner_dir"), "ingress"), Logf: a.Logf, Pace: ingress.Pace{Pause: in.Duration("poll", 100*time.Millisecond, time.Minute)}}
}

// door reads how the machine is reached, and how that is proven to be shut.
func (b *Bootstrap) door(ctx context.Context, in *action.Inputs, a *action.Action) *Door {
	spec := b.Deploy.Spec
	d := &Door{
		Access: Access(in.OneOf("access", string(ByLease), string(ByBastion), string(Direct))), NSG: in.Text("nsg_id"), InstanceID: in.Text("instance_id"),
		TTL: in.Duration("lease_ttl", 5*time.Minute, ingress.Most), Probe: in.Duration("probe_timeout", 3*time.Second, time.Minute), Run: Run(a), Waive: b.Waive, Logf: a.Logf,
		SSHConfig: b.Deploy.UserConfig(), Keeper: ReadKeeper(in, a),
	}
	if len(spec.Nodes) == 1 {
		d.Node = spec.Nodes[0]
		if m, err := spec.Member(d.Node); err == nil {
			switch named := m.Expect.InstanceID; {
			case d.InstanceID == "":
				d.InstanceID = named
			case named != "" && named != d.InstanceID:
				in.Wrong("instance_id", "the handoff's instance, "+named, fmt.Sprintf("%q", d.InstanceID), "correct instance_id, or leave it out")
			}
			spec.InstanceIDs = map[string]string{d.Node: d.InstanceID}
		}
	}
	if d.InstanceID != "" && !instanceForm.MatchString(d.InstanceID) {
		in.Wrong("instance_id", "an OCID of an instance", fmt.Sprintf("%q", d.InstanceID), "correct the input instance_id")
	}
	if d.NSG != "" && !strings.HasPrefix(d.NSG, "ocid1.networksecuritygroup.") {
		in.Wrong("nsg_id", "an OCID of a network security group", fmt.Sprintf("%q", d.NSG), "correct the input nsg_id")
	}
	d.source(in)
	d.through(in, a)
	options := cloud.ReadOptions(in, a)
	if d.Access == Direct && d.InstanceID == "" {
		return d // nobody to ask; the check of the closed door says so
	}
	if d.InstanceID == "" {
		in.Wrong("instance_id", "the instance's OCID, or a handoff that has it", "neither", "set the input instance_id, or handoff_path")
	}
	if c := cloud.Connect(ctx, in, options); c != nil {
		d.Cloud, d.Keeper.Cloud = c, c
		if d.Through != nil {
			d.Through.Bastions = c
		}
		b.Clock = func() time.Time {
			if now := c.Now(); !now.IsZero() {
				return now
			}
			return time.Now()
		}
	}
	return d
}

func (d *Door) source(in *action.Inputs) {
	d.Echo.URLs = words(in.Text("source_urls"))
	for _, u := range d.Echo.URLs {
		if err := ingress.CheckURL(u); err != nil {
			in.Wrong("source_urls", "https URLs that answer with the caller's address", fmt.Sprintf("%q: %v", u, err), "correct the input source_urls")
		}
	}
	text := in.Text("source")
	if text == "" {
		if len(d.Echo.URLs) < 2 && d.Access == ByLease {
			in.Wrong("source_urls", "two URLs at least: one alone could have anybody let in", fmt.Sprint(len(d.Echo.URLs)), "correct the input source_urls, or set source")
		}
		return
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(text); err == nil {
			prefix = netip.PrefixFrom(a, a.BitLen())
		}
	}
	switch {
	case err != nil || !prefix.IsSingleIP():
		in.Wrong("source", "one address, or a /32 or /128", fmt.Sprintf("%q", text), "give the runner's own public address: a door is opened for nobody else")
	case ingress.CheckSource(prefix.Addr()) != nil:
		in.Wrong("source", "a public address", fmt.Sprintf("%q", text), "give the address that the cloud sees: the one behind which the runner is")
	default:
		d.Source = prefix.Addr()
	}
}

func (d *Door) through(in *action.Inputs, a *action.Action) {
	id, host, port := in.Text("bastion_id"), in.Text("bastion_host"), in.Int("bastion_port", 1, 65535)
	keys := in.Lines("bastion_host_key")
	for _, key := range keys {
		if _, err := sshx.ParseHostKey(key); err != nil {
			in.Wrong("bastion_host_key", `lines "ssh-rsa AAAA…"`, fmt.Sprintf("%.120q", key), "take the bastion's host key from the cloud's console")
		}
	}
	if d.Access != ByBastion {
		if id != "" || len(keys) > 0 {
			in.Wrong("bastion_id", "nothing unless access is bastion", fmt.Sprintf("%q", id), "take it away, or correct access")
		}
		return
	}
	if !strings.HasPrefix(id, "ocid1.bastion.") {
		in.Wrong("bastion_id", "an OCID of a bastion", fmt.Sprintf("%q", id), "set the input bastion_id")
	}
	if len(keys) == 0 {
		in.Wrong("bastion_host_key", "the bastion's host key", "none", "take it from the cloud's console")
	}
	if host != "" && !hostForm.MatchString(host) {
		in.Wrong("bastion_host", "a host name or an address", fmt.Sprintf("%q", host), "leave it out: the cloud says where the bastion is")
	}
	ttl := min(max(d.TTL, 30*time.Minute), 3*time.Hour) // what OCI takes
	d.TTL = min(d.TTL, ttl)
	d.Through = &ingress.Through{BastionID: id, HostKeys: keys, Host: host, Port: port, TTL: ttl, Pace: d.Keeper.Pace, Logf: a.Logf}
}

// Run names the run: owner/repo#run.attempt.
func Run(a *action.Action) string {
	return fmt.Sprintf("%s#%s.%s", a.Getenv("GITHUB_REPOSITORY"), a.Getenv("GITHUB_RUN_ID"), a.Getenv("GITHUB_RUN_ATTEMPT"))
}

var (
	userForm     = regexp.MustCompile(`^[a-z_][a-z0-9_.-]{0,31}$`)
	labelForm    = regexp.MustCompile(`^[A-Za-z0-9_.+-]{1,32}$`)
	hostForm     = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9.:-]{0,252}$`)
	instanceForm = regexp.MustCompile(`^ocid1\.instance\.[A-Za-z0-9._-]{1,255}$`)
)

func mebibytes(in *action.Inputs, name string) uint64 { return uint64(in.Int(name, 1, 1<<30)) << 20 }

func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' })
}
