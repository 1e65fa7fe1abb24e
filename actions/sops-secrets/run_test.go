package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecrypt(t *testing.T) {
	j := newJob(t)
	j.Inputs["required"], j.Inputs["recipients"] = `["restic/password"]`+"\nnumber", j.recipient
	r := j.Do()
	r.Want("")
	got := map[string]string{}
	for given, path := range paths(t, r) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
		rel, _ := filepath.Rel(r.Outputs["dir"], path)
		got[given+" in "+rel] = string(data)
	}
	want := map[string]string{
		"k3s/token in k3s-token": "correct-horse-1", `["k3s"]["a/b"] in second`: "correct-horse-2",
		"ssh in id_ed25519": "-----BEGIN correct-horse-5-----\ncorrect-horse-6::correct-horse-7%\n",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if info, err := os.Stat(r.Outputs["dir"]); err != nil || info.Mode().Perm() != 0o700 || !strings.HasPrefix(r.Outputs["dir"], j.Temp+"/") {
		t.Errorf("%s: %v, %v", r.Outputs["dir"], info.Mode(), err)
	}
	var names, recipients []string
	if json.Unmarshal([]byte(r.Outputs["names"]), &names) != nil || !slices.Contains(names, `["../../escape"]`) || len(names) != 8 {
		t.Errorf("names %s", r.Outputs["names"])
	}
	if json.Unmarshal([]byte(r.Outputs["recipients"]), &recipients) != nil || !slices.Equal(recipients, []string{j.recipient}) {
		t.Errorf("recipients %s", r.Outputs["recipients"])
	}
	if r.Outputs["path"] != "" {
		t.Errorf("path is %q, with three keys", r.Outputs["path"])
	}
	for _, secret := range []string{"correct-horse-1", "correct-horse-2", "-----BEGIN correct-horse-5-----", "correct-horse-6", "correct-horse-7%"} {
		if !strings.Contains(r.Log, "::add-mask::"+secret+"\n") {
			t.Errorf("%q is not masked:\n%s", secret, r.Log)
		}
	}
	if strings.Contains(r.Log, "correct-horse-3") {
		t.Error("a value that nobody asked for is in the log")
	}
	dir := r.Outputs["dir"]
	j.Inputs = map[string]string{"mode": "sweep"}
	r = j.Do()
	r.Want("")
	r.Says("1 directories removed")
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("there after the sweep: %v", err)
	}
	j.clean(r.Log)
	j.Do().Want("") // and there is nothing any more
}

func TestSingleKey(t *testing.T) {
	for name, test := range map[string]struct{ file, format, text, keys, want string }{
		"dotenv": {".env", "", "A=correct-horse\nB=x\n", "A", "correct-horse"},
		"ini":    {"a.ini", "", "[a]\nb = correct-horse\n", "a/b", "correct-horse"},
		"json":   {"a.json", "", `{"a": {"b": [true, "correct-horse"]}}`, "a/b/1", "correct-horse"},
		"binary": {"key", "", "\x00correct-horse\n\xff", "data", "\x00correct-horse\n\xff"},
		"number": {"secrets.yaml", "yaml", "a: 4711\n", "a", "4711"},
		// Masked in pieces, since a runner would break the line, and the mask.
		"a long line": {"a.txt", "binary", strings.Repeat("correct-horse", 10_000), "data", strings.Repeat("correct-horse", 10_000)},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t)
			j.encrypt(test.file, test.text, "age: "+j.recipient)
			j.Inputs["file"], j.Inputs["format"], j.Inputs["keys"] = test.file, test.format, test.keys
			r := j.Do()
			r.Want("")
			data, err := os.ReadFile(r.Outputs["path"])
			if err != nil || string(data) != test.want {
				t.Errorf("%q, %v", data, err)
			}
			for line := range strings.Lines(r.Log) {
				if len(line) > 8<<10 {
					t.Errorf("a line of %d bytes in the log", len(line))
				}
			}
		})
	}
}

func TestCheckNeedsNoKey(t *testing.T) {
	j := newJob(t)
	j.Inputs = map[string]string{"mode": "check", "file": "secrets.yaml", "keys": "k3s/token", "required_from": "names.txt", "recipients": j.recipient}
	j.write("names.txt", "# what the node needs\n[\"restic/password\"]\n\n  ssh\n")
	if err := os.Remove(j.key); err != nil {
		t.Fatal(err)
	}
	r := j.Do()
	r.Want("")
	if r.Outputs["dir"] != "" || strings.Contains(r.Log, secretWord) {
		t.Errorf("something was decrypted: %v\n%s", r.Outputs, r.Log)
	}
	j.clean(r.Log)
	j.Inputs["required_from"] = "names.json"
	j.write("names.json", `["k3s/token", "x", "[\"y\"]"]`)
	r = j.Do()
	j.red(r, "sops-names=disproven")
	r.Says(`missing: "x", "y"`)
}

// TestRed has one clear line for each way in which the secrets are not as they
// should be, and no secret anywhere.
func TestRed(t *testing.T) {
	for name, test := range map[string]struct {
		prepare func(j *job)
		checks  []string
		says    []string
	}{
		"a wrong key": {func(j *job) {
			path, _ := j.newKey("other.txt")
			j.Inputs["age_key_file"] = path
		}, []string{"sops-key=disproven"}, []string{"an identity that opens the file, which is for", "updatekeys"}},
		"a file for other recipients": {func(j *job) {
			_, other := j.newKey("other.txt")
			j.encrypt("secrets.yaml", secretsYAML, "age: "+other)
			j.Inputs["recipients"] = j.recipient
		}, []string{"sops-recipients=disproven"}, []string{"is none of them; the file is for"}},
		"a changed value": {func(j *job) {
			j.edit("secrets.yaml", func(s string) string { return strings.Replace(s, "edge-1", "edge-2", 1) })
		}, []string{"sops-mac=disproven"}, []string{"a mac that is of other values"}},
		"another mac": {func(j *job) {
			j.edit("secrets.yaml", func(s string) string {
				return strings.Replace(s, "    mac: ENC[AES256_GCM,data:", "    mac: ENC[AES256_GCM,data:AAAA", 1)
			})
		}, []string{"sops-mac=disproven"}, []string{"a mac, or a lastmodified beside it, that was changed"}},
		"a value that is not asked for taken away": {func(j *job) {
			j.edit("secrets.yaml", func(s string) string { return strings.Replace(s, "nothing: \"\"\nsops:", "sops:", 1) })
			j.edit("secrets.yaml", func(s string) string { return s[strings.Index(s, "restic/password"):] })
			j.Inputs["keys"] = "ssh"
		}, []string{"sops-mac=disproven"}, nil},
		"a value in clear against the rules": {func(j *job) {
			j.edit("secrets.yaml", func(s string) string { return "password: hunter3hunter3\n" + s })
		}, []string{"sops-encrypted=disproven"}, []string{`in clear: "password"`}},
		"names that are not there": {func(j *job) { j.Inputs["keys"] += "\nx\nk3s"; j.Inputs["required"] = "y/z" }, []string{"sops-names=disproven"}, []string{`missing: "y/z", "x", "k3s"`, `name one, such as "k3s/token"`}},
		"an empty one":             {func(j *job) { j.Inputs["required"] = "nothing" }, []string{"sops-empty=disproven"}, []string{`empty: "nothing"`}},
		"one in clear":             {func(j *job) { j.Inputs["keys"] = "host_unencrypted" }, []string{"sops-encrypted=disproven"}, []string{"allow_unencrypted"}},
		"all at once": {func(j *job) {
			_, other := j.newKey("other.txt")
			j.Inputs["required"], j.Inputs["recipients"] = "x\nnothing\nhost_unencrypted", other
		}, []string{"sops-names=disproven", "sops-empty=disproven", "sops-encrypted=disproven", "sops-recipients=disproven"}, nil},
		"no SOPS file":     {func(j *job) { j.write("secrets.yaml", "hunter3hunter3: [") }, []string{"sops-file=disproven"}, []string{"no YAML"}},
		"not encrypted":    {func(j *job) { j.write("secrets.yaml", "k3s: {token: hunter3hunter3}\n") }, []string{"sops-file=disproven"}, []string{"it is not encrypted"}},
		"an empty file":    {func(j *job) { j.write("secrets.yaml", "") }, []string{"sops-file=disproven"}, nil},
		"another format":   {func(j *job) { j.Inputs["format"] = "dotenv" }, []string{"sops-file=disproven"}, []string{"as dotenv"}},
		"half a threshold": {func(j *job) { j.groups(2) }, []string{"sops-key=disproven"}, []string{"2 of 2 key groups", "which opens 1"}},
		"a linked place": {func(j *job) {
			if err := os.Symlink(j.Workspace, filepath.Join(j.Temp, "edge-actions")); err != nil {
				j.t.Fatal(err)
			}
		}, []string{"secrets-swept=unproven"}, []string{"is a link to another place"}},
	} {
		t.Run(name, func(t *testing.T) {
			j := newJob(t)
			test.prepare(j)
			r := j.Do()
			j.red(r, test.checks...)
			r.Says(test.says...)
			if strings.Contains(r.Log, "hunter3") {
				t.Errorf("a value that lies in clear is in the log:\n%s", r.Log)
			}
			for _, name := range []string{"output", "summary"} {
				data, err := os.ReadFile(filepath.Join(j.Temp, name))
				if err != nil || strings.Contains(string(data), "hunter3") {
					t.Errorf("%v: in %s:\n%s", err, name, data)
				}
			}
		})
	}
}

// groups encrypts the file for two key groups.
func (j *job) groups(threshold int) {
	_, other := j.newKey("other.txt")
	j.encrypt("secrets.yaml", secretsYAML, "shamir_threshold: "+string(rune('0'+threshold)), "key_groups:", "  - age: ["+j.recipient+"]", "  - age: ["+other+"]")
}

func TestAllowUnencryptedIsAWaiver(t *testing.T) {
	j := newJob(t)
	j.Inputs["keys"], j.Inputs["allow_unencrypted"] = "host_unencrypted=host", "host_unencrypted"
	r := j.Do()
	r.Want("", "sops-encrypted=disproven (waived)")
	if data, err := os.ReadFile(r.Outputs["path"]); err != nil || string(data) != "edge-1" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestRegisterCannotBeWritten: without it a kill would leave secrets that
// nobody finds, so nothing is decrypted.
func TestRegisterCannotBeWritten(t *testing.T) {
	j := newJob(t)
	state := filepath.Join(j.Home, ".local/state/edge-actions")
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "secret-files"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := j.Do()
	j.red(r, "secrets-swept=unproven")
	if strings.Contains(r.Log, "::add-mask::") {
		t.Error("something was decrypted")
	}
}

// TestTheEnvironmentHasNoSay: sops itself would take a key from it, or run a
// command.
func TestTheEnvironmentHasNoSay(t *testing.T) {
	j := newJob(t)
	right := j.key
	path, _ := j.newKey("other.txt")
	j.Inputs["age_key_file"] = path
	data, err := os.ReadFile(right)
	if err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(j.Home, "ran")
	t.Setenv("SOPS_AGE_KEY", string(data))
	t.Setenv("SOPS_AGE_KEY_FILE", right)
	t.Setenv("SOPS_AGE_KEY_CMD", "touch "+ran)
	j.red(j.Do(), "sops-key=disproven")
	if _, err := os.Stat(ran); err == nil {
		t.Error("a command was run")
	}
}

// TestHostileNames: what the file calls its values reaches no runner as
// something else, and costs no output that matters.
func TestHostileNames(t *testing.T) {
	j := newJob(t)
	names := map[string]string{"${{ secrets.X }}": "correct-horse", "::set-env name=X::y": "correct-horse", "a\nb": "correct-horse", "a": "correct-horse-1"}
	text, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	j.encrypt("a.json", string(text), "age: "+j.recipient)
	j.Inputs["file"], j.Inputs["keys"] = "a.json", "a\n"+`["${{ secrets.X }}"]=x`
	r := j.Do()
	r.Want("")
	var got []string
	if err := json.Unmarshal([]byte(r.Outputs["names"]), &got); err != nil || len(got) != 4 || strings.Contains(r.Outputs["names"]+r.Outputs["paths"], "${{") {
		t.Errorf("%v: %s", err, r.Outputs["names"])
	}
	if paths(t, r)[`["${{ secrets.X }}"]`] == "" {
		t.Error(r.Outputs["paths"])
	}
	for line := range strings.Lines(r.Log) {
		if strings.HasPrefix(line, "::set-env") {
			t.Errorf("%q", line)
		}
	}
	names[strings.Repeat("x", 60_000)] = "correct-horse"
	if text, err = json.Marshal(names); err != nil {
		t.Fatal(err)
	}
	j.encrypt("a.json", string(text), "age: "+j.recipient)
	r = j.Do()
	r.Want("")
	if r.Outputs["names"] != "" || len(paths(t, r)) != 2 {
		t.Errorf("%d bytes of names", len(r.Outputs["names"]))
	}
	r.Says("The output names is left out")
}
