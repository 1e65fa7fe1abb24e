package sopsx

import (
	"fmt"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestJudge(t *testing.T) {
	k, other := newKey(t), newKey(t)
	const text = "a: correct-horse-1\nb:\n    c: correct-horse-2\n    d: \"\"\nnone: null\nhost_unencrypted: edge-1\nport: 22\n"
	suffix := read(t, encrypt(t, YAML, text, "age: "+k.recipient), YAML)
	regex := read(t, encrypt(t, YAML, text, "age: "+k.recipient, "unencrypted_regex: ^(host|port)"), YAML)
	only := read(t, encrypt(t, YAML, text, "age: "+k.recipient, "encrypted_regex: ^b$"), YAML)
	ending := read(t, encrypt(t, YAML, text, "age: "+k.recipient, "encrypted_suffix: a"), YAML)
	for name, test := range map[string]struct {
		file *File
		want Want
		not  string // the checks that are not proven
		says string
	}{
		"nothing asked":            {suffix, Want{}, "", ""},
		"all well":                 {suffix, Want{Names: names(t, "a", "b/c", "port"), Recipients: []string{k.recipient}}, "", ""},
		"missing, all at once":     {suffix, Want{Names: names(t, "a", "x", "b/y")}, "sops-names", `missing: "x", "b/y"`},
		"what there is":            {suffix, Want{Names: names(t, "x")}, "sops-names", `the file has "a", "b/c"`},
		"several values":           {suffix, Want{Names: names(t, "b")}, "sops-names", `name one, such as "b/c"`},
		"below a value":            {suffix, Want{Names: names(t, "a/b")}, "sops-names", `missing: "a/b"`},
		"empty":                    {suffix, Want{Names: names(t, "b/d", "none")}, "sops-empty", `empty: "b/d", "none"`},
		"empty and allowed":        {suffix, Want{Names: names(t, "b/d"), Clear: names(t, "b/d")}, "sops-empty", "the MAC does not see it"},
		"in clear":                 {suffix, Want{Names: names(t, "host_unencrypted")}, "sops-encrypted", `in clear by the file's own rules: "host_unencrypted"`},
		"in clear and allowed":     {suffix, Want{Names: names(t, "a", "host_unencrypted"), Clear: names(t, "host_unencrypted")}, "sops-encrypted (waived)", ""},
		"in clear, one allowed":    {regex, Want{Names: names(t, "port", "host_unencrypted"), Clear: names(t, "port")}, "sops-encrypted sops-encrypted (waived)", ""},
		"regex":                    {regex, Want{Names: names(t, "a", "port")}, "sops-encrypted", `rules: "port"`},
		"regex of what is":         {only, Want{Names: names(t, "a", "b/c")}, "sops-encrypted", `rules: "a"`},
		"suffix of what is":        {ending, Want{Names: names(t, "a", "b/c")}, "sops-encrypted", `rules: "b/c"`},
		"another recipient":        {suffix, Want{Recipients: []string{k.recipient, other.recipient}}, "sops-recipients", fmt.Sprintf("%q is none of them; the file is for %q", other.recipient, k.recipient)},
		"all of it at once":        {suffix, Want{Names: names(t, "x", "none", "host_unencrypted"), Recipients: []string{other.recipient}}, "sops-names sops-empty sops-encrypted sops-recipients", ""},
		"nothing but what is none": {suffix, Want{Names: names(t, "b/d/e")}, "sops-names", ""},
	} {
		t.Run(name, func(t *testing.T) {
			checks := test.file.Judge(test.want)
			var not []string
			for _, c := range checks {
				if c.Verdict == verdict.Proven {
					continue
				}
				if c.Waived != "" {
					c.ID += " (waived)"
				}
				not = append(not, c.ID)
			}
			if diff := cmp.Diff(test.not, strings.Join(not, " ")); diff != "" {
				t.Errorf("%s\n%+v", diff, checks)
			}
			if text := fmt.Sprint(checks); !strings.Contains(text, test.says) || strings.Contains(text, secretWord) {
				t.Errorf("no %q in %s", test.says, text)
			}
		})
	}
}

// TestRulesAreOfTheWholeFile: what lies in clear against the file's own rules
// is red, whoever asks for whatever.
func TestRulesAreOfTheWholeFile(t *testing.T) {
	k := newKey(t)
	whole := encrypt(t, JSON, `{"a": "correct-horse", "b": "x"}`, "age: "+k.recipient)
	f := read(t, strings.Replace(whole, `"b":`, `"password": "correct-horse", "b":`, 1), JSON)
	checks := f.Judge(Want{Names: names(t, "a"), Clear: names(t, "password")})
	if verdict.Of(checks) != verdict.Disproven || checks[0].ID != "sops-encrypted" || !strings.Contains(checks[0].Got, `in clear: "password"`) {
		t.Errorf("%+v", checks)
	}
	stray := read(t, strings.Replace(whole, `"unencrypted_suffix": "_unencrypted"`, `"encrypted_suffix": "x"`, 1), JSON)
	if c := stray.Judge(Want{})[0]; c.Verdict != verdict.Disproven || !strings.Contains(c.Got, `against the rules: "a", "b"`) {
		t.Errorf("%+v", c)
	}
}
