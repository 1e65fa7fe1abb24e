package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/testing/sshdtest"
)

// The restore is right and the way to the host is not: the verdict is of both.
func TestTheWayDecidesToo(t *testing.T) {
	t.Parallel()
	j := newJob(t)
	j.backup()
	host := sshdtest.Start(t)
	config := filepath.Join(j.Home, "ssh_config")
	write(t, config, fmt.Sprintf("Host edge-1\n  HostName 127.0.0.1\n  Port %d\n  User %s\n", host.Port, host.User))
	for name, value := range map[string]string{
		"run_on": "edge-1", "ssh_config": config, "host_keys": "edge-1 " + host.HostKey, "identity_file": host.Identity, "agent_dir": filepath.Join(t.TempDir(), "agents"), "tailnet": "off",
	} {
		j.Inputs[name] = value
	}
	r := j.Do()
	r.Want("")
	if r.Outputs["verdict"] != "proven" || r.Outputs["restored_files"] == "" {
		t.Fatalf("%v\n%s", r.Outputs, r.Log)
	}
	j.clean(r)

	// The tailnet knows the host by an address that was not the one it has here.
	j.Inputs["tailnet"], j.Inputs["tailscale_path"] = "required", tailscale(t, "edge-1", "100.64.0.10")
	r = j.Do()
	r.Want("", "tailnet-path=disproven")
	if r.Outputs["verdict"] != "disproven" || r.Outputs["restored_files"] == "" {
		t.Errorf("the output verdict leaves the way out: %v\n%s", r.Outputs, r.Log)
	}
	j.clean(r)
}

// tailscale is a double of the command line, of which only `status --json` is
// asked for (tailscale.com/ipn/ipnstate): a runner that is on the tailnet, and
// one peer.
func tailscale(t *testing.T, peer, address string) string {
	t.Helper()
	machine := func(name, address string) map[string]any {
		return map[string]any{"HostName": name, "DNSName": name + ".tail0123.ts.example.", "TailscaleIPs": []string{address}, "Online": true}
	}
	status, err := json.Marshal(map[string]any{
		"Version": "1.102.5", "BackendState": "Running", "Health": nil, "CurrentTailnet": map[string]any{"MagicDNSSuffix": "tail0123.ts.example"},
		"Self": machine("runner", "100.64.0.1"), "Peer": map[string]any{"nodekey:02": machine(peer, address)},
	})
	must(t, err)
	path := filepath.Join(t.TempDir(), "tailscale")
	must(t, os.WriteFile(path, []byte("#!/bin/sh\ncat <<'END'\n"+string(status)+"\nEND\n"), 0o700))
	return path
}
