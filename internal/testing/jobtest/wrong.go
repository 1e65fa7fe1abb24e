package jobtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/action"

	"github.com/google/go-cmp/cmp"
)

// Wrong is a wrong value of one input, and what is said of it.
type Wrong struct {
	Input, Value string
	Wanted       string // words that the message has
	// Check is the refusal's id; "input-" and the input's name if empty.
	Check string
}

// WrongWays are wrong values of the inputs that say which nodes are meant and
// what is wanted of them; several actions have them.
var WrongWays = []Wrong{
	{Input: "nodes", Value: "", Wanted: "the names of the nodes, or a handoff"},
	{Input: "nodes", Value: "edge-*", Wanted: "no pattern"},
	{Input: "nodes", Value: "@all", Wanted: "no @tag"},
	{Input: "nodes", Value: "edge-1 edge-1", Wanted: "each node once"},
	{Input: "handoff_path", Value: "/nowhere/handoff.json", Wanted: "the handoff's sha256", Check: "input-handoff_sha256"},
	{Input: "handoff_sha256", Value: "abc", Wanted: "64 lower-case hex digits"},
	{Input: "handoff_signer", Value: "ssh-ed25519 x", Wanted: "the handoff that handoff_sha256 or handoff_signer is of", Check: "input-handoff_path"},
	{Input: "hosts", Value: "edge-1 10.0.0.1", Wanted: "NODE=VALUE"},
	{Input: "hosts", Value: "edge-1=a b", Wanted: "no host name or address"},
	{Input: "hosts", Value: "edge-9=10.0.0.1", Wanted: "names among the nodes"},
	{Input: "host_keys", Value: "edge-1 ssh-ed25519 nonsense", Wanted: "NODE ssh-ed25519 AAAA…"},
	{Input: "machine_ids", Value: "edge-1=xyz", Wanted: "no machine id"},
	{Input: "user", Value: "a b", Wanted: "the name of a login user"},
	{Input: "identity_file", Value: "/nowhere", Wanted: "outside the checkout"},
	{Input: "identity_file", Value: "identity", Wanted: "is not absolute"},
	{Input: "ssh_config", Value: "/nowhere", Wanted: "a file on the runner"},
	{Input: "known_hosts", Value: "/nowhere", Wanted: "a file on the runner"},
	{Input: "connect_timeout", Value: "20", Wanted: "with its unit"},
	{Input: "max_parallel", Value: "0", Wanted: "a whole number from 1"},
	{Input: "tailnet", Value: "maybe", Wanted: "one of required, off"},
	{Input: "tailscale_path", Value: "/nowhere/tailscale", Wanted: "the command line of Tailscale"},
	{Input: "key_margin", Value: "a week", Wanted: "with its unit"},
	{Input: "require", Value: "no-such-check", Wanted: "ids of checks"},
	{Input: "waive", Value: "no-such-check", Wanted: "ids of checks"},
	{Input: "units", Value: "k3s", Wanted: "units with their types"},
	{Input: "failed_units", Value: "a/b.service", Wanted: "units with their types"},
	{Input: "containers", Value: "HBBS", Wanted: "names of containers"},
	{Input: "deployments", Value: "rustdesk", Wanted: "namespace/name"},
	{Input: "ports", Value: "99999", Wanted: "ports and ranges"},
	{Input: "secrets", Value: "../shadow", Wanted: "paths below /run/secrets"},
	{Input: "max_clock_skew", Value: "1", Wanted: "with its unit"},
	{Input: "min_boot_free_mib", Value: "x", Wanted: "a whole number"},
	{Input: "min_store_free_mib", Value: "-1", Wanted: "a whole number"},
}

// RefusesEach proves that each wrong value is refused with the input's name and
// the way out, and that every declared input has one and is read. job makes a
// job whose inputs are right. The inputs of elsewhere are tried in another test.
func RefusesEach(t *testing.T, job func(t *testing.T) *Job, wrong []Wrong, elsewhere ...Wrong) {
	tried := map[string]bool{}
	for _, w := range elsewhere {
		tried[w.Input] = true
	}
	var metadata []byte
	for _, w := range wrong {
		t.Run(w.Input+" "+w.Value, func(t *testing.T) {
			tried[w.Input] = true
			j := job(t)
			metadata = j.metadata
			if j.Inputs[w.Input] = w.Value; w.Input == "tailscale_path" {
				j.Inputs["tailnet"] = "required"
			}
			r := j.Do()
			id := w.Check
			if id == "" {
				id = "input-" + w.Input
			}
			if r.Code != 1 || r.Outputs["failure_reason"] != id || r.Outputs["nodes"] != "" {
				t.Errorf("exit code %d, failure_reason %q, wanted %q:\n%s", r.Code, r.Outputs["failure_reason"], id, r.Log)
			}
			r.Says(w.Wanted)
		})
	}
	meta, err := action.ParseMetadata(metadata)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(meta.Inputs)), slices.Sorted(maps.Keys(tried))); diff != "" {
		t.Errorf("inputs without a wrong value here (-action.yml +tried):\n%s", diff)
	}
	j := job(t)
	clear(j.Inputs)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(meta.Inputs)), slices.Sorted(maps.Keys(j.Do().Read))); diff != "" {
		t.Errorf("inputs that are not read (-action.yml +read):\n%s", diff)
	}
}

// RefusesTogether proves that everything that is wrong is said at once.
func RefusesTogether(t *testing.T, j *Job, wrong map[string]string) {
	t.Helper()
	maps.Copy(j.Inputs, wrong)
	r := j.Do()
	for name := range wrong {
		if !strings.Contains(r.Log, "input-"+name) {
			t.Errorf("nothing about %s:\n%s", name, r.Log)
		}
	}
	if r.Code != 1 {
		t.Error(fmt.Sprint("exit code ", r.Code))
	}
}

// WrongCloud are wrong values of the inputs that say as whom Oracle Cloud is
// asked, for a job that has a config file.
var WrongCloud = []Wrong{
	{Input: "oci_auth", Value: "magic", Wanted: "one of config_file, key, session_token, instance_principal"},
	{Input: "oci_config_file", Value: "/nowhere/config", Wanted: "a usable profile", Check: "input-oci_auth"},
	{Input: "oci_config_file", Value: "config", Wanted: "an absolute path"},
	{Input: "oci_profile", Value: "OTHER", Wanted: "a usable profile", Check: "input-oci_auth"},
	{Input: "oci_region", Value: "Frankfurt!", Wanted: "a region", Check: "input-oci_auth"},
	{Input: "oci_tenancy", Value: "ocid1.tenancy.oc1..x", Wanted: "nothing with oci_auth: config_file"},
	{Input: "oci_user", Value: "ocid1.user.oc1..x", Wanted: "nothing with oci_auth: config_file"},
	{Input: "oci_fingerprint", Value: "aa", Wanted: "nothing with oci_auth: config_file"},
	{Input: "oci_key", Value: "-----BEGIN", Wanted: "nothing with oci_auth: config_file"},
	{Input: "oci_key_passphrase", Value: "a\rb", Wanted: "text without carriage returns"},
	{Input: "oci_endpoint", Value: "http://cloud.example.org", Wanted: "http:// on loopback", Check: "input-oci_auth"},
}
