package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/tailnet"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

var at = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// good is a node of which everything is known and right.
func good(t testing.TB) (*Facts, Expect) {
	t.Helper()
	status, err := tailnet.ParseStatus([]byte(`{"BackendState":"Running","Self":{"Online":true,"TailscaleIPs":["100.64.0.1"],"KeyExpiry":"2222-01-01T00:00:00Z"},"Health":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := parseCluster([]byte(clusterJSON(at.Add(-time.Minute))))
	if err != nil {
		t.Fatal(err)
	}
	e := DefaultExpect()
	e.Hostname, e.MachineID, e.InstanceID = "Edge-1", machine, "ocid1.instance.oc1.eu.abc"
	e.BootIDBefore, e.System, e.Generation, e.Secrets = bootBefore, store, 42, []string{"restic/password"}
	e.Now, e.MaxSkew = at, 5*time.Second
	e.Architecture, e.MinMemory = "aarch64", 5<<30
	e.RootLabel, e.ESPLabel, e.MinESP, e.MinESPFree = "cloudimg-rootfs", "UEFI", 90<<20, 40<<20
	disks, err := parseDisks([]byte(lsblkJSON))
	if err != nil {
		t.Fatal(err)
	}
	unit := func(name string) Unit {
		return Unit{Names: []string{name}, Load: "loaded", Active: "active", State: "running"}
	}
	return &Facts{
		Hostname: read("edge-1"), MachineID: read(machine), BootID: read(bootNow), Kernel: read(release), Arch: read("aarch64"), OS: read("nixos"),
		InstanceID: read("ocid1.instance.oc1.eu.abc"), Now: read(at), Boot: read(at.Add(-10 * time.Minute)),
		Booted: read(store), Current: read(store), Profile: read(store), Generation: read(42), Modules: read([]string{release}), Loader: read(store),
		BootSpace: read(Space{FreeBytes: 1 << 30}), StoreSpace: read(Space{FreeBytes: 1 << 40, Inodes: 100, FreeInodes: 10}),
		State: read("running"), Units: read([]Unit{unit("k3s.service"), unit("tailscaled.service"), unit("sshd.service")}), Failed: read([]string(nil)),
		Memory: read(uint64(6 << 30)), Way: read(Way{NixOS: true}), Disks: read(disks),
		Journals: map[string]string{}, Tailscale: read(status), K3s: read(cluster),
		Ports: read(map[int]bool{21115: true, 21116: true, 21117: true, 6443: true}),
		Files: read([]File{
			{Path: "/run/secrets", Type: "d", Mode: 0o751}, {Path: "/run/secrets/restic", Type: "d", Mode: 0o755},
			{Path: "/run/secrets/restic/password", Type: "f", Mode: 0o400}, {Path: "/var/lib/sops-nix", Type: "d", Mode: 0o700},
			{Path: "/var/lib/sops-nix/key.txt", Type: "f", Mode: 0o600, Size: 189},
		}),
		SSHD: read(map[string]string{"permitrootlogin": "no", "passwordauthentication": "no"}),
	}, e
}

func TestAllGood(t *testing.T) {
	f, e := good(t)
	for _, c := range Judge(f, e) {
		if c.Verdict != verdict.Proven || c.Got == "" || c.Wanted == "" || c.Hint != "" {
			t.Errorf("%+v", c)
		}
	}
}

// edit changes what was read.
func edit[T any](v *Value[T], change func(*T)) { change(&v.v) }

var errGone = errors.New("it did not end in time")

func gone[T any](v *Value[T]) { *v = unread[T](errGone) }

func (f *Facts) file(path string) *File {
	i := slices.IndexFunc(f.Files.v, func(file File) bool { return file.Path == path })
	return &f.Files.v[i]
}

func (f *Facts) disk(path string) *Disk {
	i := slices.IndexFunc(f.Disks.v, func(d Disk) bool { return d.Path == path })
	return &f.Disks.v[i]
}

func (f *Facts) container(name string) *Container {
	for i := range f.K3s.v.Pods {
		for j := range f.K3s.v.Pods[i].Status.Containers {
			if c := &f.K3s.v.Pods[i].Status.Containers[j]; c.Name == name {
				return c
			}
		}
	}
	return nil
}

func TestJudge(t *testing.T) {
	type facts = *Facts
	type want = *Expect
	const p, d, u = verdict.Proven, verdict.Disproven, verdict.Unproven
	no := func(Value[*Cluster]) *Cluster { return &Cluster{} }
	cases := []struct {
		id, name string
		change   func(facts, want)
		want     verdict.Verdict
		got      string
	}{
		{HostIdentity, "all three", func(facts, want) {}, p, "hostname Edge-1, machine id " + machine + ", instance id"},
		{HostIdentity, "one is enough", func(f facts, e want) { e.Hostname, e.InstanceID = "", ""; gone(&f.Hostname); gone(&f.InstanceID) }, p, "machine id"},
		{HostIdentity, "another name", func(f facts, _ want) { f.Hostname = read("edge-2") }, d, "hostname edge-2"},
		{HostIdentity, "another instance, and the rest not read", func(f facts, _ want) {
			f.InstanceID = read("ocid1.instance.oc1.eu.other")
			gone(&f.Hostname)
			gone(&f.MachineID)
		}, d, "instance id ocid1.instance.oc1.eu.other"},
		{HostIdentity, "one not read", func(f facts, _ want) { gone(&f.InstanceID) }, u, "instance id: it did not end in time"},
		{HostIdentity, "none asked", func(_ facts, e want) { e.Hostname, e.MachineID, e.InstanceID = "", "", "" }, u, "nothing says"},

		{BootID, "another", func(facts, want) {}, p, bootNow},
		{BootID, "the same", func(f facts, _ want) { f.BootID = read(bootBefore) }, d, bootBefore},
		{BootID, "not read", func(f facts, _ want) { gone(&f.BootID) }, u, "in time"},
		{BootID, "none before", func(_ facts, e want) { e.BootIDBefore = "" }, u, "from before"},
		{BootID, "nonsense before", func(_ facts, e want) { e.BootIDBefore = "x" }, u, "from before"},

		{BootedSystem, "the active one", func(facts, want) {}, p, store},
		{BootedSystem, "an older one", func(f facts, _ want) { f.Booted = read(olderStore) }, d, olderStore},
		{BootedSystem, "not read", func(f facts, _ want) { gone(&f.Booted); gone(&f.Current) }, u, "in time"},

		{System, "without an expected one", func(_ facts, e want) { e.System = "" }, p, store},
		{System, "the expected one", func(facts, want) {}, p, store},
		{System, "not the profile's", func(f facts, _ want) { f.Profile = read(olderStore) }, d, "profile " + olderStore},
		{System, "not the expected one", func(_ facts, e want) { e.System = olderStore }, d, store},
		{System, "no profile", func(f facts, _ want) { gone(&f.Profile) }, u, "in time"},

		{LiveSystem, "the expected one, whatever the profile is", func(f facts, _ want) { f.Profile = read(olderStore) }, p, store},
		{LiveSystem, "another", func(f facts, _ want) { f.Current = read(olderStore) }, d, olderStore},
		{LiveSystem, "none expected", func(f facts, e want) { e.System = "" }, u, "not known"},
		{LiveSystem, "not read", func(f facts, _ want) { gone(&f.Current) }, u, "in time"},

		{Generation, "the expected one", func(facts, want) {}, p, "42"},
		{Generation, "another", func(f facts, _ want) { f.Generation = read(41) }, d, "41"},
		{Generation, "none expected", func(f facts, e want) { f.Generation, e.Generation = read(0), 0 }, u, "not known"},
		{Generation, "not read", func(f facts, _ want) { gone(&f.Generation) }, u, "in time"},

		{Kernel, "one of two", func(f facts, _ want) { f.Modules = read([]string{"6.6.0", release}) }, p, release},
		{Kernel, "another", func(f facts, _ want) { f.Kernel = read("6.12.10") }, d, "6.12.10 is running"},
		{Kernel, "not read", func(f facts, _ want) { gone(&f.Modules) }, u, "in time"},

		{LoaderDefault, "the profile's", func(facts, want) {}, p, store},
		{LoaderDefault, "an older one", func(f facts, _ want) { f.Loader = read(olderStore) }, d, olderStore},
		{LoaderDefault, "not read", func(f facts, _ want) { gone(&f.Loader); gone(&f.Profile) }, u, "in time"},

		{SystemState, "running", func(facts, want) {}, p, "running"},
		{SystemState, "degraded as before", func(f facts, e want) {
			f.State, f.Failed, e.FailedBefore = read("degraded"), read([]string{"a.service"}), []string{"a.service", "b.service"}
		}, p, `by units that failed before: "a.service"`},
		{SystemState, "degraded", func(f facts, _ want) { f.State, f.Failed = read("degraded"), read([]string{"a.service"}) }, d, "degraded"},
		{SystemState, "degraded, failed units not read", func(f facts, _ want) { f.State = read("degraded"); gone(&f.Failed) }, u, "in time"},
		{SystemState, "degraded by nothing", func(f facts, _ want) { f.State = read("degraded") }, d, "degraded"},
		{SystemState, "starting", func(f facts, _ want) { f.State = read("starting") }, d, "starting"},
		{SystemState, "initializing", func(f facts, _ want) { f.State = read("initializing") }, d, "initializing"},
		{SystemState, "stopping", func(f facts, _ want) { f.State = read("stopping") }, d, "stopping"},
		{SystemState, "maintenance", func(f facts, _ want) { f.State = read("maintenance") }, d, "maintenance"},
		{SystemState, "offline", func(f facts, _ want) { f.State = read("offline") }, u, "offline"},
		{SystemState, "something else", func(f facts, _ want) { f.State = read("running\x1b") }, u, `running\x1b`},
		{SystemState, "not read", func(f facts, _ want) { gone(&f.State) }, u, "in time"},

		{FailedUnits, "none", func(facts, want) {}, p, "none"},
		{FailedUnits, "those of before", func(f facts, e want) { f.Failed, e.FailedBefore = read([]string{"a.service"}), []string{"a.service"} }, p, "a.service"},
		{FailedUnits, "another", func(f facts, e want) {
			f.Failed, e.FailedBefore = read([]string{"a.service", "b.service"}), []string{"a.service"}
			f.Journals["b.service"] = "it broke\n\x1b[2J"
		}, d, `"b.service"; "b.service" says "it broke\n\x1b[2J"`},
		{FailedUnits, "not read", func(f facts, e want) { gone(&f.Failed); e.FailedBefore = []string{"a.service"} }, u, "in time"},

		{Units, "active", func(facts, want) {}, p, "all"},
		{Units, "by another name", func(f facts, _ want) {
			edit(&f.Units, func(u *[]Unit) { (*u)[2].Names = []string{"ssh.service", "sshd.service"} })
		}, p, "all"},
		{Units, "failed", func(f facts, _ want) { edit(&f.Units, func(u *[]Unit) { (*u)[0].Active = "failed" }) }, d, `k3s.service is "failed"`},
		{Units, "activating", func(f facts, _ want) { edit(&f.Units, func(u *[]Unit) { (*u)[0].Active = "activating" }) }, d, "activating"},
		{Units, "not there", func(f facts, _ want) {
			edit(&f.Units, func(u *[]Unit) { (*u)[1].Load, (*u)[1].Active = "not-found", "inactive" })
		}, d, "tailscaled.service is not there"},
		{Units, "one not asked for", func(_ facts, e want) { e.Units = append(e.Units, "x.service") }, u, "says nothing of"},
		{Units, "none wanted", func(_ facts, e want) { e.Units = nil }, u, "no unit"},
		{Units, "not read", func(f facts, _ want) { gone(&f.Units) }, u, "in time"},

		{tailnet.State, "running", func(facts, want) {}, p, "Running"},
		{tailnet.State, "stopped", func(f facts, _ want) { f.Tailscale.v.BackendState = "Stopped" }, d, "Stopped"},
		{tailnet.State, "not read", func(f facts, _ want) { gone(&f.Tailscale) }, u, "in time"},
		{tailnet.Online, "online", func(facts, want) {}, p, ""},
		{tailnet.Online, "offline", func(f facts, _ want) { f.Tailscale.v.Self.Online = false }, d, ""},
		{tailnet.Online, "not read", func(f facts, _ want) { gone(&f.Tailscale) }, u, "in time"},
		{tailnet.Key, "valid", func(facts, want) {}, p, "2222"},
		{tailnet.Key, "by the node's clock", func(f facts, _ want) { f.Now = read(time.Date(2221, 12, 30, 0, 0, 0, 0, time.UTC)) }, d, "2222"},
		{tailnet.Key, "no clock", func(f facts, _ want) { gone(&f.Now) }, u, "in time"},
		{tailnet.Health, "well", func(facts, want) {}, p, ""},
		{tailnet.Health, "ill", func(f facts, _ want) { f.Tailscale.v.Health = []string{"no DNS"} }, d, "no DNS"},
		{tailnet.Health, "not read", func(f facts, _ want) { gone(&f.Tailscale) }, u, "in time"},

		{K3sNode, "ready", func(facts, want) {}, p, `Ready is "True", boot ` + bootNow},
		{K3sNode, "the only node, by another name", func(f facts, _ want) { f.K3s.v.Nodes[0].Meta.Name = "default" }, p, "True"},
		{K3sNode, "one of two", func(f facts, _ want) {
			edit(&f.K3s, func(c **Cluster) { (*c).Nodes = append([]Node{{}}, (*c).Nodes...) })
		}, p, "True"},
		{K3sNode, "a report from before the reboot", func(f facts, _ want) { f.K3s.v.Nodes[0].Status.Info.BootID = bootBefore }, d, bootBefore},
		{K3sNode, "no report", func(f facts, _ want) { f.K3s.v.Nodes[0].Status.Info.BootID = "" }, d, `""`},
		{K3sNode, "not ready", func(f facts, _ want) { f.K3s.v.Nodes[0].Status.Conditions[0].Status = "Unknown" }, d, "Unknown"},
		{K3sNode, "no condition", func(f facts, _ want) { f.K3s.v.Nodes[0].Status.Conditions = nil }, u, "no condition"},
		{K3sNode, "others only", func(f facts, _ want) { f.K3s.v.Nodes = make([]Node, 2) }, d, "no node"},
		{K3sNode, "not read", func(f facts, _ want) { gone(&f.K3s) }, u, "in time"},
		{K3sNode, "no boot id", func(f facts, _ want) { gone(&f.BootID); f.K3s.v.Nodes[0].Status.Info.BootID = "" }, u, "in time"},

		{K3sWorkloads, "all up", func(facts, want) {}, p, "2 of 2"},
		{K3sWorkloads, "one named", func(_ facts, e want) { e.Containers, e.Deployments = nil, []string{"rustdesk/hbbs"} }, p, "1 of 1"},
		{K3sWorkloads, "several replicas", func(f facts, _ want) { f.scale(0, 3, 3, 3, 3, 3) }, p, "2 of 2"},
		{K3sWorkloads, "one not available", func(f facts, _ want) { f.scale(0, 3, 3, 3, 2, 3) }, d, "2 available"},
		{K3sWorkloads, "one not updated", func(f facts, _ want) { f.scale(0, 3, 3, 2, 3, 3) }, d, "2 updated"},
		{K3sWorkloads, "one not ready", func(f facts, _ want) { f.scale(0, 3, 3, 3, 3, 2) }, d, "2 ready"},
		{K3sWorkloads, "one too many", func(f facts, _ want) { f.scale(0, 1, 2, 1, 1, 1) }, d, "has 2"},
		{K3sWorkloads, "scaled to nothing", func(f facts, _ want) { f.scale(0, 0, 0, 0, 0, 0) }, d, "nothing"},
		{K3sWorkloads, "no number of replicas is one", func(f facts, _ want) { f.K3s.v.Deployments[0].Spec.Replicas = nil }, p, "2 of 2"},
		{K3sWorkloads, "a status that is behind", func(f facts, _ want) { f.K3s.v.Deployments[0].Meta.Generation++ }, d, "generation 4, and its status of 3"},
		{K3sWorkloads, "a named one is missing", func(_ facts, e want) { e.Deployments = []string{"x/y"} }, d, "x/y"},
		{K3sWorkloads, "none is meant", func(_ facts, e want) { e.Containers = nil }, u, "no deployment"},
		{K3sWorkloads, "a report from before the reboot", func(f facts, _ want) { f.K3s.v.Nodes[0].Status.Info.BootID = bootBefore }, u, "not of this boot"},
		{K3sWorkloads, "an empty cluster", func(f facts, _ want) { f.K3s = read(no(f.K3s)) }, u, "not of this boot"},
		{K3sWorkloads, "not read", func(f facts, _ want) { gone(&f.K3s) }, u, "in time"},

		{K3sContainers, "running", func(facts, want) {}, p, "all"},
		{K3sContainers, "two seconds of slack", func(f facts, _ want) {
			f.container("hbbs").State.Running.StartedAt = at.Add(-10*time.Minute - 2*time.Second)
		}, p, "all"},
		{K3sContainers, "started before the boot", func(f facts, _ want) {
			f.container("hbbs").State.Running.StartedAt = at.Add(-10*time.Minute - 3*time.Second)
		}, d, "before the boot"},
		{K3sContainers, "started when the clock was ahead", func(f facts, _ want) {
			f.container("hbbs").State.Running.StartedAt = at.Add(time.Hour)
		}, d, "yet to come"},
		{K3sContainers, "no start", func(f facts, _ want) { f.container("hbbs").State.Running.StartedAt = time.Time{} }, d, "before the boot"},
		{K3sContainers, "not ready", func(f facts, _ want) { f.container("hbbr").Ready = false }, d, `"hbbr" in "rustdesk/hbbr-abc" is not ready`},
		{K3sContainers, "waiting", func(f facts, _ want) { f.state("hbbs", `{"waiting":{"reason":"CrashLoopBackOff\u001b"}}`) }, d, `CrashLoopBackOff\x1b`},
		{K3sContainers, "ended", func(f facts, _ want) { f.state("hbbs", `{"terminated":{"reason":"Error"}}`) }, d, "has ended"},
		{K3sContainers, "no state", func(f facts, _ want) { f.state("hbbs", `{}`) }, d, "not running"},
		{K3sContainers, "being deleted", func(f facts, _ want) { f.K3s.v.Pods[0].Meta.Deletion = &at }, d, "in no pod"},
		{K3sContainers, "on another node", func(f facts, _ want) { f.K3s.v.Pods[0].Spec.Node = "edge-2" }, d, "in no pod"},
		{K3sContainers, "an old pod beside the good one", func(f facts, _ want) {
			old := f.K3s.v.Pods[0]
			old.Status.Containers = []Container{{Name: "hbbs"}}
			f.K3s.v.Pods = append([]Pod{old}, f.K3s.v.Pods...)
		}, p, "all"},
		{K3sContainers, "no pod", func(f facts, _ want) { f.K3s.v.Pods = nil }, d, "in no pod"},
		{K3sContainers, "no node", func(f facts, _ want) { f.K3s = read(no(f.K3s)) }, d, "no node"},
		{K3sContainers, "none wanted", func(_ facts, e want) { e.Containers = nil }, u, "no container"},
		{K3sContainers, "no boot time", func(f facts, _ want) { gone(&f.Boot) }, u, "in time"},

		{Ports, "all", func(facts, want) {}, p, "all"},
		{Ports, "one refused", func(f facts, _ want) { f.Ports.v[6443] = false }, d, "6443"},
		{Ports, "one silent", func(f facts, _ want) { delete(f.Ports.v, 21116) }, d, "none on port 21116"},
		{Ports, "none wanted", func(_ facts, e want) { e.Ports = nil }, u, "no port"},
		{Ports, "not read", func(f facts, _ want) { gone(&f.Ports) }, u, "in time"},

		{Secrets, "there", func(facts, want) {}, p, "1 secrets"},
		{Secrets, "without names", func(_ facts, e want) { e.Secrets = nil }, p, "1 secrets"},
		{Secrets, "one missing", func(_ facts, e want) { e.Secrets = append(e.Secrets, "b\n") }, d, "missing"},
		{Secrets, "readable by all", func(f facts, _ want) { f.file("/run/secrets/restic/password").Mode = 0o444 }, d, "0444"},
		{Secrets, "writable by all", func(f facts, _ want) { f.file("/run/secrets/restic/password").Mode = 0o602 }, d, "0602"},
		{Secrets, "empty", func(f facts, e want) { f.Files, e.Secrets = read(f.Files.v[:2]), nil }, d, "none"},
		{Secrets, "not there", func(f facts, e want) { f.Files, e.Secrets = read([]File(nil)), nil }, d, "none"},
		{Secrets, "another kind of thing", func(f facts, _ want) { f.file("/run/secrets/restic/password").Type = "l" }, d, "is no file"},
		{Secrets, "not read", func(f facts, e want) { gone(&f.Files); e.Secrets = nil }, u, "in time"},

		{AgeKey, "in place", func(facts, want) {}, p, "root alone"},
		{AgeKey, "readable by others", func(f facts, _ want) { f.file(ageFile).Mode = 0o640 }, d, "0640"},
		{AgeKey, "an open directory", func(f facts, _ want) { f.file("/var/lib/sops-nix").Mode = 0o755 }, d, "0755"},
		{AgeKey, "empty", func(f facts, _ want) { f.file(ageFile).Size = 0 }, d, "is empty"},
		{AgeKey, "of another user", func(f facts, _ want) { f.file(ageFile).UID = 1000 }, d, "1000:0"},
		{AgeKey, "of another group", func(f facts, _ want) { f.file("/var/lib/sops-nix").GID = 100 }, d, "0:100"},
		{AgeKey, "a directory", func(f facts, _ want) { f.file(ageFile).Type = "d" }, d, "type"},
		{AgeKey, "elsewhere", func(f facts, e want) { elsewhere(f, e, 0o755) }, p, "root alone"},
		{AgeKey, "elsewhere, in a directory of everybody's", func(f facts, e want) { elsewhere(f, e, 0o777) }, d, "/persist has mode 0777"},
		{AgeKey, "not there", func(f facts, _ want) { f.Files.v = f.Files.v[:4] }, d, "key.txt is not there"},
		{AgeKey, "not read", func(f facts, _ want) { gone(&f.Files) }, u, "in time"},

		{RootLoginConfig, "no", func(facts, want) {}, p, `"no"`},
		{RootLoginConfig, "with passwords for others", func(f facts, _ want) { f.SSHD.v["passwordauthentication"] = "yes" }, p, "besides passwordauthentication"},
		{RootLoginConfig, "yes", func(f facts, _ want) { f.SSHD.v["permitrootlogin"] = "yes" }, d, "yes"},
		{RootLoginConfig, "with a key", func(f facts, _ want) { f.SSHD.v["permitrootlogin"] = "without-password" }, d, "without-password"},
		{RootLoginConfig, "not said", func(f facts, _ want) { delete(f.SSHD.v, "permitrootlogin") }, d, `""`},
		{RootLoginConfig, "not read", func(f facts, _ want) { gone(&f.SSHD) }, u, "in time"},

		{BootSpace, "enough", func(facts, want) {}, p, "1024 MiB"},
		{BootSpace, "just enough", func(f facts, e want) { e.MinBootFree = 1 << 30 }, p, "1024 MiB"},
		{BootSpace, "not enough", func(f facts, e want) { e.MinBootFree = 1<<30 + 1 }, d, "1024 MiB"},
		{BootSpace, "no minimum", func(f facts, e want) { e.MinBootFree = 0 }, u, "not known"},
		{BootSpace, "not read", func(f facts, _ want) { gone(&f.BootSpace) }, u, "in time"},
		{StoreSpace, "enough", func(facts, want) {}, p, "MiB"},
		{StoreSpace, "not enough", func(f facts, _ want) { f.StoreSpace.v.FreeBytes = 1 << 20 }, d, "1 MiB"},
		{StoreSpace, "no inode", func(f facts, _ want) { f.StoreSpace.v.FreeInodes = 0 }, d, "no free inode"},
		{StoreSpace, "a file system without inodes", func(f facts, _ want) { f.StoreSpace.v.Inodes, f.StoreSpace.v.FreeInodes = 0, 0 }, p, "MiB"},
		{StoreSpace, "not read", func(f facts, _ want) { gone(&f.StoreSpace) }, u, "in time"},

		{Architecture, "right", func(facts, want) {}, p, "aarch64"},
		{Architecture, "another", func(f facts, _ want) { f.Arch = read("x86_64") }, d, "x86_64"},
		{Architecture, "not asked", func(_ facts, e want) { e.Architecture = "" }, u, "not known"},
		{Architecture, "not read", func(f facts, _ want) { gone(&f.Arch) }, u, "in time"},
		{Memory, "enough", func(facts, want) {}, p, "6144 MiB"},
		{Memory, "just enough", func(f facts, _ want) { f.Memory = read(uint64(5 << 30)) }, p, "5120 MiB"},
		{Memory, "too little", func(f facts, _ want) { f.Memory = read(uint64(5<<30 - 1)) }, d, "5119 MiB"},
		{Memory, "not asked", func(_ facts, e want) { e.MinMemory = 0 }, u, "not known"},
		{Memory, "not read", func(f facts, _ want) { gone(&f.Memory) }, u, "in time"},
		{RootLabel, "right", func(facts, want) {}, p, `"cloudimg-rootfs" on /dev/sda1`},
		{RootLabel, "another", func(f facts, _ want) { f.disk("/dev/sda1").Label = "root" }, d, `"root" on /dev/sda1`},
		{RootLabel, "none", func(f facts, _ want) { f.disk("/dev/sda1").Label = "" }, d, `"" on /dev/sda1`},
		{RootLabel, "on two", func(f facts, _ want) { f.disk("/dev/sda15").Label = "cloudimg-rootfs" }, d, `"/dev/sda1", "/dev/sda15"`},
		{RootLabel, "no root", func(f facts, _ want) { f.disk("/dev/sda1").Mountpoints = nil }, u, "no disk is mounted on /"},
		{RootLabel, "not asked", func(_ facts, e want) { e.RootLabel = "" }, u, "not known"},
		{RootLabel, "not read", func(f facts, _ want) { gone(&f.Disks) }, u, "in time"},
		{ESP, "right", func(facts, want) {}, p, `/dev/sda15, "vfat" of 100 MiB, 90 MiB free`},
		{ESP, "another label", func(f facts, _ want) { f.disk("/dev/sda15").Label = "EFI" }, d, `"EFI" on /dev/sda15`},
		{ESP, "on two", func(f facts, _ want) { f.disk("/dev/sda").Label = "UEFI" }, d, `"/dev/sda", "/dev/sda15"`},
		{ESP, "no FAT", func(f facts, _ want) { f.disk("/dev/sda15").Type = "ext4" }, d, `"ext4"`},
		{ESP, "too small", func(_ facts, e want) { e.MinESP = 101 << 20 }, d, "100 MiB"},
		{ESP, "too full", func(_ facts, e want) { e.MinESPFree = 91 << 20 }, d, "90 MiB free"},
		{ESP, "not mounted", func(f facts, _ want) { f.disk("/dev/sda15").Free = nil }, u, "not mounted"},
		{ESP, "not asked", func(_ facts, e want) { e.ESPLabel = "" }, u, "not known"},
		{ESP, "not read", func(f facts, _ want) { gone(&f.Disks) }, u, "in time"},
		{Clock, "right", func(facts, want) {}, p, "0s"},
		{Clock, "a part of a second", func(_ facts, e want) { e.Now = at.Add(5*time.Second + 900*time.Millisecond) }, p, "-5s"},
		{Clock, "behind", func(f facts, _ want) { f.Now = read(at.Add(-6 * time.Second)) }, d, "-6s"},
		{Clock, "ahead", func(f facts, _ want) { f.Now = read(at.Add(6 * time.Second)) }, d, "6s"},
		{Clock, "not asked", func(_ facts, e want) { e.MaxSkew = 0 }, u, "not known"},
		{Clock, "no time of the runner's", func(_ facts, e want) { e.Now = time.Time{} }, u, "not known"},
		{Clock, "not read", func(f facts, _ want) { gone(&f.Now) }, u, "in time"},
	}
	seen := map[string]bool{}
	for _, c := range cases {
		seen[c.id+string(c.want)] = true
		f, e := good(t)
		c.change(f, &e)
		i := slices.IndexFunc(Judge(f, e), func(v verdict.Check) bool { return v.ID == c.id })
		got := Judge(f, e)[i]
		if got.Verdict != c.want || !strings.Contains(got.Got, c.got) || strings.ContainsAny(got.Wanted+got.Got+got.Hint, "\n\r\x1b") || (got.Hint == "") != (c.want == p) {
			t.Errorf("%s, %s: %+v, want %s and %q", c.id, c.name, got, c.want, c.got)
		}
	}
	for _, c := range table() {
		for _, v := range []verdict.Verdict{p, d, u} {
			if !seen[c.id+string(v)] {
				t.Errorf("no case of %s that is %s", c.id, v)
			}
		}
	}
}

func (f *Facts) scale(i int, want, replicas, updated, available, ready int64) {
	d := &f.K3s.v.Deployments[i]
	d.Spec.Replicas = &want
	d.Status.Replicas, d.Status.Updated, d.Status.Available, d.Status.Ready = replicas, updated, available, ready
}

func (f *Facts) state(container, state string) {
	c := f.container(container)
	c.State.Running = nil
	if err := json.Unmarshal([]byte(state), &c.State); err != nil {
		panic(err)
	}
}

func TestNothingReadIsUnproven(t *testing.T) {
	_, e := good(t)
	empty, err := Parse([]byte(`{"schema":"` + Schema + `","facts":{},"complete":true}`))
	if err != nil {
		t.Fatal(err)
	}
	failed, err := Parse(document(t, map[string]string{}, "text", "systemd", "tailscale", "k3s", "ports", "secrets", "sshd", "oci", "grub"))
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*Facts{"zero": {}, "no facts": empty, "failed facts": failed} {
		for _, want := range []Expect{e, {}} {
			for _, c := range Judge(f, want) {
				if c.Verdict != verdict.Unproven || c.Got == "" || c.Hint == "" {
					t.Errorf("%s: %+v", name, c)
				}
			}
		}
	}
}

// document builds a probe's document of facts, and of commands that failed.
func document(t testing.TB, facts map[string]string, failed ...string) []byte {
	t.Helper()
	zero, one := 0, 1
	all := map[string]fact{}
	for name, out := range facts {
		all[name] = fact{Exit: &zero, Out: []byte(out)}
	}
	for _, name := range failed {
		all[name] = fact{Exit: &one, Out: []byte(facts[name]), Err: []byte("it broke")}
	}
	out := map[string]any{"schema": Schema, "complete": true}
	rows := map[string]any{}
	for name, x := range all {
		rows[name] = map[string]any{"exit": x.Exit, "out": x.Out, "err": x.Err}
	}
	out["facts"] = rows
	b, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// No single fact can go missing, fail or be cut off, and its checks stay
// proven.
func TestEveryFactIsNeeded(t *testing.T) {
	r := newRig(t)
	whole := map[string]string{}
	var doc struct{ Facts map[string]fact }
	if err := json.Unmarshal(r.document("dash", all, r.expect()), &doc); err != nil {
		t.Fatal(err)
	}
	for name, x := range doc.Facts {
		whole[name] = string(x.Out)
	}
	proven := func(data []byte) (ids []string) {
		f, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		for id, v := range verdicts(Judge(f, r.expect())) {
			if v == verdict.Proven {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		return ids
	}
	before := proven(document(t, whole))
	tail := []string{tailnet.State, tailnet.Online, tailnet.Key, tailnet.Health}
	needs := map[string][]string{
		"text": slices.Concat([]string{HostIdentity, BootID, BootedSystem, System, LiveSystem, Generation, Kernel, LoaderDefault, K3sNode, K3sWorkloads, K3sContainers, BootSpace, StoreSpace, Clock, Architecture, Memory}, tail),
		"disk": {RootLabel, ESP},
		"k3s":  {K3sNode, K3sWorkloads, K3sContainers}, "systemd": {SystemState, FailedUnits, Units}, "tailscale": tail,
		"ports": {Ports}, "secrets": {Secrets, AgeKey}, "sshd": {RootLoginConfig}, "oci": {HostIdentity},
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(needs)), slices.Sorted(maps.Keys(whole))); diff != "" {
		t.Fatal(diff)
	}
	for name, ids := range needs {
		want := slices.DeleteFunc(slices.Clone(before), func(id string) bool { return slices.Contains(ids, id) })
		without := maps.Clone(whole)
		delete(without, name)
		cut := maps.Clone(whole)
		cut[name] = whole[name][:len(whole[name])/2]
		empty := maps.Clone(whole)
		empty[name] = ""
		for how, data := range map[string][]byte{
			"missing": document(t, without), "failed": document(t, whole, name), "cut off": document(t, cut), "empty": document(t, empty),
		} {
			if name == "sshd" && how == "cut off" { // the line that counts comes first
				continue
			}
			if diff := cmp.Diff(want, proven(data)); diff != "" {
				t.Errorf("%s %s: %s", name, how, diff)
			}
		}
	}
}

func TestKnownIDs(t *testing.T) {
	f, e := good(t)
	known := KnownIDs()
	if sorted := slices.Compact(slices.Sorted(slices.Values(known))); len(sorted) != len(known) {
		t.Errorf("twice: %q", known)
	}
	got := []string{}
	for _, c := range Judge(f, e) {
		got = append(got, c.ID)
	}
	got = append(got, RootLoginRefused(t.Context(), sshx.Target{Config: "none"}, sshx.Options{}).ID, PortClosed(t.Context(), "", 0).ID)
	if diff := cmp.Diff(known, got); diff != "" {
		t.Error(diff)
	}
	for _, id := range known {
		if id != strings.ToLower(id) || strings.ContainsAny(id, " _") {
			t.Errorf("%q", id)
		}
	}
	// The four checks of the tailnet are all that it has.
	for _, c := range f.Tailscale.v.Check(at, 0) {
		if !slices.Contains(known, c.ID) {
			t.Errorf("the tailnet's check %s is not known", c.ID)
		}
	}
}

func TestParse(t *testing.T) {
	whole := document(t, map[string]string{"unheard-of": "x"})
	for name, test := range map[string]struct{ data, want string }{
		"nothing":          {"", "empty"},
		"blanks":           {" \n", "empty"},
		"a greeting":       {"Welcome!\n" + string(whole), "Welcome"},
		"something after":  {string(whole) + "{}", "after it"},
		"another schema":   {strings.Replace(string(whole), "probe/v1", "probe/v2", 1), "probe/v2"},
		"not complete":     {strings.Replace(string(whole), `"complete":true`, `"complete":false`, 1), "not complete"},
		"complete unsaid":  {`{"schema":"` + Schema + `","facts":{}}`, "not complete"},
		"no exit":          {`{"schema":"` + Schema + `","facts":{"x":{"out":""}},"complete":true}`, "how it ended"},
		"a null":           {`{"schema":"` + Schema + `","facts":{"x":null},"complete":true}`, "how it ended"},
		"no base64":        {`{"schema":"` + Schema + `","facts":{"x":{"exit":0,"out":"\u001b"}},"complete":true}`, "base64"},
		"too large":        {strings.Repeat(" ", MaxDocument+1), "more than"},
		"control in place": {"\x1b[2J", `\x1b[2J`},
	} {
		_, err := Parse([]byte(test.data))
		if verdict.Reason(err) != "probe" || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range whole {
		if _, err := Parse(whole[:i]); err == nil {
			t.Fatalf("cut off at %d: %s", i, whole[:i])
		}
	}
	if _, err := Parse(whole); err != nil {
		t.Error(err)
	}
}

func TestCutOffSystemd(t *testing.T) {
	const whole = "state=degraded\nId=a.service\nActiveState=active\n\nId=b.service\nfailed:\nx.service loaded failed failed X\ny.service loaded failed failed Y\nend:\n"
	for i := range whole {
		if f, err := Parse(document(t, map[string]string{"systemd": whole[:i]})); err != nil || f.Failed.ok {
			t.Fatalf("%v: failed units of %q", err, whole[:i])
		}
	}
	f, err := Parse(document(t, map[string]string{"systemd": whole}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x.service", "y.service"}, f.Failed.v); diff != "" || f.State.v != "degraded" || len(f.Units.v) != 2 {
		t.Errorf("%s %+v", diff, f)
	}
}

func TestCutOffFiles(t *testing.T) {
	const whole = "d 700 0 0 40 run/secrets\x00f 400 0 0 5 run/secrets/a\nb\x00"
	for i := 1; i < len(whole); i++ {
		if got, err := parseFiles([]byte(whole[:i])); err == nil && whole[i-1] != 0 {
			t.Fatalf("%q: %v", whole[:i], got)
		}
	}
	got, err := parseFiles([]byte(whole))
	if want := []File{{Path: "/run/secrets", Type: "d", Mode: 0o700, Size: 40}, {Path: "/run/secrets/a\nb", Type: "f", Mode: 0o400, Size: 5}}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"f 888 0 0 5 a\x00", "f 600 -1 0 5 a\x00", "f 600 0 0 x a\x00", "f 600 0 0 5 \x00", "f 600 0 0 5\x00", "\x00"} {
		if got, err := parseFiles([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestReasons(t *testing.T) {
	l := lines{said: "sh: cannot open /proc/uptime\nsh: cd: can't cd to /run/booted-system\x1b\n"}
	for key, want := range map[string]string{"booted": `booted was not read: "sh: cd: can't cd to /run/booted-system\x1b"`, "kernel": "kernel was not read"} {
		if got := l.missing(key).Error(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for exit, want := range map[int]string{0: "", 1: "exit code 1", 124: "in time", 137: "in time", 127: "not there", -1: "more than it may", 153: "more than it may"} {
		err := (&fact{Exit: &exit, Err: []byte("why\x1b\n")}).failure()
		if (err == nil) != (want == "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `"why\x1b"`)) {
			t.Errorf("%d: %v", exit, err)
		}
	}
	if _, err := (Value[string]{}).Get(); err == nil {
		t.Error("a value that nobody read")
	}
	long := quote(strings.Repeat("é", 1000))
	if len(long) > 2*maxQuote || !strings.HasSuffix(long, "and more") {
		t.Errorf("%d bytes", len(long))
	}
	if got := list(strings.Fields(fmt.Sprint(strings.Repeat("x ", 20)))); !strings.HasSuffix(got, "and 12 more") {
		t.Error(got)
	}
}

// elsewhere has the key in a directory that is not sops-nix' own.
func elsewhere(f *Facts, e *Expect, mode uint32) {
	e.AgeKeyFile = "/persist/key.txt"
	f.Files = read([]File{{Path: "/persist", Type: "d", Mode: mode}, {Path: "/persist/key.txt", Type: "f", Mode: 0o600, Size: 189}})
}
