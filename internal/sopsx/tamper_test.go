package sopsx

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

// TestTampered changes what sops wrote in each way that there is. None of it
// decrypts, and nothing of it is shown.
func TestTampered(t *testing.T) {
	k := newKey(t)
	whole := encrypt(t, YAML, "a: correct-horse-1\nb: correct-horse-2\nplain_unencrypted: correct-horse-3\nlist: [correct-horse-4, correct-horse-5]\n", "age: "+k.recipient)
	line := func(start string) string {
		return regexp.MustCompile(`(?m)^ *` + start + `.*\n`).FindString(whole)
	}
	replace := func(old, with string) string {
		if old == "" || !strings.Contains(whole, old) {
			t.Fatalf("no %q in\n%s", old, whole)
		}
		return strings.Replace(whole, old, with, 1)
	}
	a, b, mac := line("a: "), line("b: "), line("mac: ")
	items := regexp.MustCompile(`(?m)^    - ENC.*\n`).FindAllString(whole, 2)
	for name, test := range map[string]struct {
		text string
		id   string
	}{
		"a value":                 {replace(a, a[:len("a: ENC[AES256_GCM,data:")]+"AAAA"+a[len("a: ENC[AES256_GCM,data:")+4:]), "sops-mac"},
		"two values swapped":      {replace(a+b, "a"+b[1:]+"b"+a[1:]), "sops-mac"},
		"two items swapped":       {replace(items[0]+items[1], items[1]+items[0]), "sops-mac"},
		"two lines swapped":       {replace(a+b, b+a), "sops-mac"},
		"a value taken away":      {replace(a, ""), "sops-mac"},
		"a value made empty":      {replace(a, "a: \"\"\n"), "sops-mac"},
		"an item taken away":      {replace(items[1], ""), "sops-mac"},
		"a value made a comment":  {replace(items[1], strings.Replace(items[1], "type:str", "type:comment", 1)), "sops-mac"},
		"a value's type":          {replace(a, strings.Replace(a, "type:str", "type:int", 1)), "sops-mac"},
		"a type that is none":     {replace(a, strings.Replace(a, "type:str", "type:x", 1)), "sops-mac"},
		"a clear value changed":   {replace("correct-horse-3", "correct-horse-x"), "sops-mac"},
		"a clear value added":     {replace(a, a+"new_unencrypted: correct-horse\n"), "sops-mac"},
		"a value in clear":        {replace(a, "a: correct-horse-x\n"), "sops-encrypted"},
		"a number in clear":       {replace(a, a+"pin: 4711\n"), "sops-encrypted"},
		"text after a value":      {replace(a, strings.TrimSuffix(a, "\n")+" correct-horse\n"), "sops-encrypted"},
		"the mac":                 {replace(mac, mac[:len("    mac: ENC[AES256_GCM,data:")]+"AAAA"+mac[len("    mac: ENC[AES256_GCM,data:")+4:]), "sops-mac"},
		"the mac of another":      {replace(mac, "    mac"+a[1:]), "sops-mac"},
		"no mac":                  {replace(mac, ""), "sops-file"},
		"an empty mac":            {replace(mac, "    mac: \"\"\n"), "sops-file"},
		"a mac in clear":          {replace(mac, "    mac: correct-horse\n"), "sops-file"},
		"the time":                {replace(`lastmodified: "2`, `lastmodified: "3`), "sops-mac"},
		"no time":                 {replace(line("lastmodified"), ""), "sops-file"},
		"what is encrypted":       {replace("unencrypted_suffix: _unencrypted", "unencrypted_suffix: a"), "sops-encrypted"},
		"a regex that is none":    {replace("unencrypted_suffix: _unencrypted", "unencrypted_regex: ("), "sops-file"},
		"a rule by comments":      {replace("unencrypted_suffix: _unencrypted", "encrypted_comment_regex: x"), "sops-file"},
		"a rule without an end":   {replace("unencrypted_suffix: _unencrypted", "unencrypted_regex: "+strings.Repeat("x", maxRule+1)), "sops-file"},
		"what the mac is of":      {replace("unencrypted_suffix:", "mac_only_encrypted: true\n    unencrypted_suffix:"), "sops-mac"},
		"the data key":            {replace("BEGIN AGE", "BEGIN AGF"), "sops-key"},
		"no keys":                 {replace("    age:\n", "    aged:\n"), "sops-file"},
		"a threshold of nothing":  {replace("    age:\n", "    shamir_threshold: -1\n    age:\n"), "sops-file"},
		"a threshold beyond all":  {replace("    age:\n", "    shamir_threshold: 9\n    age:\n"), "sops-file"},
		"a key twice":             {replace(a, a+a), "sops-file"},
		"no sops":                 {replace("\nsops:", "\nsoap:"), "sops-file"},
		"another sops":            {whole + "sops: {}\n", "sops-file"},
		"a second document":       {whole + "---\na: correct-horse\n", "sops-file"},
		"half of it":              {whole[:len(whole)/2], "sops-file"},
		"a line that is no YAML":  {replace(a, "a: correct-horse: b\n"), "sops-file"},
		"a value of another type": {replace(a, "a: !!int correct-horse\n"), "sops-file"},
		"a key that is a number":  {replace(a, "1: correct-horse\n"), "sops-file"},
		"an alias":                {replace(a+b, "a: &x"+a[2:]+"b: *x\n"), "sops-file"},
		"depth":                   {replace(a, "a: "+strings.Repeat("[", maxDepth+1)+strings.Repeat("]", maxDepth+1)+"\n"), "sops-file"},
		"more values than are":    {replace(a, "a: ["+strings.Repeat("x,", maxNames)+"]\n"), "sops-file"},
	} {
		t.Run(name, func(t *testing.T) {
			if test.text == whole {
				t.Fatal("nothing was changed")
			}
			f, err := Read([]byte(test.text), YAML)
			if err == nil {
				_, err = f.Decrypt(k.ids)
			}
			refused(t, err, test.id)
		})
	}
	f := read(t, whole, YAML)
	if _, err := f.Decrypt(k.ids); err != nil {
		t.Errorf("what was not changed: %v", err)
	}
}

// TestOnlyEncrypted is about files whose MAC leaves out what is in clear: it
// can be changed, and is never handed out.
func TestOnlyEncrypted(t *testing.T) {
	k := newKey(t)
	whole := encrypt(t, YAML, "a: correct-horse-1\nb_unencrypted: correct-horse-2\n", "age: "+k.recipient, "mac_only_encrypted: true")
	changed := strings.Replace(whole, "correct-horse-2", "correct-horse-3", 1)
	f := read(t, changed, YAML)
	if _, err := f.Decrypt(k.ids); err != nil {
		t.Fatal(err)
	}
	b := names(t, "b_unencrypted")
	c := f.Judge(Want{Names: b, Clear: b})
	if verdict.Of(c) != verdict.Disproven || !strings.Contains(fmt.Sprint(c), "mac_only_encrypted") {
		t.Errorf("%+v", c)
	}
}

// TestGarbage reads what is no SOPS file, in each format.
func TestGarbage(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 200_000)
	for _, text := range []string{
		"", "\n", "correct-horse", "correct-horse: [", "{", "{}", "[]", `{"sops": 1}`, `{"sops": {}}`, `{"sops": {"correct-horse": []}} x`, `{"a": "correct-horse", "a": 1, "sops": {}}`, "a=correct-horse", "[correct-horse", "[sops]\nage=correct-horse",
		"sops_age=correct-horse", "sops_mac=correct-horse\nsops_lastmodified=correct-horse", "sops_age__list_999999999__map_enc=correct-horse", `{"a": 1e999}`, deep, "\x00", "# correct-horse", strings.Repeat("x", MaxFile+1), `{"sops": {"age": "correct-horse", "kms": 3}}`,
		"&a [*a]", "a: &a [*a]", "a: !!binary correct-horse\nsops: {}", "? [correct-horse]\n: 1\nsops: {}", "[DEFAULT]\n`correct-horse",
	} {
		for _, format := range []Format{YAML, JSON, Dotenv, INI, Binary, "correct"} {
			_, err := Read([]byte(text), format)
			if refused(t, err, "sops-file"); t.Failed() {
				t.Fatalf("%s: %.100q", format, text)
			}
		}
	}
}

// TestUnreadable says why, of what would be read otherwise.
func TestUnreadable(t *testing.T) {
	k := newKey(t)
	whole := encrypt(t, JSON, `{"a": {"b": "correct-horse"}}`, "age: "+k.recipient)
	yaml := encrypt(t, YAML, "a:\n    b: correct-horse\n", "age: "+k.recipient)
	lists := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for text, says := range map[string]string{
		strings.Replace(whole, `"a":`, `"x": `+lists+`, "a":`, 1):                                                  "deep",
		strings.Replace(whole, `"a":`, `"a": {"c": ""}, "a":`, 1):                                                  `the key "a" twice`,
		strings.Repeat(" ", MaxFile) + whole:                                                                       "more than 4194304 bytes",
		whole + "{}":                                                                                               "more after its JSON object",
		strings.Replace(whole, `"a":`, `"x": 1e999, "a":`, 1):                                                      "a number that no float holds",
		strings.Replace(whole, `"a":`, `"x": [`+strings.Repeat(`"",`, maxNames)+`""], "a":`, 1):                    "more than 10000 values",
		strings.Replace(whole, `"unencrypted_suffix": "_unencrypted"`, `"unencrypted_regex": "("`, 1):              "no regular expression",
		strings.Replace(whole, `"age": [`, `"age": [`+strings.Repeat(`{"recipient": "", "enc": ""},`, maxKeys), 1): "1001 keys",
	} {
		_, err := Read([]byte(text), JSON)
		refused(t, err, "sops-file", says)
	}
	for text, says := range map[string]string{
		strings.Replace(yaml, "a:\n", "x: "+lists+"\na:\n", 1):      "deep",
		strings.Replace(yaml, "a:\n", "a:\n    c: \"\"\na:\n", 1):   `the key "a" twice`,
		strings.Replace(yaml, "a:\n", "x: &x \"\"\ny: *x\na:\n", 1): "an alias",
		yaml + "---\n{}\n": "more than one YAML document",
	} {
		_, err := Read([]byte(text), YAML)
		refused(t, err, "sops-file", says)
	}
}
