package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/handoff"
	"edge-actions/internal/testing/lab"

	"golang.org/x/crypto/ssh"
)

// tailscale puts a double of the command line on the runner, which knows one
// peer and answers for it: `status --json` (tailscale.com/ipn/ipnstate) and
// the line of `ping`. It leaves out everything that nobody reads.
func (j *job) tailscale(peer, address, pong string, hostKeys ...string) {
	j.t.Helper()
	status, err := json.Marshal(map[string]any{
		"Version": "1.102.5", "BackendState": "Running", "Health": nil, "CurrentTailnet": map[string]any{"MagicDNSSuffix": "tail0123.ts.example"},
		"Self": map[string]any{"HostName": "runner", "DNSName": "runner.tail0123.ts.example.", "TailscaleIPs": []string{"100.64.0.1"}, "Online": true},
		"Peer": map[string]any{"nodekey:02": map[string]any{
			"HostName": peer, "DNSName": peer + ".tail0123.ts.example.", "TailscaleIPs": []string{address}, "Online": true, "sshHostKeys": hostKeys,
		}},
	})
	if err != nil {
		j.t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\ncase $1 in\nstatus) cat <<'END'\n%s\nEND\n;;\nping) echo '%s'; exec sleep 100 ;;\nesac\n", status, pong)
	path := filepath.Join(j.Home, "tailscale")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		j.t.Fatal(err)
	}
	j.Inputs["tailnet"], j.Inputs["tailscale_path"] = "required", path
}

func TestLabTailnet(t *testing.T) {
	l := newLab(t, 1)
	h := l.Hosts[0]
	pong := fmt.Sprintf("pong from edge-1 (%s) via DERP(fra) in 9ms", h.Address)

	j := labJob(t, l, h)
	j.tailscale("edge-1", h.Address, pong)
	r := j.do()
	r.want(t)
	r.Says("tailnet-path: "+h.Address, "tailnet-ping: one via DERP(fra)")

	// The tailnet's word for the host key is enough, and it counts after
	// host_keys.
	delete(j.Inputs, "host_keys")
	j.tailscale("edge-1", h.Address, pong, h.HostKey)
	j.do().want(t)
	const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"
	j.tailscale("edge-1", h.Address, pong, other)
	j.do().want(t, "host-key-changed=disproven")
	j.Inputs["host_keys"] = h.Name + " " + h.HostKey
	j.do().want(t)

	// A name of the tailnet that ssh_config takes elsewhere.
	config := filepath.Join(j.Home, "ssh_config")
	if err := os.WriteFile(config, []byte("Host edge-1\n  HostName "+h.Address+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	j.Inputs["hosts"], j.Inputs["ssh_config"] = "", config
	j.tailscale("edge-1", "100.64.0.10", "pong from edge-1 (100.64.0.10) via DERP(fra) in 9ms")
	r = j.do()
	r.want(t, "tailnet-path=disproven")
	r.Says("one to "+h.Address, "100.64.0.10")
	j.Inputs["waive"] = "tailnet-path"
	j.do().want(t, "tailnet-path=disproven (waived)")

	// Nobody answers, or nobody has the name.
	delete(j.Inputs, "waive")
	j.Inputs["hosts"] = h.Name + "=" + h.Address
	j.tailscale("edge-1", h.Address, "no reply")
	j.do().want(t, "tailnet-ping=unproven")
	j.tailscale("edge-2", "100.64.0.10", "")
	j.do().want(t, "tailnet-peer=disproven")
}

// document is a handoff of the hosts.
func document(instance string, key string, names ...string) *handoff.Document {
	d := &handoff.Document{Schema: handoff.SchemaName, Context: handoff.Context{
		Repository: "operator/infra", Commit: strings.Repeat("0123456789", 4), RunID: "7", StateLineage: "5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a", StateSerial: 3,
		Created: time.Now().UTC().Truncate(time.Second),
	}}
	for i, name := range names {
		d.Nodes = append(d.Nodes, handoff.Node{
			Name: name, Hostname: name, InstanceID: instance, PrivateIP: fmt.Sprintf("10.0.0.%d", 11+i), VolumeAttachments: []handoff.VolumeAttachment{},
			Tags: map[string]string{}, SSHHostKey: key,
		})
	}
	return d
}

// handoff has the job read a document, which it also returns.
func (j *job) handoff(d *handoff.Document) []byte {
	j.t.Helper()
	data, err := d.Encode()
	if err != nil {
		j.t.Fatal(err)
	}
	path := filepath.Join(j.Home, "handoff.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		j.t.Fatal(err)
	}
	j.Inputs["handoff_path"], j.Inputs["handoff_sha256"] = path, fmt.Sprintf("%x", sha256.Sum256(data))
	return data
}

// bareKey is a public key without its comment, as a handoff has it.
func bareKey(key string) string { return strings.Join(strings.Fields(key)[:2], " ") }

func TestLabHandoff(t *testing.T) {
	const ocid = "ocid1.instance.oc1.eu-frankfurt-1.aaaa"
	l := newLab(t, 1)
	h := l.Hosts[0]
	set(t, h, lab.State{InstanceID: ocid})
	j := labJob(t, l, h)
	delete(j.Inputs, "nodes")
	delete(j.Inputs, "host_keys")
	j.handoff(document(ocid, bareKey(h.HostKey), h.Name))
	r := j.do()
	r.want(t)
	r.Says("hostname edge-1, instance id " + ocid)

	// Another instance has taken the name, and the key with it.
	j.handoff(document("ocid1.instance.oc1.eu-frankfurt-1.bbbb", bareKey(h.HostKey), h.Name))
	r = j.do()
	r.want(t, "host-identity=disproven")
	r.Says("instance id " + ocid)
	// The cloud does not say: nothing is proven.
	set(t, h, lab.State{})
	j.do().want(t, "host-identity=unproven")
	set(t, h, lab.State{InstanceID: ocid})

	// Its host key counts; host_keys goes before it.
	const other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"
	data := j.handoff(document(ocid, other, h.Name))
	j.do().want(t, "host-key-changed=disproven")
	j.Inputs["host_keys"] = h.Name + " " + h.HostKey
	j.do().want(t)

	// A signature does as well as a digest, and one of another key does not.
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.ParsePrivateKey(pem.EncodeToMemory(block))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := handoff.Sign(data, signer)
	if err == nil {
		err = os.WriteFile(j.Inputs["handoff_path"]+handoff.SignatureSuffix, signature, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	delete(j.Inputs, "handoff_sha256")
	j.Inputs["handoff_signer"] = string(ssh.MarshalAuthorizedKey(line))
	j.do().want(t)
	j.Inputs["handoff_signer"] = other
	if r := j.do(); r.Code != 1 || r.Outputs["failure_reason"] != "input-handoff_path" {
		t.Errorf("%q\n%s", r.Outputs["failure_reason"], r.Log)
	}
}
