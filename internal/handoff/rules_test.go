package handoff

import (
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

const hostKeyLine = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICHfdMJUey+LYF2jSvwjjLE3rtUDE7ExAZn+FglhPN8F"

// What each field accepts and refuses, seen through Build.
func TestFields(t *testing.T) {
	long := strings.Repeat("a", 70<<10)
	hostile := []any{
		"edge\n::add-path::/evil", "::set-output name=node_name::evil", "${{ secrets.X }}", "edge_0123456789abcdef0123456789abcdef\nevil<<x",
		"_GitHubActionsFileCommandDelimeter_", "a\r\nb", "a\x00b", "a\x1b[31mb", "a\u202eb", "a\u2028b", "\ufffd", long, " x", "x ", "$(id)", "`id`", "../x", "-oProxyCommand=x", "x;y", 7, true, []any{"x"}, map[string]any{"x": "y"},
	}
	for _, tt := range []struct {
		field   string
		accept  map[string]string // what is given, and its canonical form
		refuse  []any
		missing []any // refused as missing
	}{
		{"name", same("a", "0", "edge-1", strings.Repeat("a", 63)), []any{"Edge", "edge_1", "edge.1", "-a", "a-", "é", strings.Repeat("a", 64)}, []any{"", nil}},
		{"hostname", same("a", "edge-1.example.net", "1.example"), []any{"a.", ".a", "a..b", "10.0.0.1", "10.1", "A", "a_b", strings.Repeat("a.", 127) + "a"}, nil},
		{"instance_id", same("i-0abc", "ocid1.instance.oc1..a", "ocid1.instance.oc1.eu-frankfurt-1.a0", "projects/x/zones/y/instances/z", "8:9"),
			[]any{"ocid1.instance.oc1", "ocid1.vnic.oc1..a", "OCID1.instance.oc1..a", "ocid1.instance.oc1..", "ocid1.instance.oc1..A", "ocid1.instance.oc1.a.b.c.d", "a b", "/x", strings.Repeat("a", 256)}, []any{"", nil}},
		{"private_ip", map[string]string{"10.0.0.1": "10.0.0.1", "192.0.2.1": "192.0.2.1", "FD00::0:1": "fd00::1"},
			[]any{"10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/24", "10.0.0.1:22", "[fd00::1]", "fe80::1%eth0", "fe80::1", "169.254.0.1", "0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1", "0x0a000001", "edge-1"}, []any{"", nil}},
		{"public_ip", map[string]string{"203.0.113.1": "203.0.113.1", "2001:DB8::0:1": "2001:db8::1"},
			[]any{"10.0.0.9", "172.16.0.1", "192.168.0.1", "fd00::1", "203.0.113.1/32", "0203.0.113.1", "2001:db8::1%2", "0.0.0.0", "203.0.113"}, nil},
		{"region", same("eu-frankfurt-1", "fsn1"), []any{"EU", "eu frankfurt", "eu_1"}, nil},
		{"availability_domain", same("Uocm:EU-FRANKFURT-1-AD-1", "fsn1-dc14"), []any{"AD 1", ":x", strings.Repeat("a", 129)}, nil},
		{"subnet_id", same("subnet-1", "ocid1.subnet.oc1..a"), []any{"ocid1.instance.oc1..a", "ocid1.subnet", "a b"}, nil},
		{"ssh_host_key", map[string]string{hostKeyLine: hostKeyLine, hostKeyLine + " root@edge-1": hostKeyLine, hostKeyLine + "\t x y ": hostKeyLine, hostKeyLine + " x\n": hostKeyLine},
			[]any{"ssh-ed25519", "ssh-ed25519 AAAA", "edge-1 " + hostKeyLine, `command="x" ` + hostKeyLine, "@cert-authority * " + hostKeyLine, hostKeyLine + "\n" + hostKeyLine, "# " + hostKeyLine, "# x\n" + hostKeyLine, hostKeyLine + "\n\n",
				"ssh-rsa " + strings.Fields(hostKeyLine)[1], hostKeyLine + " " + strings.Repeat("c", 4096),
				"ssh-dss AAAAB3NzaC1kc3MAAACBAP", "sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAICHfdMJUey+LYF2jSvwjjLE3rtUDE7ExAZn+FglhPN8FAAAABHNzaDo="}, nil},
	} {
		t.Run(tt.field, func(t *testing.T) {
			for given, want := range tt.accept {
				doc, err := buildWith(t, tt.field, given)
				if err != nil {
					t.Errorf("%q is refused: %v", given, err)
					continue
				}
				if got := value(doc.Nodes[0], tt.field); got != want {
					t.Errorf("%q became %q, wanted %q", given, got, want)
				}
			}
			for _, v := range append(tt.refuse, hostile...) {
				refusedOnce(t, tt.field, v, "malformed-value")
			}
			for _, v := range tt.missing {
				refusedOnce(t, tt.field, v, "missing-value")
			}
			refusedOnce(t, tt.field, "(known after apply)", "missing-value")
			if tt.missing == nil {
				for _, v := range []any{"", nil} {
					if _, err := buildWith(t, tt.field, v); err != nil {
						t.Errorf("%v does not stand for an unknown fact: %v", v, err)
					}
				}
			}
		})
	}
}

func TestAttachmentFields(t *testing.T) {
	good := func() map[string]any {
		return map[string]any{"attachment_type": "iscsi", "device": "/dev/sdb", "volume_id": "v-1", "iqn": "iqn.2015-12.com.oracleiaas:x", "ipv4": "169.254.2.2", "port": 3260, "is_read_only": true}
	}
	for field, bad := range map[string][]any{
		"attachment_type": {"ISCSI", "i scsi", 1},
		"device":          {"sdb", "/dev/", "/dev/../sda", "/dev/.x", "/etc/passwd", "/dev/sdb\n", "/dev//sdb", "/dev/a b", "/dev/$(id)"},
		"volume_id":       {"ocid1.instance.oc1..a", "a b"},
		"iqn":             {"x", "iqn.a b", "iqn.\n", "iqn." + strings.Repeat("a", 220)},
		"ipv4":            {"::1", "0.0.0.0", "127.0.0.1", "169.254.2.2/32", "169.254.002.2"},
		"port":            {0, 65536, 3260.5, -1, "3260", true, 1e30},
		"is_read_only":    {"true", 1},
	} {
		for _, v := range bad {
			a := good()
			a[field] = v
			_, err := buildWith(t, "volume_attachments", []any{a})
			if c := verdict.ChecksOf(err); len(c) != 1 || c[0].ID != "malformed-value" || !strings.Contains(c[0].Wanted, "edge_nodes[0].volume_attachments[0]."+field) {
				t.Errorf("%s %v: wanted one refusal that names it, got %v", field, v, err)
			}
		}
	}
	for _, field := range []string{"iqn", "ipv4", "port"} {
		a := good()
		delete(a, field)
		if _, err := buildWith(t, "volume_attachments", []any{a}); !verdict.Has(err, "missing-value") {
			t.Errorf("without %s: %v", field, err)
		}
	}
	a := good()
	a["devise"] = "/dev/sdc"
	if _, err := buildWith(t, "volume_attachments", []any{a}); !verdict.Has(err, "unknown-field") || !strings.Contains(err.Error(), "attachment_type, device") {
		t.Errorf("a typing error in a field: %v", err)
	}
	many := make([]any, maxAttachments+1)
	for i := range many {
		many[i] = map[string]any{"attachment_type": "scsi", "device": "/dev/d" + strings.Repeat("x", i/8) + string(rune('a'+i%8))}
	}
	if _, err := buildWith(t, "volume_attachments", many); len(verdict.ChecksOf(err)) != 1 {
		t.Errorf("%d attachments: %v", len(many), err)
	}
	if _, err := buildWith(t, "volume_attachments", many[1:]); err != nil {
		t.Errorf("%d attachments: %v", len(many)-1, err)
	}
}

func TestTags(t *testing.T) {
	many := map[string]any{}
	for i := range maxTags + 1 {
		many[strings.Repeat("k", i+1)] = "v"
	}
	for name, v := range map[string]any{
		"too many": many, "a list": []any{"a"}, "text": "role=edge", "an empty key": map[string]any{"": "x"},
		"a long key":         map[string]any{strings.Repeat("k", maxTagKey+1): "v"},
		"a long value":       map[string]any{"k": strings.Repeat("v", maxTagValue+1)},
		"a 70 KB line":       map[string]any{"k": strings.Repeat("v", 70<<10)},
		"an expression":      map[string]any{"k": "${{ secrets.X }}"},
		"one in a key":       map[string]any{"${{ secrets.X }}": "v"},
		"a command":          map[string]any{"k": "x\n::set-env name=PATH::/evil"},
		"one in a key, too":  map[string]any{"x\n::add-path::/evil": "v"},
		"reversed order":     map[string]any{"k": "a\u202eb"},
		"replaced bytes":     map[string]any{"k": "a\ufffdb"},
		"a number":           map[string]any{"k": 1},
		"null":               map[string]any{"k": nil},
		"an object":          map[string]any{"k": map[string]any{}},
		"a carriage return":  map[string]any{"k": "a\rb"},
		"an escape sequence": map[string]any{"k": "\x1b[2J"},
	} {
		if _, err := buildWith(t, "tags", v); len(verdict.ChecksOf(err)) != 1 || !verdict.Has(err, "malformed-value") {
			t.Errorf("%s: wanted one refusal, got %v", name, err)
		} else if len(err.Error()) > 1000 {
			t.Errorf("%s: a message of %d bytes", name, len(err.Error()))
		}
	}
	if _, err := buildWith(t, "tags", map[string]any{"k": "x (known after apply)"}); !verdict.Has(err, "missing-value") {
		t.Errorf("a value that is not known yet: %v", err)
	}
	delete(many, "k")
	if _, err := buildWith(t, "tags", many); err != nil {
		t.Errorf("%d tags: %v", len(many), err)
	}
	for _, ok := range []string{"", "söhne & co <x>", "日本", "::notice::x", strings.Repeat("ü", maxTagValue), "$HOME", "{{ x }}"} {
		if _, err := buildWith(t, "tags", map[string]any{"k": ok}); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
}

func TestSecretKeys(t *testing.T) {
	for key, want := range map[string]bool{
		"chap_secret": true, "CHAP-Secret": true, "chapSecret": true, "password": true, "db.password": true, "root passwd": true, "private_key_pem": true,
		"private_key": true, "authkey": true, "tailscale-auth-key": true, "api_token": true, "tokens": true, "kubeconfig": true, "Credentials": true, "access_key": true, "passphrase": true,
		"secret_id": false, "token_count": false, "ssh_host_key": false, "public_key": false, "iqn": false, "role": false, "": false, "chap_username": false,
	} {
		if got := secretKey(key); got != want {
			t.Errorf("%q: %t, wanted %t", key, got, want)
		}
	}
}

// buildWith builds one good node with one field of it set.
func buildWith(t *testing.T, field string, v any) (*Document, error) {
	t.Helper()
	n := nodes(1)[0]
	n[field] = v
	return Build(outputsOf(t, []any{n}), conventional(t), about)
}

func refusedOnce(t *testing.T, field string, v any, id string) {
	t.Helper()
	_, err := buildWith(t, field, v)
	c := verdict.ChecksOf(err)
	if len(c) != 1 || c[0].ID != id || !strings.HasPrefix(c[0].Wanted, "edge_nodes[0]."+field+": ") {
		t.Errorf("%.80q: wanted one %s that names %s, got %v", v, id, field, err)
		return
	}
	if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\n\r\x00\x1b") {
		t.Errorf("%.80q: not fit for a log: %.2000q", v, err.Error())
	}
}

func value(n Node, field string) string {
	return map[string]string{
		"name": n.Name, "hostname": n.Hostname, "instance_id": n.InstanceID, "private_ip": n.PrivateIP, "public_ip": n.PublicIP, "region": n.Region,
		"availability_domain": n.AvailabilityDomain, "subnet_id": n.SubnetID, "ssh_host_key": n.SSHHostKey,
	}[field]
}

func same(list ...string) map[string]string {
	out := map[string]string{}
	for _, s := range list {
		out[s] = s
	}
	return out
}
