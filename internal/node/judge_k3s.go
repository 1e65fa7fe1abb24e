package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// bootSlack is for the whole seconds of `date` and of K3s's own times.
const bootSlack = 2 * time.Second

// probeSlack is longer than kubectl may take after `date` was asked.
const probeSlack = 20 * time.Second

// self finds this node in the cluster: by its name, or because it is the only
// one. It returns nil if the cluster does not know it.
func (c *Cluster) self(hostname string) *Node {
	for i := range c.Nodes {
		if c.Nodes[i].Meta.Name == strings.ToLower(hostname) || len(c.Nodes) == 1 {
			return &c.Nodes[i]
		}
	}
	return nil
}

func k3sNode(f *Facts, _ Expect) verdict.Check {
	q := question{id: K3sNode, wanted: "a node that is Ready, by a report of this boot"}
	cluster, hostname, bootID := need(&q, f.K3s), need(&q, f.Hostname), need(&q, f.BootID)
	if len(q.errs) > 0 {
		return q.answer(false, "", "")
	}
	node := cluster.self(hostname)
	if node == nil {
		return q.answer(false, fmt.Sprintf("no node %s among %d", quote(strings.ToLower(hostname)), len(cluster.Nodes)), "see kubectl get nodes, and K3s's node name")
	}
	// Until the kubelet reports, K3s serves what it knew before the reboot.
	if got := node.Status.Info.BootID; got != bootID {
		return q.answer(false, fmt.Sprintf("a report of the boot %s; this is %s", quote(got), bootID), "the kubelet has not reported since the boot: wait, then see journalctl -u k3s")
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			return q.answer(c.Status == "True", fmt.Sprintf("Ready is %s, boot %s", quote(c.Status), bootID), "see kubectl describe node: "+quote(c.Message))
		}
	}
	q.ask(false, "the node's status has no condition Ready")
	return q.answer(false, "", "")
}

func k3sWorkloads(f *Facts, e Expect) verdict.Check {
	q := question{id: K3sWorkloads, wanted: "deployments with all their replicas up to date and available"}
	cluster, hostname, bootID := need(&q, f.K3s), need(&q, f.Hostname), need(&q, f.BootID)
	if len(q.errs) > 0 {
		return q.answer(false, "", "")
	}
	if node := cluster.self(hostname); node == nil || node.Status.Info.BootID != bootID {
		q.ask(false, "what K3s says is not of this boot")
	}
	var wrong []string
	seen := map[string]bool{}
	for _, d := range cluster.Deployments {
		name := d.Meta.Namespace + "/" + d.Meta.Name
		owns := false
		for _, c := range d.Spec.Template.Spec.Containers {
			owns = owns || slices.Contains(e.Containers, c.Name)
		}
		if !owns && !slices.Contains(e.Deployments, name) {
			continue
		}
		seen[name] = true
		if why := d.lacks(); why != "" {
			wrong = append(wrong, d.Meta.String()+" "+why)
		}
	}
	for _, name := range e.Deployments {
		if !seen[name] {
			wrong = append(wrong, quote(name)+" is not there")
		}
	}
	if len(wrong) == 0 && len(seen) == 0 {
		q.ask(false, "no deployment was asked for, and none owns a required container")
	}
	return q.answer(len(wrong) == 0, cond(len(wrong) == 0, fmt.Sprintf("%d of %d", len(seen), len(seen)), strings.Join(wrong, ", ")), "see kubectl describe deployment and kubectl get events on the node")
}

// lacks says what a deployment lacks; "" if nothing.
func (d *Deployment) lacks() string {
	want := int64(1)
	if d.Spec.Replicas != nil {
		want = *d.Spec.Replicas
	}
	s := d.Status
	switch {
	case want < 1:
		return "is scaled to nothing"
	case s.Generation != d.Meta.Generation:
		return fmt.Sprintf("is of generation %d, and its status of %d", d.Meta.Generation, s.Generation)
	case s.Replicas != want || s.Updated != want || s.Available != want || s.Ready != want:
		return fmt.Sprintf("wants %d replicas and has %d: %d updated, %d available, %d ready", want, s.Replicas, s.Updated, s.Available, s.Ready)
	}
	return ""
}

func k3sContainers(f *Facts, e Expect) verdict.Check {
	q := question{id: K3sContainers, wanted: "containers on this node that were started since its boot, and are ready: " + list(e.Containers)}
	cluster, hostname, boot, now := need(&q, f.K3s), need(&q, f.Hostname), need(&q, f.Boot), need(&q, f.Now)
	if len(e.Containers) == 0 {
		q.errs = append(q.errs, errEmpty("container"))
	}
	if len(q.errs) > 0 {
		return q.answer(false, "", "")
	}
	node := cluster.self(hostname)
	if node == nil {
		return q.answer(false, fmt.Sprintf("no node %s", quote(strings.ToLower(hostname))), "see kubectl get nodes, and K3s's node name")
	}
	var wrong []string
	for _, name := range e.Containers {
		why := quote(name) + " is in no pod on this node"
		for _, pod := range cluster.Pods {
			if pod.Meta.Deletion != nil || pod.Spec.Node != node.Meta.Name {
				continue
			}
			i := slices.IndexFunc(pod.Status.Containers, func(c Container) bool { return c.Name == name })
			if i < 0 {
				continue
			}
			lacks := pod.Status.Containers[i].lacks(boot, now)
			if lacks == "" {
				why = ""
				break
			}
			why = fmt.Sprintf("%s in %s %s", quote(name), pod.Meta, lacks)
		}
		if why != "" {
			wrong = append(wrong, why)
		}
	}
	return q.answer(len(wrong) == 0, cond(len(wrong) == 0, fmt.Sprintf("all of them, since %s or later", boot.Format(time.RFC3339)), strings.Join(wrong, ", ")), "see kubectl describe pod and kubectl logs on the node")
}

// lacks says what a container lacks; "" if nothing.
func (c *Container) lacks(boot, now time.Time) string {
	switch r := c.State.Running; {
	case r == nil && c.State.Waiting != nil:
		return "waits: " + quote(c.State.Waiting.Reason)
	case r == nil && c.State.Terminated != nil:
		return "has ended: " + quote(c.State.Terminated.Reason)
	case r == nil:
		return "is not running"
	case r.StartedAt.Before(boot.Add(-bootSlack)):
		return fmt.Sprintf("was started %s, before the boot at %s", r.StartedAt.Format(time.RFC3339), boot.Format(time.RFC3339))
	case r.StartedAt.After(now.Add(probeSlack)):
		// Such a time is from before the clock was set back, and so perhaps
		// from before the boot.
		return fmt.Sprintf("was started %s, which is yet to come: it is %s", r.StartedAt.Format(time.RFC3339), now.Format(time.RFC3339))
	case !c.Ready:
		return "is not ready"
	}
	return ""
}
