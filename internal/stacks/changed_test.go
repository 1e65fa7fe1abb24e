package stacks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
)

// repository is a git repository of the files, with one commit on main and a
// branch after it.
func repository(t *testing.T, files map[string]string) (root string, git func(args ...string)) {
	t.Helper()
	root = tree(t, files)
	git = func(args ...string) {
		t.Helper()
		realtools.Output(t, "git", append([]string{"-C", root, "-c", "user.name=t", "-c", "user.email=t@localhost"}, args...)...)
	}
	git("init", "-q", "-b", "main")
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	git("checkout", "-q", "-b", "work")
	return root, git
}

func TestChanged(t *testing.T) {
	files := map[string]string{
		"iac/net/stack.tm.hcl":     block(),
		"iac/net/main.tf":          "module \"m\" {\n source = \"../../modules/outer\"\n}\nmodule \"r\" {\n source = \"git::ssh://x/y?ref=v1\"\n}\n",
		"iac/net/sub/stack.tm.hcl": block(),
		"iac/net/sub/main.tf":      "",
		"iac/net/files/x.txt":      "",
		"iac/json/main.tf.json":    `{"module":{"m":{"source":"./own"}}}`,
		"iac/json/own/main.tf":     "",
		"iac/odd/main.tf":          "module \"m\" {\n source = \"../../modules/${var.which}\"\n}\n",
		"iac/watch/stack.tm.hcl":   block(`watch = ["/shared.yaml", "../../top.yaml"]`),
		"iac/loop/main.tf":         "module \"m\" {\n source = \"../../modules/loop\"\n}\n",
		"iac/shared.yaml":          "",
		"top.yaml":                 "",
		"modules/outer/main.tofu":  "module \"i\" {\n source = \"../inner\"\n}\n",
		"modules/inner/main.tf":    "",
		"modules/inner/tpl/t.tpl":  "",
		"modules/inner2/main.tf":   "",
		"modules/loop/main.tf":     "module \"l\" {\n source = \"../loop\"\n}\n",
		"README.md":                "",
	}
	for name, c := range map[string]struct {
		change string // a file to write, "-" before it to remove it, "+" for one that is not committed
		want   string // beside odd, which nobody can tell
	}{
		"nothing of a stack":           {"README.md", ""},
		"its own file":                 {"iac/net/main.tf", "net"},
		"a file below it":              {"iac/net/files/x.txt", "net"},
		"the inner stack":              {"iac/net/sub/main.tf", "net/sub"},
		"a module":                     {"modules/outer/main.tofu", "net"},
		"a module's module":            {"modules/inner/tpl/t.tpl", "net"},
		"a module with its prefix":     {"modules/inner2/main.tf", ""},
		"a module of JSON":             {"iac/json/own/main.tf", "json"},
		"what it watches":              {"iac/shared.yaml", "watch"},
		"what it watches far away":     {"top.yaml", "watch"},
		"a module that calls itself":   {"modules/loop/new.tf", "loop"},
		"a removed file":               {"-iac/net/files/x.txt", "net"},
		"a new file":                   {"iac/json/new.tf", "json"},
		"what is not committed":        {"+iac/json/main.tf.json", "json"},
		"what git does not know":       {"+iac/json/other.tf", "json"},
		"a name with a line break":     {"iac/json/a\nb.tf", "json"},
		"a file that is moved away":    {"-iac/json/own/main.tf", "json"},
		"a stack that is gone":         {"-iac/watch/stack.tm.hcl", ""},
		"a lock file":                  {"iac/loop/.terraform.lock.hcl", "loop"},
		"a file that can't be parsed":  {"iac/json/main.tf.json", "json"},
		"a module that can't be read":  {"-modules/inner/main.tf", "net"},
		"a file in a module directory": {"modules/outer/README.md", "net"},
	} {
		t.Run(name, func(t *testing.T) {
			root, git := repository(t, files)
			path, gone := strings.CutPrefix(c.change, "-")
			path, loose := strings.CutPrefix(path, "+")
			if gone {
				git("rm", "-q", path)
			} else if err := os.WriteFile(filepath.Join(root, path), []byte("# changed\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if !loose {
				git("add", "-A")
				git("commit", "-q", "-m", "second")
			}
			// What main has done meanwhile is no change of the branch.
			git("checkout", "-q", "-f", "main")
			if err := os.WriteFile(filepath.Join(root, "iac/net/main.tf"), []byte("# of main\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			git("commit", "-q", "-a", "-m", "of main")
			git("checkout", "-q", "work")
			if loose {
				if err := os.WriteFile(filepath.Join(root, path), []byte("# changed\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			p, err := Read(filepath.Join(root, "iac"))
			if err != nil {
				t.Fatal(err)
			}
			picked, err := p.Pick([]string{"**", "!json/own"})
			if gone && strings.Contains(path, "own/") {
				picked, err = p.Pick([]string{"**"})
			}
			if err != nil {
				t.Fatal(err)
			}
			changes, err := ChangedSince(context.Background(), p.Root, "main", os.Environ(), time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			changed, why, notes := p.Changed(picked, changes)
			var got []string
			for _, path := range changed {
				if path != "odd" {
					got = append(got, path)
				}
				if why[path] == "" {
					t.Errorf("%s: no reason", path)
				}
			}
			if strings.Join(got, " ") != c.want || len(got) == len(changed) {
				t.Errorf("wanted %q and odd, got %v because %v", c.want, changed, why)
			}
			if c.want == "" && !strings.Contains(fmt.Sprint(notes), "git::ssh://x/y") {
				t.Errorf("what is not followed is not said: %v", notes)
			}
		})
	}
}

func TestChangedSinceRefuses(t *testing.T) {
	root, git := repository(t, map[string]string{"a/main.tf": ""})
	git("checkout", "-q", "--orphan", "stranger")
	git("commit", "-q", "--allow-empty", "-m", "of another history")
	git("checkout", "-q", "work")
	ask := func(dir, ref string) error {
		_, err := ChangedSince(context.Background(), dir, ref, os.Environ(), time.Minute)
		return err
	}
	for ref, id := range map[string]string{
		"main": "", "HEAD~0": "", "refs/heads/main": "",
		"no-such": "changed-since", strings.Repeat("0", 40): "changed-since", "stranger": "changed-since", strings.Repeat("1", 40): "changed-since",
		"--output=/tmp/x": "input-changed_since", "a..b": "input-changed_since", "a b": "input-changed_since", "": "input-changed_since",
	} {
		if err := ask(root, ref); verdict.Reason(err) != id {
			t.Errorf("%q: wanted %q, got %v", ref, id, err)
		}
	}
	if err := ask(t.TempDir(), "main"); verdict.Reason(err) != "changed-since" {
		t.Errorf("no repository: %v", err)
	}
	// A checkout of one commit has no history to compare with.
	shallow := filepath.Join(t.TempDir(), "shallow")
	realtools.Output(t, "git", "clone", "-q", "--depth=1", "--branch=work", "file://"+root, shallow)
	if err := ask(shallow, "origin/main"); verdict.Reason(err) != "changed-since" || !strings.Contains(err.Error(), "fetch-depth: 0") {
		t.Errorf("a shallow clone: %v", err)
	}
}

// Terramate is a double here: a program that prints what it was given, as
// `terramate list --run-order` does, a path a line.
func TestWitness(t *testing.T) {
	p := project(t, map[string]string{"a/stack.tm.hcl": block(`after = ["/b"]`), "b/stack.tm.hcl": block(), "c/main.tf": ""})
	if _, err := p.Pick([]string{"*"}); err != nil {
		t.Fatal(err)
	}
	g, err := p.Graph()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	tool := filepath.Join(bin, "terramate")
	ask := func(script, tool string) (bool, error) {
		if err := os.WriteFile(filepath.Join(bin, "terramate"), []byte("#!/bin/sh\n[ \"$*\" = 'list --run-order' ] || exit 9\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return p.Witness(context.Background(), tool, g, os.Environ(), time.Minute)
	}
	for name, c := range map[string][2]string{
		"the same":            {`printf 'b\na\n'`, ""},
		"the other way":       {`printf 'a\nb\n'`, "the other way round"},
		"one more":            {`printf 'b\na\nz\n'`, `also has "z"`},
		"one less":            {`printf 'b\n'`, `does not know "a"`},
		"nothing":             {`true`, "does not know"},
		"it fails":            {`echo broken >&2; exit 1`, "broken"},
		"not where it is not": {`[ "$PWD" = ` + real(p.Root) + ` ] && printf 'b\na\n'`, ""},
	} {
		asked, err := ask(c[0], tool)
		if !asked || c[1] == "" && err != nil || c[1] != "" && (verdict.Reason(err) != "terramate" || !strings.Contains(err.Error(), c[1])) {
			t.Errorf("%s: %v, %v", name, asked, err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	if asked, err := ask("printf 'a\\nb\\n'", ""); !asked || err == nil {
		t.Errorf("the one on PATH was not asked: %v", err)
	}
	if _, err := ask("true", filepath.Join(bin, "nowhere")); verdict.Reason(err) != "terramate" {
		t.Errorf("one that is not there: %v", err)
	}
	os.Remove(tool)
	t.Setenv("PATH", "/usr/bin:/bin")
	if asked, err := p.Witness(context.Background(), "", g, os.Environ(), time.Minute); asked || err != nil {
		t.Errorf("none: %v, %v", asked, err)
	}
}
