// Command labhost is what a test host has instead of K3s, kubectl, tailscale,
// lsblk, findmnt and the cloud's metadata service: doubles that answer with the shapes of the
// real ones, from /var/lib/lab/state.json (lab.State), and that go wrong as it
// says. It is called by the name of the program that it stands for, or with
// that name as its first argument.
//
// Whose contracts it follows: `kubectl get nodes,deployments.apps,pods -A -o
// json` (Kubernetes API v1, apps/v1), `tailscale status --json`
// (tailscale.com/ipn/ipnstate), `lsblk --json --bytes --output …` and `findmnt
// --output … PATH` (util-linux 2.38), GET /opc/v2/instance/id (Oracle's instance
// metadata, which wants the header "Authorization: Bearer Oracle"). After a
// reboot K3s serves what the kubelet reported before it, until it reports
// again; so does this one. It leaves out everything that no check reads.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/testing/lab"
)

func main() {
	name, args := filepath.Base(os.Args[0]), os.Args[1:]
	if name == "labhost" && len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if err := run(name, args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	state, err := readState()
	if err != nil {
		return err
	}
	switch name {
	case "k3s":
		return serveK3s(state)
	case "kubectl":
		return kubectl(state, args)
	case "tailscale":
		return tailscale(state, args)
	case "lsblk":
		return lsblk(state, args)
	case "findmnt":
		return findmnt(state, args)
	case "metadata":
		return metadata()
	}
	return fmt.Errorf("labhost stands for no program of the name %q", name)
}

func readState() (lab.State, error) {
	var s lab.State
	data, err := os.ReadFile(lab.StateFile)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	return s, err
}

// tailscale prints the status of this node.
func tailscale(s lab.State, args []string) error {
	if len(args) < 2 || args[0] != "status" || args[1] != "--json" {
		return fmt.Errorf("this double of tailscale knows status --json, not %q", args)
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	backend := s.Tailscale.BackendState
	if backend == "" {
		backend = "Running"
	}
	self := map[string]any{
		"ID": "n1", "HostName": host, "DNSName": host + ".lab.ts.net.", "OS": "linux", "TailscaleIPs": []string{"100.64.0.10"},
		"Online": !s.Tailscale.Offline, "KeyExpiry": time.Now().Add(90 * 24 * time.Hour).UTC().Format(time.RFC3339), "Active": false,
	}
	if s.Tailscale.KeyExpiry != "" {
		self["KeyExpiry"] = s.Tailscale.KeyExpiry
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"Version": "1.102.5", "TUN": true, "BackendState": backend, "HaveNodeKey": true, "TailscaleIPs": []string{"100.64.0.10"},
		"Self": self, "Health": s.Tailscale.Health, "MagicDNSSuffix": "lab.ts.net",
		"CurrentTailnet": map[string]any{"Name": "lab", "MagicDNSSuffix": "lab.ts.net", "MagicDNSEnabled": true}, "Peer": nil,
	})
}

// metadata is the cloud's metadata service, as far as the instance's id goes.
func metadata() error {
	l, err := net.Listen("tcp", "169.254.169.254:80")
	if err != nil {
		return err
	}
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := readState()
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case !strings.EqualFold(r.Header.Get("Authorization"), "Bearer Oracle"):
			http.Error(w, "Forbidden", http.StatusForbidden)
		case r.URL.Path == "/opc/v2/instance/id" && s.InstanceID != "":
			fmt.Fprint(w, s.InstanceID)
		default:
			http.NotFound(w, r)
		}
	}))
}
