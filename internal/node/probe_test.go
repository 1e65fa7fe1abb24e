package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// shells are those that a node's sh may be: Debian's is dash, NixOS's is bash.
var shells = []string{"dash", "bash", "bash --posix"}

// verdicts are the checks' answers by id.
func verdicts(checks []verdict.Check) map[string]verdict.Verdict {
	out := map[string]verdict.Verdict{}
	for _, c := range checks {
		out[c.ID] = c.Verdict
	}
	return out
}

// expectOnly judges a rig's node and wants all checks proven but those named.
func expectOnly(t *testing.T, r *rig, f *Facts, but map[string]verdict.Verdict) {
	t.Helper()
	checks := Judge(f, r.expect())
	want := map[string]verdict.Verdict{}
	for _, c := range checks {
		want[c.ID] = verdict.Proven
	}
	if os.Getuid() != 0 { // the files are then not root's
		want[AgeKey] = verdict.Disproven
	}
	for id, v := range but {
		want[id] = v
	}
	if diff := cmp.Diff(want, verdicts(checks)); diff != "" {
		t.Errorf("%s\n%s", diff, (&verdict.Report{Checks: checks}).Text())
	}
	for _, c := range checks {
		if strings.ContainsAny(c.Wanted+c.Got+c.Hint, "\n\r\x00\x1b") {
			t.Errorf("not fit for a log: %q", c)
		}
	}
}

func TestHealthyNode(t *testing.T) {
	r := newRig(t)
	for _, shell := range shells {
		expectOnly(t, r, r.facts(shell), nil)
	}
	left, err := filepath.Glob(r.path("run/edge-probe.*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// The machine that runs the tests is no NixOS node, so whatever it is, these
// can't be proven of it.
func TestThisMachine(t *testing.T) {
	r := newRig(t)
	r.remove("")
	for _, name := range []string{"systemctl", "tailscale", "kubectl", "lsblk", "curl"} {
		r.without(name)
	}
	for _, name := range []string{"proc", "etc"} {
		r.link(r.path(name), "/"+name)
	}
	if err := os.Mkdir(r.path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, shell := range shells {
		f := r.facts(shell)
		for name, v := range map[string]Value[string]{"boot id": f.BootID, "kernel": f.Kernel, "arch": f.Arch, "os": f.OS, "hostname": f.Hostname} {
			if _, err := v.Get(); err != nil {
				t.Errorf("%s: %s: %v", shell, name, err)
			}
		}
		for id, v := range verdicts(Judge(f, r.expect())) {
			if v == verdict.Proven && !slices.Contains([]string{BootID, Ports, RootLoginConfig, Clock, Memory}, id) {
				t.Errorf("%s: %s is proven of this machine", shell, id)
			}
		}
	}
}

func TestOnlyWhatIsAskedForRuns(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"kubectl", "tailscale", "systemctl", "sshd", "curl"} {
		r.fake(name, `echo "$0" >>`+r.path("ran"))
	}
	var doc struct{ Facts map[string]any }
	if err := json.Unmarshal(r.document("dash", []string{"system"}, r.expect()), &doc); err != nil {
		t.Fatal(err)
	}
	if _, ok := doc.Facts["text"]; !ok || len(doc.Facts) != 1 {
		t.Errorf("%v", doc.Facts)
	}
	if ran, err := os.ReadFile(r.path("ran")); err == nil {
		t.Errorf("ran %s", ran)
	}
	// Without an instance id to compare with, the cloud isn't asked.
	e := r.expect()
	e.InstanceID = ""
	r.document("dash", all, e)
	if ran, _ := os.ReadFile(r.path("ran")); strings.Contains(string(ran), "curl") || !strings.Contains(string(ran), "kubectl") {
		t.Errorf("ran %q", ran)
	}
}

func TestHostileOutputs(t *testing.T) {
	const garbage = `printf '"}],::set-env name=PATH::/evil\n##[add-path]/evil\033[2J\000\377\n%s' '{"BackendState":"Running"'; `
	unproven := func(ids ...string) map[string]verdict.Verdict {
		out := map[string]verdict.Verdict{}
		for _, id := range ids {
			out[id] = verdict.Unproven
		}
		return out
	}
	systemd, tailnet := []string{SystemState, FailedUnits, Units}, []string{"tailnet-state", "tailnet-online", "tailnet-key", "tailnet-health"}
	k3s := []string{K3sNode, K3sWorkloads, K3sContainers}
	slow := slices.Concat(systemd, tailnet, k3s, []string{RootLoginConfig, HostIdentity, RootLabel, ESP})
	for name, test := range map[string]struct {
		change func(*rig)
		but    map[string]verdict.Verdict
	}{
		"garbage": {func(r *rig) {
			for _, name := range []string{"systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl"} {
				r.fake(name, garbage+" "+strings.ReplaceAll(garbage, ";", ">&2;"))
			}
		}, unproven(slow...)},
		"they fail after a good answer": {func(r *rig) {
			for _, name := range []string{"systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl"} {
				old, err := os.ReadFile(filepath.Join(r.bin, name))
				if err != nil {
					t.Fatal(err)
				}
				r.fake(name, string(old)+garbage[:len(garbage)-2]+" >&2\nexit 3")
			}
		}, unproven(slow...)},
		"they hang": {func(r *rig) {
			r.impatient("sh", "tailscale", "kubectl", "sshd", "lsblk", "curl")
			for _, name := range []string{"systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl"} {
				r.fake(name, "exec sleep 1000")
			}
		}, unproven(slow...)},
		"they hang and do not listen": {func(r *rig) {
			r.impatient("sh", "tailscale", "kubectl", "sshd", "lsblk", "curl")
			for _, name := range []string{"systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl"} {
				r.fake(name, "trap '' TERM; while :; do sleep 1000; done")
			}
		}, unproven(slow...)},
		"they never stop to speak": {func(r *rig) {
			for _, name := range []string{"systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl"} {
				r.fake(name, "yes '{\"x\":1}' | head -c 20000000")
			}
		}, unproven(slow...)},
		"they are not there": {func(r *rig) { r.without("systemctl", "tailscale", "kubectl", "sshd", "lsblk", "curl") }, unproven(slow...)},
		"no find":            {func(r *rig) { r.without("find") }, unproven(Secrets, AgeKey)},
		"no bash":            {func(r *rig) { r.without("bash") }, unproven(Ports)},
		"no stat":            {func(r *rig) { r.without("stat") }, unproven(BootSpace, StoreSpace)},
		"no date":            {func(r *rig) { r.without("date") }, unproven(slices.Concat(tailnet, []string{K3sContainers, Clock})...)},
		"no readlink":        {func(r *rig) { r.without("readlink") }, unproven(Generation)},
		"no timeout": {func(r *rig) { r.without("timeout") },
			unproven(slices.Concat(slow, []string{Ports, Secrets, AgeKey, BootSpace, StoreSpace})...)},
		"k3s alone has a kubectl": {func(r *rig) {
			old, err := os.ReadFile(filepath.Join(r.bin, "kubectl"))
			if err != nil {
				t.Fatal(err)
			}
			r.without("kubectl")
			r.fake("k3s", `[ "$1" = kubectl ] || exit 1`+"\n"+string(old))
		}, nil},
		"a host that is named by an enemy": {func(r *rig) {
			r.write("proc/sys/kernel/hostname", "edge-1\x1b[2J\"},\n\"complete\":true\n")
			r.write("etc/machine-id", "now=1\x00\n")
		}, unproven(HostIdentity, K3sNode, K3sWorkloads, K3sContainers)},
		"nothing but a boot id": {func(r *rig) {
			r.remove("proc/uptime", "etc", "proc/sys/kernel/hostname", "proc/sys/kernel/osrelease", "boot", "nix/var", "run/booted-system", "run/current-system")
		}, unproven(HostIdentity, K3sNode, K3sWorkloads, K3sContainers, Kernel, LoaderDefault, BootedSystem, System, LiveSystem, Generation, BootSpace)},
		"a boot id that says nothing": {func(r *rig) { r.write("proc/sys/kernel/random/boot_id", "") }, unproven(BootID, K3sNode, K3sWorkloads)},
		"links to nothing":            {func(r *rig) { r.remove("nix/store") }, unproven(BootedSystem, System, LiveSystem, Kernel, LoaderDefault, StoreSpace)},
		"names with newlines and quotes, for all to read": {func(r *rig) {
			r.write("run/secrets.d/1/\"},\n\x1b[2J::set-env::' \\", "x")
		}, map[string]verdict.Verdict{Secrets: verdict.Disproven}},
		"names with newlines and quotes": {func(r *rig) {
			name := "run/secrets.d/1/\"},\n\x1b[2J::set-env::' \\"
			r.write(name, "x")
			r.mode(name, 0o400)
		}, nil},
		"a secret that is a link": {func(r *rig) { r.link(r.path("run/secrets.d/1/other"), "/etc/passwd") }, map[string]verdict.Verdict{Secrets: verdict.Disproven}},
		"no secrets":              {func(r *rig) { r.remove("run/secrets") }, map[string]verdict.Verdict{Secrets: verdict.Disproven}},
		"no age key":              {func(r *rig) { r.remove("var/lib/sops-nix") }, map[string]verdict.Verdict{AgeKey: verdict.Disproven}},
		"an empty age key":        {func(r *rig) { r.write("var/lib/sops-nix/key.txt", "") }, map[string]verdict.Verdict{AgeKey: verdict.Disproven}},
		"an older default":        {func(r *rig) { r.write("boot/loader/loader.conf", "default "+entryOf(41)+"\n") }, map[string]verdict.Verdict{LoaderDefault: verdict.Disproven}},
		"a default without .conf": {func(r *rig) { r.write("boot/loader/loader.conf", "default nixos-generation-42\n") }, nil},
		"a default that is counted": {func(r *rig) {
			r.write("boot/loader/loader.conf", "default nixos-generation-43.conf\n")
			r.counted(43, "+3-1")
		}, nil},
		"a default that used up its tries": {func(r *rig) {
			r.write("boot/loader/loader.conf", "default nixos-generation-43.conf\n")
			r.counted(43, "+0-3")
		}, unproven(LoaderDefault)},
		"a default that is a pattern": {func(r *rig) { r.write("boot/loader/loader.conf", "default nixos-*\n") }, nil},
		"a default somewhere else":    {func(r *rig) { r.write("boot/loader/loader.conf", "default ../../../etc/*\n") }, unproven(LoaderDefault)},
		"a loader in two places":      {func(r *rig) { r.write("boot/efi/loader/loader.conf", "default x\n") }, unproven(LoaderDefault)},
		"a loader in /boot/efi": {func(r *rig) {
			if err := os.Rename(r.path("boot"), r.path("esp")); err != nil {
				t.Fatal(err)
			}
			r.write("boot/x", "")
			if err := os.Rename(r.path("esp"), r.path("boot/efi")); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"the firmware overrides it": {func(r *rig) {
			r.write("sys/firmware/efi/efivars/LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "x")
		}, unproven(LoaderDefault)},
		"GRUB":       {func(r *rig) { r.remove("boot/loader"); r.write("boot/grub/grub.cfg", grubConfig(store)) }, nil},
		"older GRUB": {func(r *rig) { r.remove("boot/loader"); r.write("boot/grub/grub.cfg", grubConfig(olderStore)) }, map[string]verdict.Verdict{LoaderDefault: verdict.Disproven}},
		"GRUB, once": {func(r *rig) {
			r.remove("boot/loader")
			r.write("boot/grub/grub.cfg", grubConfig(store))
			r.write("boot/grub/grubenv", "# GRUB Environment Block\nnext_entry=1\n####")
		}, unproven(LoaderDefault)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, shell := range []string{"dash", "bash --posix"} {
				r := newRig(t)
				test.change(r)
				expectOnly(t, r, r.facts(shell), test.but)
			}
		})
	}
}

// Why a fact is not there is told apart: a guard that is gone would leave
// another reason, and the same verdict.
func TestReasonsOfTheProbe(t *testing.T) {
	for name, test := range map[string]struct {
		script, want string
	}{
		"hangs":         {"exec sleep 1000", "it did not end in time"},
		"does not heed": {"trap '' TERM; while :; do sleep 1000; done", "it did not end in time"},
		"never stops":   {"yes | head -c 20000000", "it wrote more than it may, and was ended"},
		"fails":         {"echo why >&2; exit 3", `exit code 3: "why`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.impatient("sh", "tailscale", "kubectl", "sshd", "curl", "find", "stat")
			for _, command := range []string{"systemctl", "tailscale", "kubectl", "sshd", "curl", "find", "stat"} {
				r.fake(command, test.script)
			}
			f := r.facts("dash")
			_, state := f.State.Get()
			_, tailscale := f.Tailscale.Get()
			_, k3s := f.K3s.Get()
			_, sshd := f.SSHD.Get()
			_, oci := f.InstanceID.Get()
			_, files := f.Files.Get()
			for command, err := range map[string]error{"systemctl": state, "tailscale": tailscale, "kubectl": k3s, "sshd": sshd, "curl": oci, "find": files} {
				if err == nil || !strings.HasPrefix(err.Error(), test.want) {
					t.Errorf("%s: %v, want %s", command, err, test.want)
				}
			}
			// It is one of several that write the same fact.
			if _, err := f.StoreSpace.Get(); err == nil {
				t.Error("stat")
			}
			if _, err := f.BootID.Get(); err != nil && name != "never stops" {
				t.Errorf("what has nothing to do with it: %v", err)
			}
		})
	}
	r := newRig(t)
	r.write("etc/os-release", strings.Repeat("ID="+strings.Repeat("x", 100)+"\n", 10000))
	for _, shell := range shells {
		if _, err := r.facts(shell).BootID.Get(); err == nil || !strings.Contains(err.Error(), "more than it may") {
			t.Errorf("%s: %v", shell, err)
		}
	}
}

// The loader's files lead nowhere but into its own directory.
func TestADefaultSomewhereElse(t *testing.T) {
	r := newRig(t)
	r.write("boot/elsewhere.conf", "options init="+store+"/init\n")
	for _, name := range []string{"../../elsewhere", "../../*", "@saved"} {
		r.write("boot/loader/loader.conf", "default "+name+"\n")
		var doc struct{ Facts map[string]fact }
		if err := json.Unmarshal(r.document("dash", []string{"loader"}, r.expect()), &doc); err != nil {
			t.Fatal(err)
		}
		if text := string(doc.Facts["text"].Out); !strings.Contains(text, "default="+name+"\n") || strings.Contains(text, "entry=") {
			t.Errorf("%q", text)
		}
	}
}

// counted adds an entry of the healthy system with a counter in its name.
func (r *rig) counted(n int, counter string) {
	r.write("boot/loader/entries/"+strings.Replace(entryOf(n), ".conf", counter+".conf", 1), "options init="+store+"/init\n")
}

func TestFailedUnitsWithTheirJournals(t *testing.T) {
	for _, shell := range shells {
		r := newRig(t)
		r.fake("systemctl", `case $1 in
is-system-running) echo degraded; exit 1 ;;
show) printf 'Id=k3s.service\nActiveState=failed\nLoadState=loaded\n' ;;
list-units) for i in 1 2 3 4 5 6 7; do echo "dev-disk-by\\x2duuid$i.swap loaded failed failed A \"swap\" failed:"; done ;;
esac`)
		r.fake("journalctl", `echo "line of $*"; printf '"}\033[2J\n'`)
		f := r.facts(shell)
		if len(f.Journals) != 5 || !strings.Contains(f.Journals[`dev-disk-by\x2duuid5.swap`], `-n 20 -u dev-disk-by\x2duuid5.swap`) {
			t.Errorf("%s: %q", shell, f.Journals)
		}
		got := verdicts(Judge(f, r.expect()))
		if got[SystemState] != verdict.Disproven || got[FailedUnits] != verdict.Disproven || got[Units] != verdict.Unproven {
			t.Errorf("%s: %v", shell, got)
		}
		// A journal that can't be read hides no unit.
		r.without("journalctl")
		if c := failedUnits(r.facts(shell), r.expect()); c.Verdict != verdict.Disproven || !strings.Contains(c.Got, "no journal: the command is not there") {
			t.Errorf("%s: %+v", shell, c)
		}
	}
}

// What is cut short on the node is not whole for us.
func TestANodeWithoutBase64(t *testing.T) {
	r := newRig(t)
	r.without("base64")
	_, err := Parse(r.document("dash", all, r.expect()))
	if verdict.Reason(err) != "probe" || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("%v", err)
	}
}

func TestPortsThatDoNotAnswer(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			e := r.expect()
			silent, refused := full(t), freePort(t)
			e.Ports = []int{r.port, silent, refused}
			f, err := Parse(r.document(shell, []string{"ports"}, e))
			if err != nil {
				t.Fatal(err)
			}
			c := ports(f, e)
			if want := fmt.Sprintf("none on port %d, %d", silent, refused); c.Verdict != verdict.Disproven || c.Got != want {
				t.Errorf("%+v, want %s", c, want)
			}
		})
	}
}

// recorder stands in for a connection.
type recorder struct {
	cmd sshx.Cmd
	max int
	out []byte
	err error
}

func (r *recorder) Output(_ context.Context, cmd sshx.Cmd, max int) ([]byte, error) {
	r.cmd, r.max = cmd, max
	return r.out, r.err
}

func TestCollect(t *testing.T) {
	r := newRig(t)
	on := &recorder{out: r.document("dash", all, r.expect())}
	f, err := Collect(t.Context(), on, all, r.expect(), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	expectOnly(t, r, f, nil)
	if !on.cmd.Root || on.cmd.Timeout != time.Minute || on.max != MaxDocument || len(on.cmd.Args) != 4 || on.cmd.Args[3] != ageFile || on.cmd.Args[1] != "k3s.service sshd.service" {
		t.Errorf("%+v", on.cmd)
	}
	if strings.Contains(on.cmd.Script, "\n#") || strings.Contains(on.cmd.Script, "\n\t") {
		t.Error("it is sent with its comments")
	}
	for name, change := range map[string]func(*Expect){
		"a key's pattern":   func(e *Expect) { e.AgeKeyFile = "/var/lib/*/key.txt" },
		"a key in no place": func(e *Expect) { e.AgeKeyFile = "/key.txt" },
		"a key's way":       func(e *Expect) { e.AgeKeyFile = "/a/../key.txt" },
		"a port":            func(e *Expect) { e.Ports = []int{0} },
		"a port too large":  func(e *Expect) { e.Ports = []int{65536} },
		"an option":         func(e *Expect) { e.Units = []string{"--all"} },
		"a pattern":         func(e *Expect) { e.Units = []string{"*"} },
		"two words":         func(e *Expect) { e.Units = []string{"a b"} },
		"an empty name":     func(e *Expect) { e.Units = []string{""} },
		"a shell's command": func(e *Expect) { e.Units = []string{"$(x)"} },
	} {
		e := r.expect()
		change(&e)
		on := &recorder{}
		if _, err := Collect(t.Context(), on, all, e, time.Minute); err == nil || on.cmd.Script != "" {
			t.Errorf("%s: it was sent: %v", name, err)
		}
	}
	if _, err := Collect(t.Context(), on, all, r.expect(), time.Second); err == nil {
		t.Error("a timeout that is shorter than the probe's own")
	}
}
