package sopsx

import (
	"fmt"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

const yamlText = `# a comment about correct-horse
k3s:
    token: correct-horse-1 # and one beside it
    # in between
    "a/b": correct-horse-2
list:
    # above an item
    - correct-horse-3
    - name: correct-horse-4
    - - correct-horse-5
text: |
    correct-horse-6
    :: correct-horse-7
number: 4711
fraction: 1.5
yes: true
when: 2026-01-02T03:04:05Z
none: null
nothing: ""
more: {}
`

// TestFormats reads what sops wrote in each format: the names without a key,
// and the values with one.
func TestFormats(t *testing.T) {
	k := newKey(t)
	for _, test := range []struct {
		format Format
		text   string
		want   map[string]string
		names  string
	}{
		{YAML, yamlText, map[string]string{
			"k3s/token": "correct-horse-1", `["k3s"]["a/b"]`: "correct-horse-2", "list/0": "correct-horse-3", `["list"][1]["name"]`: "correct-horse-4", "list/2/0": "correct-horse-5",
			"text": "correct-horse-6\n:: correct-horse-7\n", "number": "4711", "fraction": "1.5", "yes": "true", "when": "2026-01-02T03:04:05Z", "nothing": "",
		}, `k3s/token ["k3s"]["a/b"] list/0 list/1/name list/2/0 text number fraction yes when none nothing`},
		{JSON, `{"k3s": {"token": "correct-horse-1"}, "big": 9007199254740993, "list": [1, true, {"x": "correct-horse"}], "": "correct-horse"}`, map[string]string{
			"k3s/token": "correct-horse-1", "big": "9007199254740993", "list/0": "1", "list/1": "true", "list/2/x": "correct-horse", `[""]`: "correct-horse",
		}, `k3s/token big list/0 list/1 list/2/x [""]`},
		{Dotenv, "# correct-horse\nTOKEN=correct-horse=1\nTWO=correct-horse\\nlines\n", map[string]string{"TOKEN": "correct-horse=1", "TWO": "correct-horse\nlines"}, "TOKEN TWO"},
		{INI, "; correct-horse\n[k3s]\n; correct-horse\ntoken = correct-horse-1\n[other]\ntoken = correct-horse-2\n", map[string]string{"k3s/token": "correct-horse-1", "other/token": "correct-horse-2"}, "k3s/token other/token"},
		{Binary, "\x00correct-horse\xff\n", map[string]string{"data": "\x00correct-horse\xff\n"}, "data"},
	} {
		t.Run(string(test.format), func(t *testing.T) {
			f := read(t, encrypt(t, test.format, test.text, "age: "+k.recipient), test.format)
			if got := strings.Join(f.Names(), " "); got != test.names {
				t.Errorf("names %s, want %s", got, test.names)
			}
			if diff := cmp.Diff([]string{k.recipient}, f.Recipients()); diff != "" {
				t.Error(diff)
			}
			s, err := f.Decrypt(k.ids)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for n := range test.want {
				v, err := s.Value(name(t, n))
				if err != nil {
					t.Error(err)
				}
				got[n] = string(v)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			_, err = s.Value(name(t, "nowhere"))
			refused(t, err, "sops-names", "nowhere")
		})
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"a.yaml": YAML, "a.yml": YAML, "a.json": JSON, ".env": Dotenv, "a.ini": INI, "a.yaml.enc": Binary, "yaml": Binary} {
		if got := FormatOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	mine, other, third := newKey(t), newKey(t), newKey(t)
	const text = "token: correct-horse\n"
	_, err := read(t, encrypt(t, YAML, text, "age: "+other.recipient+","+third.recipient), YAML).Decrypt(mine.ids)
	refused(t, err, "sops-key", mine.recipient, other.recipient, third.recipient, "updatekeys")

	mixed := strings.Replace(encrypt(t, YAML, text, "age: "+mine.recipient), "\nsops:\n", `
sops:
    pgp:
        - fp: 0123456789ABCDEF0123456789ABCDEF01234567
          created_at: "2026-01-02T03:04:05Z"
          enc: x
`, 1)
	f := read(t, mixed, YAML)
	if _, err := f.Decrypt(mine.ids); err != nil {
		t.Errorf("an age key beside a PGP key: %v", err)
	}
	_, err = f.Decrypt(other.ids)
	refused(t, err, "sops-key", "1 that use no age key")

	groups := func(threshold int, keys ...key) *File {
		rule := []string{fmt.Sprintf("shamir_threshold: %d", threshold), "key_groups:"}
		for _, k := range keys {
			rule = append(rule, "  - age: ["+k.recipient+"]")
		}
		return read(t, encrypt(t, YAML, text, rule...), YAML)
	}
	both := append(append([]Identity{}, mine.ids...), third.ids...)
	f = groups(2, mine, other, third)
	_, err = f.Decrypt(mine.ids)
	refused(t, err, "sops-key", "2 of 3 key groups", "which opens 1")
	if s, err := f.Decrypt(both); err != nil {
		t.Error(err)
	} else if v, _ := s.Value(name(t, "token")); string(v) != "correct-horse" {
		t.Errorf("%q", v)
	}
	if c := f.Judge(Want{Recipients: []string{mine.recipient}})[1]; c.Verdict != verdict.Disproven || !strings.Contains(c.Got, "is in 1 key groups, and it takes 2") {
		t.Errorf("%+v", c)
	}
	f = groups(2, mine, mine, third)
	if c := f.Judge(Want{Recipients: []string{mine.recipient}})[1]; c.Verdict != verdict.Proven {
		t.Errorf("%+v", c)
	}
	if _, err = f.Decrypt(mine.ids); err != nil {
		t.Error(err)
	}
}

func TestParseIdentities(t *testing.T) {
	id := "AGE-SECRET-KEY-1" + strings.Repeat("Q", 58)
	for name, text := range map[string]string{"nothing": "", "comments": "# none\n", "another": "# a key\n" + id + "\n", "ssh": "-----BEGIN OPENSSH PRIVATE KEY-----\n"} {
		if _, err := ParseIdentities([]byte(text)); err == nil || strings.Contains(err.Error(), "QQ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	k := newKey(t)
	if err := ParseRecipient(k.recipient); err != nil || k.ids[0].Recipient() != k.recipient {
		t.Errorf("%v, %q and %q", err, k.recipient, k.ids[0].Recipient())
	}
	for _, text := range []string{"", "age1", k.recipient + "q", "ssh-ed25519 AAAA"} {
		if ParseRecipient(text) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"a": "a", "a/b/0": "a/b/0", `["a"]["b"][0]`: "a/b/0", `['a']`: "a", `["a/b"]["c"][0]`: `["a/b"]["c"][0]`, "a/../b": "a/../b", `["a\u0000"]`: `["a\x00"]`, `[""]`: `[""]`,
	} {
		n, err := ParseName(text)
		if err != nil || n.String() != want {
			t.Errorf("%s: %s, %v, want %s", text, n, err, want)
		}
		if again, err := ParseName(n.String()); err != nil || !again.Equal(n) {
			t.Errorf("%s is read as %s: %v", n, again, err)
		}
	}
	for _, text := range []string{"", "/", "a/", "/a", "a//b", "a b", "a=b", "[", "[]", `["a"`, `["a"]b`, "[a]", "[`a`]", "['a]", "['a", "[-1]", `["a]`} {
		if n, err := ParseName(text); err == nil {
			t.Errorf("%q is read as %s", text, n)
		}
	}
	for text, want := range map[string]string{"a/b=f": "a/b|=f", `["a=b"]=f`: `["a=b"]|=f`, "a": "a|"} {
		if n, rest, err := CutName(text); err != nil || n.String()+"|"+rest != want {
			t.Errorf("%s: %s|%s, %v", text, n, rest, err)
		}
	}
}

// TestClearTypes: the MAC is of the values in clear as well, so they must be
// read as the types that sops takes them for.
func TestClearTypes(t *testing.T) {
	k := newKey(t)
	for name, test := range map[string]struct {
		format Format
		text   string
	}{
		"yaml": {YAML, "a: [0x10, 0o17, 017, 1_000, 1e3, 1.50, .inf, 12345678901234567, yes, True, ~, null, '', 2026-01-02, 2026-01-02T03:04:05+01:00, !!str 5, \"x\\ty\", on]\nb:\n  c: >-\n    folded\n    text\n"},
		"json": {JSON, `{"a": [1, 1.0, 1e3, 0.1, -0, 123456789012345678901234567890, 9007199254740993, true, null, "", "\u00e9\ud83d\ude00"], "b": {"c": {}}}`},
		"env":  {Dotenv, "A=1\nB= x \nC=\"quoted\"\nD=\nE=a\\nb\r\n"},
		"ini":  {INI, "top = 1\n[a]\nb = \"x; y\"\nc = \n; note\nd = `e`\n[a.b]\nf = 2\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, rule := range []string{"unencrypted_regex: .", "encrypted_regex: .", "encrypted_suffix: c"} {
				f := read(t, encrypt(t, test.format, test.text, "age: "+k.recipient, rule), test.format)
				if _, err := f.Decrypt(k.ids); err != nil {
					t.Errorf("%s: %v", rule, err)
				}
			}
		})
	}
}
