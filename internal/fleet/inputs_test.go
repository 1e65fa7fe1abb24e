package fleet

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/handoff"
	"edge-actions/internal/node"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

const (
	keyA = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"
	keyB = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINSW2EBVYN0BnwJGFG64DV/EkVQ6c6B2rhMojd0dlVcv"
)

// inputs are those of node-validate, which has them all.
func inputs(t *testing.T, given map[string]string) (*action.Inputs, *action.Action) {
	t.Helper()
	metadata, err := os.ReadFile("../../actions/node-validate/action.yml")
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + t.TempDir(), "PATH=/nowhere"}
	for name, value := range given {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	a, err := action.New(metadata, &bytes.Buffer{}, env)
	if err != nil {
		t.Fatal(err)
	}
	return a.Inputs(), a
}

// problems are the inputs that are wrong, with what was found.
func problems(err error) []string {
	var out []string
	for _, c := range verdict.ChecksOf(err) {
		out = append(out, strings.TrimPrefix(c.ID, "input-")+": "+c.Got)
	}
	slices.Sort(out)
	return out
}

func TestReadSpec(t *testing.T) {
	in, a := inputs(t, map[string]string{
		"tailnet": "off", "nodes": "edge-1, edge-2\nedge-3", "user": "nixos", "connect_timeout": "7s", "max_parallel": "2", "key_margin": "48h",
		"hosts":       "# by address\nedge-1=100.64.0.1\nedge-2 = fd7a::2\n",
		"host_keys":   "edge-1 " + keyA + "\nedge-1 " + keyB + " a comment\n",
		"machine_ids": "edge-3=0123456789abcdef0123456789abcdef", "known_hosts": "~/hosts",
	})
	if err := os.WriteFile(filepath.Join(a.Getenv("HOME"), "hosts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := ReadSpec(in, a)
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	want := &Spec{
		Nodes: []string{"edge-1", "edge-2", "edge-3"}, Hosts: map[string]string{"edge-1": "100.64.0.1", "edge-2": "fd7a::2"},
		HostKeys: map[string][]string{"edge-1": {keyA, keyB + " a comment"}}, MachineIDs: map[string]string{"edge-3": "0123456789abcdef0123456789abcdef"},
		User: "nixos", KnownHosts: []string{filepath.Join(a.Getenv("HOME"), "hosts")}, Env: a.Environ(), Connect: 7 * time.Second, Parallel: 2, KeyMargin: 48 * time.Hour,
	}
	if diff := cmp.Diff(want, s); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadSpecRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		given map[string]string
		want  []string
	}{
		"nothing at all": {map[string]string{}, []string{"nodes: nothing"}},
		"a pattern":      {map[string]string{"nodes": "edge-*"}, []string{`nodes: "edge-*"`}},
		"a tag":          {map[string]string{"nodes": "@edge"}, []string{`nodes: "@edge"`}},
		"a node twice":   {map[string]string{"nodes": "a b a"}, []string{`nodes: "a" twice`}},
		"everything": {
			map[string]string{
				"nodes": "a b", "hosts": "a\nb=\na=-x\nc=c.example\nb=one\nb=two", "machine_ids": "a=1234", "host_keys": "a ssh-ed25519 AAAA\nb\nd " + keyA,
				"max_parallel": "none", "connect_timeout": "-1s", "tailnet": "perhaps",
			},
			[]string{
				`connect_timeout: "-1s"`, `host_keys: "a ssh-ed25519 AAAA"`, `host_keys: "b"`, `host_keys: "d"`, `hosts: "a"`, `hosts: "a=-x": no host name or address`,
				`hosts: "b" twice`, `hosts: "b" twice`, `hosts: "b="`, `hosts: "c"`, `machine_ids: "a=1234": no machine id (32 hex digits, /etc/machine-id)`, `max_parallel: "none"`, `tailnet: "perhaps"`,
			},
		},
		"no tailscale": {map[string]string{"nodes": "a", "tailnet": "required", "tailscale_path": "/nowhere/tailscale"}, []string{`tailscale_path: none as "/nowhere/tailscale"`}},
		"a digest of nothing": {
			map[string]string{"nodes": "a", "handoff_sha256": strings.Repeat("0", 64)}, []string{"handoff_path: nothing"},
		},
		"a handoff that nobody vouches for": {map[string]string{"nodes": "a", "handoff_path": "/nowhere"}, []string{"handoff_sha256: neither"}},
	} {
		if tt.given["tailnet"] == "" {
			tt.given["tailnet"] = "off"
		}
		in, a := inputs(t, tt.given)
		ReadSpec(in, a)
		got := problems(in.Err())
		for i, want := range tt.want {
			if i >= len(got) || !strings.HasPrefix(got[i], want) {
				t.Errorf("%s: wanted %q, got %q", name, tt.want, got)
				break
			}
		}
		if len(got) != len(tt.want) {
			t.Errorf("%s: wanted %q, got %q", name, tt.want, got)
		}
	}
}

func TestReadChecks(t *testing.T) {
	in, _ := inputs(t, map[string]string{
		"ports": "21115-21117, 6443", "containers": "hbbs", "units": "k3s.service", "require": "clock", "waive": "tailnet-health tailnet-path", "min_boot_free_mib": "3", "min_store_free_mib": "5",
		"max_clock_skew": "9s", "secrets": "a/b", "failed_units": "x.service", "deployments": "ns/name",
	})
	e, p := ReadChecks(in, []string{node.System})
	if err := in.Err(); err != nil {
		t.Fatal(err)
	}
	want := node.DefaultExpect()
	want.Ports, want.Containers, want.Units, want.MinBootFree, want.MinStoreFree = []int{21115, 21116, 21117, 6443}, []string{"hbbs"}, []string{"k3s.service"}, 3<<20, 5<<20
	want.MaxSkew, want.Secrets, want.FailedBefore, want.Deployments = 9*time.Second, []string{"a/b"}, []string{"x.service"}, []string{"ns/name"}
	if diff := cmp.Diff(want, e); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	policy := node.Policy{Set: []string{node.System}, Require: []string{node.Clock, node.Clock}, Waive: []string{"tailnet-health", "tailnet-path"}, WaivedBy: "waive"}
	if diff := cmp.Diff(policy, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	in, _ = inputs(t, map[string]string{"ports": "80 http", "require": "k3s", "waive": "unreachable ssh", "min_boot_free_mib": "-1", "max_clock_skew": "1"})
	ReadChecks(in, nil)
	got := problems(in.Err())
	if diff := cmp.Diff([]string{`max_clock_skew: "1"`, `min_boot_free_mib: "-1"`, `ports: "http"`, `require: "k3s"`, `waive: "ssh"`, `waive: "unreachable"`}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestParsePorts(t *testing.T) {
	for _, tt := range []struct {
		words string
		want  []int
		ok    bool
	}{
		{"", nil, true},
		{"22", []int{22}, true},
		{"65535 1-3", []int{65535, 1, 2, 3}, true},
		{"0", nil, false}, {"65536", nil, false}, {"3-1", nil, false}, {"1-", nil, false}, {"-1", nil, false}, {"1-2-3", nil, false}, {"+1", nil, false}, {"1-2000", nil, false},
	} {
		got, err := parsePorts(words(tt.words))
		if (err == nil) != tt.ok || tt.ok && !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, %v", tt.words, got, err)
		}
	}
}

func TestReadExpected(t *testing.T) {
	in, _ := inputs(t, map[string]string{"system_path": "/etc", "generation": "0", "public_address": "example.org", "public_port": "0"})
	v := &Validation{Spec: &Spec{Nodes: []string{"a", "b"}}}
	ReadExpected(in, v)
	var ids []string
	for _, p := range problems(in.Err()) {
		id, _, _ := strings.Cut(p, ":")
		ids = append(ids, id)
	}
	if diff := cmp.Diff([]string{"generation", "public_address", "public_address", "public_port", "system_path"}, ids); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	in, _ = inputs(t, map[string]string{"generation": "3"})
	v = &Validation{Spec: &Spec{Nodes: []string{"a"}}}
	ReadExpected(in, v)
	if in.Err() != nil || v.Expect.Generation != 3 || !slices.Contains(v.Policy.Require, node.Generation) || v.PublicPort != 22 {
		t.Errorf("%v %+v", in.Err(), v)
	}
}

func TestReadHandoff(t *testing.T) {
	doc := &handoff.Document{
		Schema: handoff.SchemaName,
		Context: handoff.Context{
			Repository: "operator/infra", Commit: strings.Repeat("0123456789", 4), RunID: "7", StateLineage: "5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a", StateSerial: 3,
			Created: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC),
		},
		Nodes: []handoff.Node{
			{Name: "edge-1", Hostname: "edge-1", InstanceID: "ocid1.instance.oc1..a", PrivateIP: "10.0.0.1", VolumeAttachments: []handoff.VolumeAttachment{}, Tags: map[string]string{}, SSHHostKey: keyA},
			{Name: "edge-2", Hostname: "edge-2.example.org", InstanceID: "i-2", PrivateIP: "10.0.0.2", VolumeAttachments: []handoff.VolumeAttachment{}, Tags: map[string]string{}},
		},
	}
	data, err := doc.Encode()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	good := write("good", string(data))
	public, signature := sign(t, data)
	write("good"+handoff.SignatureSuffix, signature)
	cut, strange := string(data[:len(data)/2]), strings.Replace(string(data), "handoff/v1", "handoff/v2", 1)
	large := write("large", "")
	if err := os.Truncate(large, 65<<20); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		given map[string]string
		wrong string
	}{
		"by digest":          {map[string]string{"handoff_path": good, "handoff_sha256": sum(string(data))}, ""},
		"by signature":       {map[string]string{"handoff_path": good, "handoff_signer": public}, ""},
		"of another digest":  {map[string]string{"handoff_path": good, "handoff_sha256": sum("x")}, sum(string(data))},
		"of another signer":  {map[string]string{"handoff_path": good, "handoff_signer": keyB}, "one by SHA256:"},
		"of no key at all":   {map[string]string{"handoff_path": good, "handoff_signer": "somebody"}, `"somebody"`},
		"both, one is wrong": {map[string]string{"handoff_path": good, "handoff_signer": public, "handoff_sha256": sum("x")}, sum(string(data))},
		"not signed":         {map[string]string{"handoff_path": write("bare", string(data)), "handoff_signer": public}, "bare.sig"},
		"cut off":            {map[string]string{"handoff_path": write("cut", cut), "handoff_sha256": sum(cut)}, "unexpected EOF"},
		"another schema":     {map[string]string{"handoff_path": write("strange", strange), "handoff_sha256": sum(strange)}, "schema"},
		"too large":          {map[string]string{"handoff_path": large, "handoff_sha256": sum("x")}, "at most"},
		"a directory":        {map[string]string{"handoff_path": dir, "handoff_sha256": sum("x")}, "no regular file"},
		"not there":          {map[string]string{"handoff_path": "/nowhere", "handoff_sha256": sum("x")}, "no such file"},
		"a relative path":    {map[string]string{"handoff_path": "good", "handoff_sha256": sum("x")}, `"good"`},
	} {
		tt.given["tailnet"] = "off"
		in, a := inputs(t, tt.given)
		s := ReadSpec(in, a)
		got := problems(in.Err())
		if tt.wrong == "" {
			if len(got) > 0 || !slices.Equal(s.Nodes, []string{"edge-1", "edge-2"}) || s.Handoff == nil {
				t.Errorf("%s: %q, nodes %q", name, got, s.Nodes)
			}
			continue
		}
		if len(got) == 0 || !strings.HasPrefix(got[0], "handoff_path: ") || !strings.Contains(strings.Join(got, "\n"), tt.wrong) || s.Handoff != nil {
			t.Errorf("%s: wanted %q, got %q", name, tt.wrong, got)
		}
	}

	// What a member takes from it.
	s := &Spec{Handoff: doc}
	m, _ := s.member("edge-1", "", "", 0, nil)
	if m.Expect.InstanceID != "ocid1.instance.oc1..a" || m.Expect.Hostname != "edge-1" || !slices.Equal(m.Target.HostKeys, []string{keyA}) || m.Target.Host != "edge-1" {
		t.Errorf("%+v %+v", m.Expect, m.Target)
	}
	s.HostKeys = map[string][]string{"edge-1": {keyB}}
	if m, _ = s.member("edge-1", "", "", 0, nil); !slices.Equal(m.Target.HostKeys, []string{keyB}) {
		t.Errorf("host_keys goes before the handoff: %q", m.Target.HostKeys)
	}
	if m, _ = s.member("edge-2", "", "", 0, nil); m.Expect.InstanceID != "" || m.Expect.Hostname != "edge-2.example.org" {
		t.Errorf("%+v", m.Expect)
	}
	if m, checks := s.member("edge-3", "", "", 0, nil); m != nil || verdict.Of(checks) != verdict.Disproven {
		t.Errorf("%v %v", m, checks)
	}
}

// sign returns a public key and the signature that it is of.
func sign(t *testing.T, data []byte) (public, signature string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
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
	sig, err := handoff.Sign(data, signer)
	if err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(signer.PublicKey())), string(sig)
}
