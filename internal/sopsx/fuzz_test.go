package sopsx

import (
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

// FuzzRead: whatever the file is, reading and decrypting it ends in values
// whose names can be asked for, or in one check.
func FuzzRead(f *testing.F) {
	k := newKey(f)
	for _, format := range []Format{YAML, JSON, Dotenv, INI, Binary} {
		text := map[Format]string{YAML: yamlText, JSON: `{"a": ["b", {"c": 1.5}], "d_unencrypted": true}`, Dotenv: "A=b\n#c\nD=e\n", INI: "[a]\nb = c\n", Binary: "x"}[format]
		whole := encrypt(f, format, text, "age: "+k.recipient)
		f.Add([]byte(whole), string(format))
		f.Add([]byte(strings.Replace(whole, "ENC[", "", 1)), string(format))
		f.Add([]byte(whole[:len(whole)/2]), string(format))
	}
	f.Fuzz(func(t *testing.T, data []byte, format string) {
		file, err := Read(data, Format(format))
		if err != nil {
			if file != nil || verdict.Reason(err) != "sops-file" {
				t.Fatalf("%v, %v", file, err)
			}
			return
		}
		var all []Name
		for _, e := range file.Entries() {
			again, err := ParseName(e.Name.String())
			if err != nil || !again.Equal(e.Name) {
				t.Fatalf("%q is read as %q: %v", e.Name, again, err)
			}
			all = append(all, e.Name)
		}
		file.Judge(Want{Names: all, Recipients: file.Recipients()})
		s, err := file.Decrypt(k.ids)
		if err != nil {
			if s != nil || !verdict.Has(err, "sops-key", "sops-mac", "sops-encrypted") {
				t.Fatal(err)
			}
			return
		}
		for _, n := range all {
			if _, err := s.Value(n); err != nil && verdict.Reason(err) != "sops-names" {
				t.Fatal(err)
			}
		}
	})
}
