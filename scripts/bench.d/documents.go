package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/handoff"
	"edge-actions/internal/tfplan"
)

const (
	handoffNodes   = 1000
	handoffTarget  = 100 * time.Millisecond
	planChanges    = 10_000
	planTarget     = time.Second
	planMostBytes  = 64 << 10 // of a summary: what people still read, and a runner still takes
	documentRounds = 20
)

// repeated runs f and returns how long each run took.
func (b *bench) repeated(n int, f func() error) (spread, error) {
	var out spread
	for range n {
		if err := b.ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if err := f(); err != nil {
			return nil, err
		}
		out = append(out, time.Since(start).Seconds())
	}
	return out, nil
}

// nodesJSON is what `tofu output -json` prints for a stack with n nodes.
func nodesJSON(n int) ([]byte, error) {
	g := newGenerator()
	nodes := make([]any, n)
	subnet := g.ocid("subnet")
	for i := range nodes {
		nodes[i] = map[string]any{
			"name": fmt.Sprintf("edge-%d", i), "hostname": fmt.Sprintf("edge-%d.edge.example", i), "instance_id": g.ocid("instance"),
			"private_ip": fmt.Sprintf("10.0.%d.%d", i/250, 1+i%250), "public_ip": fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250),
			"region": "eu-frankfurt-1", "availability_domain": "Uocm:EU-FRANKFURT-1-AD-1", "subnet_id": subnet,
			"tags": map[string]any{"role": "edge", "Oracle-Tags.CreatedBy": "infra/ci"},
			"volume_attachments": []any{
				map[string]any{"attachment_type": "paravirtualized", "device": "/dev/oracleoci/oraclevdb", "volume_id": g.ocid("volume")},
				map[string]any{"attachment_type": "iscsi", "device": "/dev/oracleoci/oraclevdc", "volume_id": g.ocid("volume"),
					"iqn": fmt.Sprintf("iqn.2015-12.com.oracleiaas:5a1d9c3c-7b4b-4c8b-8f30-%012x", i), "ipv4": "169.254.2.2", "port": 3260},
			},
		}
	}
	return json.Marshal(map[string]any{"edge_nodes": map[string]any{"sensitive": false, "type": "dynamic", "value": nodes}})
}

// handoff measures the making of a handoff: read, judged, encoded, written,
// synced, read back and held against the schema.
func (b *bench) handoff() error {
	outputs, err := nodesJSON(handoffNodes)
	if err != nil {
		return err
	}
	mapping, err := handoff.ParseMapping("", "edge_nodes")
	if err != nil {
		return err
	}
	dir, err := b.subdir("handoff")
	if err != nil {
		return err
	}
	took, err := b.repeated(documentRounds, func() error {
		doc, err := handoff.Build(outputs, mapping, handoff.Context{
			Repository: "example/infra", Commit: strings.Repeat("0123456789", 4), RunID: "4711", RunAttempt: "1",
			StateLineage: "5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a", StateSerial: 41, Created: time.Now(),
		})
		if err != nil {
			return err
		}
		if len(doc.Nodes) != handoffNodes {
			return fmt.Errorf("%d nodes in the handoff", len(doc.Nodes))
		}
		if _, err := doc.Matrix(); err != nil {
			return err
		}
		_, err = doc.Write(dir, nil)
		return err
	})
	if err != nil {
		return err
	}
	b.add(row{fmt.Sprintf("handoff of %d nodes", handoffNodes), took.seconds() + took.ends(), "-", "-", "< " + handoffTarget.String(), took.median() < handoffTarget.Seconds()})
	return nil
}

// planJSON writes a plan as `tofu show -json` does. A fifth of the changes are
// instances with all of their attributes, the rest the small things around
// them.
func planJSON(n int) []byte {
	g := newGenerator()
	shared := [4]string{g.ocid("compartment"), g.ocid("networksecuritygroup"), g.ocid("subnet"), g.ocid("image")}
	var b bytes.Buffer
	b.WriteString(`{"format_version":"1.2","terraform_version":"1.12.6","resource_changes":[`)
	for i := range n {
		kind, before := "oci_core_volume_attachment", []byte(nil)
		if i/10%5 == 0 {
			kind, before = "oci_core_instance", g.compact(i, shared)
		} else {
			before = fmt.Appendf(nil, `{"attachment_type":"paravirtualized","availability_domain":"Uocm:EU-FRANKFURT-1-AD-1","chap_secret":"","chap_username":"","compartment_id":%q,"device":"/dev/oracleoci/oraclevdb","display_name":"edge-%d","encryption_in_transit_type":"NONE","id":%q,"instance_id":%q,"is_read_only":false,"is_shareable":false,"iqn":"","multipath_devices":[],"port":0,"state":"ATTACHED","timeouts":null,"volume_id":%q}`,
				shared[0], i, g.ocid("volumeattachment"), g.ocid("instance"), g.ocid("volume"))
		}
		after := bytes.Replace(before, []byte(`"display_name":"edge-`), []byte(`"display_name":"core-`), 1)
		actions, reason, paths := `"update"`, "", ""
		switch i % 10 {
		case 0, 1, 2, 3:
			actions, before = `"create"`, []byte("null")
		case 7:
			actions, reason, paths = `"delete","create"`, `,"action_reason":"replace_because_cannot_update"`, `,"replace_paths":[["display_name"]]`
		case 8, 9:
			actions, reason, after = `"delete"`, `,"action_reason":"delete_because_no_resource_config"`, []byte("null")
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"address":"%[1]s.edge[\"edge-%[2]d\"]","mode":"managed","type":"%[1]s","name":"edge","index":"edge-%[2]d","provider_name":"registry.example/oracle/oci","change":{"actions":[%[3]s],"before":%[4]s,"after":%[5]s,"after_unknown":{"time_created":true},"before_sensitive":{"chap_secret":true},"after_sensitive":{"chap_secret":true}%[6]s}%[7]s}`,
			kind, i, actions, before, after, paths, reason)
	}
	b.WriteString(`],"output_changes":{"edge_nodes":{"actions":["update"],"before":null,"after":null,"after_unknown":true,"before_sensitive":false,"after_sensitive":false}}}`)
	return b.Bytes()
}

// plan measures how long a plan takes from its JSON to both summaries.
func (b *bench) plan() error {
	data := planJSON(planChanges)
	var text, markdown string
	took, err := b.repeated(5, func() error {
		p, err := tfplan.ReadJSON(bytes.NewReader(data))
		if err != nil {
			return err
		}
		if n := p.Counts(); n.Add != planChanges/2 || n.Destroy != 3*planChanges/10 || n.Change != 3*planChanges/10 || n.Replace != planChanges/10 {
			return fmt.Errorf("counted %+v", n)
		}
		text, markdown = p.Text(), p.Markdown()
		return nil
	})
	if err != nil {
		return err
	}
	if err := readable(text, markdown); err != nil {
		return err
	}
	b.add(row{fmt.Sprintf("summary of %d changes", planChanges), took.seconds() + took.ends(), "-", "-", "< " + planTarget.String(), took.median() < planTarget.Seconds()})
	b.notef("the plan is %.0f MB of JSON; its summaries are %d and %d bytes in %d lines, what deletes first", math.Round(float64(len(data))/1e6), len(text), len(markdown), strings.Count(text, "\n"))
	return os.WriteFile(filepath.Join(b.dir, "plan.txt"), []byte(text), 0o600)
}

// readable holds the summaries to what people can still read: not too long,
// and what can hurt before anything else.
func readable(text, markdown string) error {
	for what, s := range map[string]string{"text": text, "Markdown": markdown} {
		if len(s) > planMostBytes {
			return fmt.Errorf("the %s has %d bytes, more than %d", what, len(s), planMostBytes)
		}
		first := strings.Index(s, "delete")
		for _, later := range []string{"replace ", "update ", "create "} {
			if at := strings.Index(s, "\n  "+later); first < 0 || at >= 0 && at < first {
				return fmt.Errorf("the %s shows %q before what is deleted", what, later)
			}
		}
	}
	if !strings.Contains(text, "not shown one by one: ") {
		return fmt.Errorf("the text does not say what it leaves out")
	}
	return nil
}
