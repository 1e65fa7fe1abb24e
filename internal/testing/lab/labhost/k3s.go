package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/testing/lab"
)

const clusterFile = "/var/lib/lab/cluster.json"

// cluster is what the kubelet reported last; it outlives a reboot, as K3s'
// datastore does.
type cluster struct {
	BootID  string    `json:"boot_id"`
	Started time.Time `json:"started"` // of the containers
}

// serveK3s holds the ports open, and reports this boot after a while.
func serveK3s(s lab.State) error {
	for _, port := range []int{6443, 21115, 21116, 21117} {
		if slices.Contains(s.K3s.ClosedPorts, port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			return err
		}
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close()
			}
		}()
	}
	time.Sleep(time.Duration(s.K3s.ReportAfterSeconds * float64(time.Second)))
	if err := report(s); err != nil {
		return err
	}
	select {}
}

func report(s lab.State) error {
	boot, err := bootID()
	if err != nil {
		return err
	}
	var c cluster
	first := false
	data, err := os.ReadFile(clusterFile)
	switch {
	case errors.Is(err, os.ErrNotExist):
		first = true
	case err != nil:
		return err
	default:
		if err := json.Unmarshal(data, &c); err != nil {
			return err
		}
	}
	if !first && s.K3s.StaleStatus {
		return nil
	}
	if c.BootID == boot {
		return nil // a restart of K3s leaves the containers running
	}
	c.BootID = boot
	if first || !s.K3s.StaleContainers {
		c.Started = time.Now().UTC()
	}
	if data, err = json.Marshal(c); err != nil {
		return err
	}
	temp := clusterFile + ".tmp"
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, clusterFile)
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// kubectl answers `get … -o json` with the node, the deployments and the pods.
func kubectl(s lab.State, args []string) error {
	if !slices.Contains(args, "get") || !slices.Contains(args, "json") {
		return fmt.Errorf("this double of kubectl knows get … -o json, not %q", args)
	}
	conn, err := net.DialTimeout("tcp", "127.0.0.1:6443", time.Second)
	if err != nil {
		return errors.New("The connection to the server 127.0.0.1:6443 was refused - did you specify the right host or port?") //nolint:staticcheck // kubectl's own words
	}
	conn.Close()
	var c cluster
	data, err := os.ReadFile(clusterFile)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return fmt.Errorf("Error from server (NotFound): %w", err) //nolint:staticcheck // kubectl's own words
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	nodeName := strings.ToLower(host)
	items := []any{node(s, c, nodeName)}
	for _, name := range []string{"hbbs", "hbbr"} {
		items = append(items, deployment(s, name))
	}
	for _, name := range []string{"hbbs", "hbbr"} {
		if !slices.Contains(s.K3s.Missing, name) {
			items = append(items, pod(c, nodeName, "rustdesk", name))
		}
	}
	items = append(items, pod(c, nodeName, "kube-system", "coredns"))
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""}, "items": items})
}

func node(s lab.State, c cluster, name string) any {
	ready := "True"
	if s.K3s.NotReady {
		ready = "False"
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{"name": name, "uid": "8c0a9f2e-0000-4000-8000-000000000001"},
		"status": map[string]any{
			"conditions": []any{
				map[string]any{"type": "MemoryPressure", "status": "False", "reason": "KubeletHasSufficientMemory"},
				map[string]any{"type": "Ready", "status": ready, "reason": "KubeletReady", "message": "kubelet is posting ready status"},
			},
			"nodeInfo": map[string]any{"bootID": c.BootID, "kubeletVersion": "v1.33.1+k3s1", "operatingSystem": "linux"},
		},
	}
}

func deployment(s lab.State, name string) any {
	observed, ready := 3, 1
	if s.K3s.StaleGeneration {
		observed = 2
	}
	if slices.Contains(s.K3s.Missing, name) {
		ready = 0
	}
	labels := map[string]any{"app": name}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": name, "namespace": "rustdesk", "generation": 3},
		"spec": map[string]any{
			"replicas": 1, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{map[string]any{"name": name, "image": "rustdesk/rustdesk-server:1.1.14"}}}},
		},
		"status": map[string]any{"observedGeneration": observed, "replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready},
	}
}

func pod(c cluster, on, namespace, name string) any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name + "-7c9f8d6b5-x2x4z", "namespace": namespace, "labels": map[string]any{"app": name}},
		"spec":     map[string]any{"nodeName": on, "containers": []any{map[string]any{"name": name}}},
		"status": map[string]any{
			"phase": "Running",
			"containerStatuses": []any{map[string]any{
				"name": name, "ready": true, "started": true, "restartCount": 0,
				"state": map[string]any{"running": map[string]any{"startedAt": c.Started.Format(time.RFC3339)}},
			}},
		},
	}
}
