package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/bootstrap"
	"edge-actions/internal/ingress"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/ocitest"
)

type job struct {
	*jobtest.Job
	cloud *ocitest.Server
	node  ocitest.Node
}

func newJob(t *testing.T) *job {
	t.Helper()
	j := &job{Job: jobtest.New(t, metadata, run)}
	j.cloud = ocitest.New(t, func(w *ocitest.World) { j.node = w.AddNode("edge-1", ocitest.WithPublicIP("")) })
	config, err := j.cloud.WriteConfig(j.Home)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"oci_config_file": config, "oci_endpoint": j.cloud.URL, "poll": "100ms", "instance_ids": j.node.InstanceID, "runner_dir": filepath.Join(j.Home, "state"), "probe_timeout": "3s",
	} {
		j.Inputs[name] = value
	}
	return j
}

// lease adds a rule that says it is a lease.
func (j *job) lease(expires, made time.Time) (id string) {
	m := ingress.Marker{Nonce: strings.Repeat("ab", 16), Expires: expires, Node: "edge-1", Run: "owner/infra#12.1"}
	j.cloud.Change(func(w *ocitest.World) {
		r := ocitest.SSHFrom("198.51.100.7/32", m.Description())
		r.TimeCreated = &made
		id = w.AddRule(j.node.NSGID, r)
	})
	return id
}

func doors(t *testing.T, r *jobtest.Result) (list []bootstrap.DoorState) {
	t.Helper()
	if err := json.Unmarshal([]byte(r.Outputs["doors"]), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestSweep(t *testing.T) {
	j := newJob(t)
	now := j.cloud.Now()
	r := j.Do()
	r.Want("")
	if r.Outputs["public_ssh"] != "closed" || r.Outputs["doors"] != "[]" {
		t.Errorf("%v", r.Outputs)
	}

	// One that has ended is closed, and it is said whose it was.
	j.lease(now.Add(-time.Minute), now.Add(-time.Hour))
	r = j.Do()
	r.Want("")
	r.Says("owner/infra#12.1", "closed")
	if d := doors(t, r); len(d) != 1 || d[0].State != "closed" || d[0].Run != "owner/infra#12.1" || d[0].Source != "198.51.100.7/32" || d[0].Opened == "" || d[0].Expires == "" || r.Outputs["closed"] != "1" || r.Outputs["public_ssh"] != "closed" {
		t.Errorf("%v", r.Outputs)
	}
	if n := len(j.cloud.World().NSG(j.node.NSGID).Rules); n != 0 {
		t.Errorf("%d rules are left", n)
	}

	// One that lasts is left alone, and the door is open.
	id := j.lease(now.Add(time.Hour), now)
	r = j.Do()
	r.Want("", "public-ssh-rules=disproven")
	if r.Outputs["open"] != "1" || r.Outputs["public_ssh"] != "open" || j.cloud.World().NSG(j.node.NSGID).Rules[0].ID != id {
		t.Errorf("%v", r.Outputs)
	}

	// A stranger's is reported and left alone.
	var foreign string
	j.cloud.Change(func(w *ocitest.World) {
		foreign = w.AddRule(j.node.NSGID, ocitest.SSHFrom("0.0.0.0/0", "for the plumber"))
	})
	r = j.Do()
	r.Want("", "foreign-doors=disproven", "public-ssh-rules=disproven")
	r.Says("for the plumber")
	if rules := j.cloud.World().NSG(j.node.NSGID).Rules; len(rules) != 2 || rules[1].ID != foreign || r.Outputs["foreign"] != "1" {
		t.Errorf("%v %+v", r.Outputs, rules)
	}

	// A day later the lease is gone, whoever comes by.
	j.cloud.Offset(24 * time.Hour)
	j.Inputs["runner_dir"] = filepath.Join(j.Home, "another")
	r = j.Do()
	r.Want("", "foreign-doors=disproven", "public-ssh-rules=disproven")
	if rules := j.cloud.World().NSG(j.node.NSGID).Rules; len(rules) != 1 || rules[0].ID != foreign || r.Outputs["closed"] != "1" {
		t.Errorf("%v %+v", r.Outputs, rules)
	}
}

// By the compartment, and what may not be read.
func TestSweepOfACompartment(t *testing.T) {
	j := newJob(t)
	j.lease(j.cloud.Now().Add(-time.Minute), j.cloud.Now().Add(-time.Hour))
	delete(j.Inputs, "instance_ids")
	j.Inputs["compartment_ids"] = j.cloud.World().Compartment()
	r := j.Do()
	r.Want("")
	if r.Outputs["closed"] != "1" || r.Outputs["public_ssh"] != "" {
		t.Errorf("%v", r.Outputs)
	}
	j.cloud.Fail("GET", "networkSecurityGroups", -1, 404, "NotAuthorizedOrNotFound")
	j.Do().Want("", "oci-missing-or-forbidden=unproven")
}

func TestAnOpenListMakesClosedFalse(t *testing.T) {
	j := newJob(t)
	j.cloud.Change(func(w *ocitest.World) { w.OpenDefaultList() })
	r := j.Do()
	r.Want("", "public-ssh-rules=disproven")
	r.Says("Default Security List for edge")
	j.Inputs["waive"] = "public-ssh-rules"
	r = j.Do()
	if r.Code != 0 || r.Outputs["public_ssh"] != "open" {
		t.Errorf("waived: %d %v", r.Code, r.Outputs)
	}
}
