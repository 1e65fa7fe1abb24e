package assert

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/action"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

const everyKind = `
assertions:
  - name: forgejo-database
    sqlite:
      path: /var/lib/forgejo/data/forgejo.db
      wal: forbidden
      tables: {repository: 3, user: 1}
  - name: forgejo
    forgejo:
      database: /var/lib/forgejo/data/forgejo.db
      repositories: /var/lib/forgejo/repositories
      lfs: /var/lib/forgejo/data/lfs
      min_repositories: 3
      max_hashed: 500
      fsck_timeout: 10m
  - name: rustdesk
    rustdesk: {dir: /var/lib/rustdesk}
  - name: k3s
    k3s:
      token: /var/lib/rancher/k3s/server/token
      server_ca: /var/lib/rancher/k3s/server/tls/server-ca.crt
      etcd_snapshot: /var/lib/rancher/k3s/server/db/snapshots
      min_revision: 100
      min_keys: 50
      required_keys: [/registry/namespaces/kube-system]
  - name: app
    file:
      path: /etc/app.yaml
      min_size: 10
      yaml:
        .server.port: {equals: 8080}
        .users: {min: 3}
        .debug: {exists: false}
  - name: check
    command:
      argv: [my-check, --quick]
      timeout: 30s
`

func TestParse(t *testing.T) {
	got, err := Parse([]byte(everyKind))
	if err != nil {
		t.Fatal(err)
	}
	three, no := 3.0, false
	want := []Assertion{
		{Name: "forgejo-database", SQLite: &SQLite{Path: "/var/lib/forgejo/data/forgejo.db", WAL: "forbidden", Tables: map[string]int64{"repository": 3, "user": 1}}},
		{Name: "forgejo", Forgejo: &Forgejo{Database: "/var/lib/forgejo/data/forgejo.db", Repositories: "/var/lib/forgejo/repositories", LFS: "/var/lib/forgejo/data/lfs", MinRepositories: 3, MaxHashed: 500, FsckTimeout: "10m"}},
		{Name: "rustdesk", RustDesk: &RustDesk{Dir: "/var/lib/rustdesk"}},
		{Name: "k3s", K3s: &K3s{Token: "/var/lib/rancher/k3s/server/token", ServerCA: "/var/lib/rancher/k3s/server/tls/server-ca.crt", EtcdSnapshot: "/var/lib/rancher/k3s/server/db/snapshots", MinRevision: 100, MinKeys: 50, RequiredKeys: []string{"/registry/namespaces/kube-system"}}},
		{Name: "app", File: &File{Path: "/etc/app.yaml", MinSize: 10, YAML: map[string]Condition{".server.port": {Equals: 8080}, ".users": {Min: &three}, ".debug": {Exists: &no}}}},
		{Name: "check", Command: &Command{Argv: []string{"my-check", "--quick"}, Timeout: "30s"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Each line is one mistake in a document that is right without it.
func TestParseRefuses(t *testing.T) {
	for name, tt := range map[string]struct{ old, new, says string }{
		"an unknown field":           {"wal: forbidden", "wall: forbidden", "wall"},
		"an unknown kind":            {"    rustdesk: {dir: /var/lib/rustdesk}", "    rustdesc: {dir: /var/lib/rustdesk}", "rustdesc"},
		"no kind":                    {"    rustdesk: {dir: /var/lib/rustdesk}", "", "0 of them"},
		"two kinds":                  {"    rustdesk: {dir: /var/lib/rustdesk}", "    rustdesk: {dir: /a}\n    file: {path: /a}", "2 of them"},
		"two of one name":            {"name: forgejo\n", "name: k3s\n", "there twice"},
		"no name":                    {"name: rustdesk", "name: ''", "the 3. assertion"},
		"a strange name":             {"name: rustdesk", "name: 'a b'", `"a b"`},
		"a word for wal":             {"wal: forbidden", "wal: maybe", `"maybe"`},
		"a relative path":            {"path: /etc/app.yaml", "path: etc/app.yaml", `"etc/app.yaml"`},
		"a path with a way up":       {"path: /etc/app.yaml", "path: /etc/../../app.yaml", "shortest form"},
		"a negative floor":           {"min_revision: 100", "min_revision: -1", "min_revision"},
		"a negative floor of rows":   {"user: 1", "user: -1", "user"},
		"a time without a unit":      {"timeout: 30s", "timeout: 30", "timeout"},
		"a size that is upside down": {"min_size: 10", "min_size: 10\n      max_size: 9", "max_size"},
		"a hash that is none":        {"min_size: 10", "sha256: abc", "sha256"},
		"no condition":               {".debug: {exists: false}", ".debug: {}", "0 of them"},
		"two conditions":             {".debug: {exists: false}", ".debug: {exists: false, equals: 1}", "2 of them"},
		"a list to equal":            {"{equals: 8080}", "{equals: [8080]}", "a list of 1"},
		"a path of values":           {".server.port", "server..port", "server..port"},
		"a number beyond exactness":  {"{equals: 8080}", "{equals: 1e300}", "exactly"},
		"no number":                  {"{equals: 8080}", "{equals: .nan}", "exactly"},
		"no least number":            {"{min: 3}", "{min: .nan}", "min"},
		"less than any number":       {"{min: 3}", "{min: -.inf}", "min"},
		"a hash that is empty":       {"min_size: 10", "sha256: ''", "nothing in line"},
		"a field without a value":    {"min_size: 10", "sha256:", `"sha256"`},
		"a floor without a value":    {"user: 1", "user: ", `"user"`},
		"tables that are none":       {"tables: {repository: 3, user: 1}", "tables: {}", `"tables"`},
		"an empty key":               {"[/registry/namespaces/kube-system]", "['']", `"required_keys"`},
		"a blank by an alias":        {"assertions:\n", "assertions:\n  - {name: z, file: {path: /z, json: {.a: {equals: &none ''}}}}\n  - {name: y, file: {path: /y, sha256: *none}}\n", `"sha256"`},
		"a field twice":              {"min_size: 10", "min_size: 10\n      min_size: 0", "one YAML document"},
		"json and yaml":              {"      yaml:", "      json: {.a: {exists: true}}\n      yaml:", "both"},
		"half a key pair":            {"{dir: /var/lib/rustdesk}", "{private: /a}", "rustdesk.private"},
		"no CA for the token":        {"      server_ca: /var/lib/rancher/k3s/server/tls/server-ca.crt\n", "", "server_ca"},
		"two datastores":             {"min_keys: 50", "sqlite: /state.db", "both"},
		"floors without a snapshot":  {"      etcd_snapshot: /var/lib/rancher/k3s/server/db/snapshots\n", "", "min_revision"},
		"rows without a database":    {"min_keys: 50", "min_rows: 50", "min_rows"},
		"a program by its place":     {"[my-check, --quick]", "[./my-check]", `"./my-check"`},
		"no program":                 {"[my-check, --quick]", "[]", "argv"},
		"two documents":              {"assertions:\n", "assertions: []\n---\nassertions:\n", "one YAML document"},
		"nothing":                    {everyKind, "assertions: []\n", "at least one"},
		"no text":                    {everyKind, "", "one YAML document"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(everyKind, tt.old, tt.new, 1)
			if text == everyKind {
				t.Fatal("nothing was replaced")
			}
			list, err := Parse([]byte(text))
			if err == nil || list != nil || !strings.Contains(err.Error(), tt.says) || !verdict.Has(err, "input-assertions") {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
}

func TestParseTellsAllAtOnce(t *testing.T) {
	_, err := Parse([]byte("assertions:\n- name: a\n  sqlite: {path: x, wal: y, tables: {t: -1}}\n- name: a\n  command: {argv: [./x], timeout: 1}\n"))
	if n := len(verdict.ChecksOf(err)); n != 6 {
		t.Errorf("%d problems, want 6: %v", n, err)
	}
}

// An assertion that cannot be judged proves nothing.
func TestAssertNeedsItsPlaces(t *testing.T) {
	good := Assertion{Name: "x", File: &File{Path: "/a"}}
	for name, spoil := range map[string]func(r *restoredRig) Assertion{
		"no timeout":             func(r *restoredRig) Assertion { r.tools.Timeout = 0; return good },
		"no temporary directory": func(r *restoredRig) Assertion { r.tools.TempDir = ""; return good },
		"one in the tree": func(r *restoredRig) Assertion {
			r.tools.TempDir = filepath.Join(r.dir, "tmp")
			os.Mkdir(r.tools.TempDir, 0o700)
			return good
		},
		"no tree":       func(r *restoredRig) Assertion { os.RemoveAll(r.dir); return good },
		"not validated": func(r *restoredRig) Assertion { return Assertion{Name: "x"} },
	} {
		r := newRestored(t)
		r.write("/a", "x")
		a := spoil(r)
		if checks := a.Assert(t.Context(), r.dir, r.tools); len(checks) == 0 || verdict.Of(checks) == proven {
			t.Errorf("%s: %+v", name, checks)
		}
	}
}

// The file of the checkout is judged as a whole, and all that is wrong with it
// is told at once.
func TestRead(t *testing.T) {
	const metadata = "name: x\ninputs:\n  assertions:\n    description: YAML file in the checkout with what must be true of what came back.\n"
	checkout := t.TempDir()
	read := func(text string) (in *action.Inputs, judge func(r *restoredRig) []verdict.Check) {
		t.Helper()
		env := []string{"GITHUB_WORKSPACE=" + checkout, "PATH=" + os.Getenv("PATH")}
		if text != "" {
			if err := os.WriteFile(filepath.Join(checkout, "assertions.yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			env = append(env, "INPUT_ASSERTIONS=assertions.yaml")
		}
		a, err := action.New([]byte(metadata), &bytes.Buffer{}, env)
		if err != nil {
			t.Fatal(err)
		}
		in = a.Inputs()
		if f := All(Read(in), env, t.Logf); f != nil && in.Err() == nil {
			judge = func(r *restoredRig) []verdict.Check { return f(t.Context(), r.dir, r.work) }
		}
		return in, judge
	}
	if in, judge := read(""); judge != nil || in.Err() != nil {
		t.Errorf("not given: %v", in.Err())
	}
	if in, judge := read("assertions: [{name: a, file: {path: x}}, {name: b}]"); judge != nil || len(verdict.ChecksOf(in.Err())) != 2 {
		t.Errorf("two mistakes: %v", in.Err())
	}
	in, judge := read("assertions: [{name: a, file: {path: /a}}, {name: b, file: {path: /b}}]")
	if judge == nil || in.Err() != nil {
		t.Fatal(in.Err())
	}
	r := newRestored(t)
	r.write("/a", marker)
	checks := judge(r)
	var got []string
	for _, c := range checks {
		got = append(got, c.Subject+" "+string(c.Verdict))
	}
	if diff := cmp.Diff([]string{"a proven", "b disproven"}, got); diff != "" {
		t.Error(diff)
	}
}
