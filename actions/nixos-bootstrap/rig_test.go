package main

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/infecttest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/ocitest"

	"filippo.io/age"
)

// job is a job that makes one bare host of the lab a node. The cloud is a
// double whose rules open and close the host's real door.
type job struct {
	*jobtest.Job
	t     *testing.T
	cloud *ocitest.Server
	node  ocitest.Node
	host  *lab.Host
	tools string // colmena, nixos-rebuild, nixos-infect and nixos-anywhere

	mu    sync.Mutex
	doors []bool // what the door did
}

// runner is the lab's side of the bridge: where all the traffic comes from.
func runner(h *lab.Host) netip.Addr {
	a := netip.MustParseAddr(h.Address).As4()
	return netip.AddrFrom4([4]byte{a[0], a[1], a[2], 1})
}

func newJob(t *testing.T, l *lab.Lab, h *lab.Host, build ...func(*ocitest.World)) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run), t: t, host: h, tools: colmenatest.Install(t)}
	infecttest.Install(t, j.tools)
	j.Home = colmenatest.Home(t)
	j.Env = []string{"PATH=" + j.tools + ":" + os.Getenv("PATH"), "NIX_REMOTE=", "GITHUB_REPOSITORY=owner/infra", "GITHUB_RUN_ID=12", "GITHUB_RUN_ATTEMPT=1"}
	j.cloud = ocitest.New(t, append([]func(*ocitest.World){func(w *ocitest.World) {
		j.node = w.AddNode(h.Name, ocitest.WithPublicIP(h.Public), ocitest.WithPrivateIP(h.Address))
	}}, build...)...)
	j.cloud.OnChange(func(s ocitest.Snapshot) {
		open := s.Allowed(j.node.VNICID, runner(h), 22)
		j.mu.Lock()
		j.doors = append(j.doors, open)
		j.mu.Unlock()
		if err := h.Door(open); err != nil {
			t.Errorf("the door: %v", err)
		}
	})
	config, err := j.cloud.WriteConfig(j.Home)
	if err != nil {
		t.Fatal(err)
	}
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ageKey := filepath.Join(j.Home, "age-key.txt")
	write(t, ageKey, "# the node's\n"+key.String()+"\n")
	operator := strings.TrimSpace(read(t, l.Key+".pub"))
	colmenatest.WriteHive(t, j.Workspace, []colmenatest.Node{{Name: h.Name, TargetHost: h.Name + ".tailnet.invalid", AuthorizedKeys: []string{operator}, Label: "first"}})
	write(t, filepath.Join(j.Workspace, "flake.nix"), "{}\n")
	write(t, filepath.Join(j.Workspace, "nixos-infect"), string(infecttest.Infect()))
	j.set(lab.State{})
	for name, value := range map[string]string{
		"method": "nixos-infect", "node": h.Name, "instance_id": j.node.InstanceID, "host_keys": h.Name + " " + h.HostKey, "identity_file": l.Key, "ssh_config": "none",
		"source": runner(h).String(), "oci_config_file": config, "oci_endpoint": j.cloud.URL, "poll": "200ms", "stable": "1s", "probe_timeout": "3s",
		"connect_timeout": "5s", "open_timeout": "30s", "boot_timeout": "60s", "recover_timeout": "60s", "transition_timeout": "2m",
		"infect_script": "nixos-infect", "infect_sha256": fmt.Sprintf("%x", sha256.Sum256(infecttest.Infect())), "infect_env": "NIX_CHANNEL=nixos-25.11\nnewrootfslabel=cloudimg-rootfs",
		"architecture": "x86_64", "min_store_free_mib": "100", "age_key_file": ageKey, "age_recipient": key.Recipient().String(),
		"colmena_path": filepath.Join(j.tools, "colmena"), "nixos_rebuild_path": filepath.Join(j.tools, "nixos-rebuild"), "anywhere_path": filepath.Join(j.tools, "nixos-anywhere"), "runner_dir": filepath.Join(j.Home, "state"),
	} {
		j.Inputs[name] = value
	}
	return j
}

// set tells the host's doubles, which instance they are on too.
func (j *job) set(s lab.State) {
	s.InstanceID = j.node.InstanceID
	set(j.t, j.host, s)
}

func set(t *testing.T, h *lab.Host, s lab.State) {
	t.Helper()
	if err := h.SetState(s); err != nil {
		t.Fatal(err)
	}
}

func must(t *testing.T, h *lab.Host, script string) string {
	t.Helper()
	out, err := h.Run(script)
	if err != nil {
		t.Fatalf("%s on %s: %v", script, h.Name, err)
	}
	return out
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// opened is how often the door was open.
func (j *job) opened() (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, open := range j.doors {
		if open {
			n++
		}
	}
	return n
}

// shut fails unless no lease is left, nowhere.
func (j *job) shut() {
	j.t.Helper()
	for _, g := range j.cloud.World().NSGs {
		for _, r := range g.Rules {
			if strings.Contains(r.Description, "lease") {
				j.t.Errorf("a lease is left: %+v", r)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(j.Inputs["runner_dir"], "ingress", "*.json")); len(left) > 0 {
		j.t.Errorf("remembered: %v", left)
	}
}
