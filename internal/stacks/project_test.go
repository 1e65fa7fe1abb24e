package stacks

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// project makes a checkout of files; a path that ends in / is a directory with
// configuration in it.
func project(t *testing.T, files map[string]string) *Project {
	t.Helper()
	p, err := Read(tree(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		if strings.HasSuffix(path, "/") {
			path += "main.tf"
		}
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func block(attributes ...string) string {
	return "stack {\n  " + strings.Join(attributes, "\n  ") + "\n}\n"
}

func TestReadKnowsStacksFromModules(t *testing.T) {
	p := project(t, map[string]string{
		"net/stack.tm.hcl":      block(`id = "Net-1"`, `name = "the net"`, `description = "d"`, `tags = ["a", "b/c"]`, `after = ["/x"]`, `watch = ["/w"]`),
		"net/main.tf":           "",
		"app/other.tm":          "globals {\n a = tm_upper(global.b)\n}\nstack {}\n",
		"mod/":                  "",
		"json/main.tofu.json":   "{}",
		"docs/README.md":        "",
		".hidden/stack.tm.hcl":  "not HCL {",
		"out/.tmskip":           "",
		"out/stack.tm.hcl":      "not HCL {",
		"net/.ignored.tm.hcl":   "not HCL {",
		"net/globals.tm.hcl":    "globals {}\n",
		"app/generated/x.tfvar": "",
	})
	got := map[string]bool{}
	for _, m := range p.Members {
		got[m.Path] = m.Declared
	}
	if diff := cmp.Diff(map[string]bool{"net": true, "app": true, "mod": false, "json": false}, got); diff != "" {
		t.Error(diff)
	}
	want := Block{ID: "Net-1", Name: "the net", Tags: []string{"a", "b/c"}, After: []string{"/x"}, Watch: []string{"/w"}}
	if diff := cmp.Diff(want, p.byPath["net"].Block); diff != "" {
		t.Error(diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no HCL":             {"stack {", "a file that can be read"},
		"two blocks":         {block() + block(), "a second one"},
		"a block in it":      {"stack {\n x {}\n}\n", "a block in it"},
		"an unknown name":    {block(`afters = ["/x"]`), `"afters"`},
		"a function":         {block(`after = tm_concat(["/a"], ["/b"])`), "as literal text"},
		"a variable":         {block(`tags = [global.x]`), "as literal text"},
		"a number for an id": {block(`id = 5`), "id of the right kind"},
		"null for an id":     {block(`id = null`), "id of the right kind"},
		"text for a list":    {block(`after = "/x"`), "after of the right kind"},
		"a list of numbers":  {block(`after = [1]`), "after of the right kind"},
		"twice the same":     {block(`after = ["/x", "/x"]`), "after of the right kind"},
		"a blank in an id":   {block(`id = "a b"`), `"a b"`},
		"a long id":          {block(`id = "` + strings.Repeat("a", 65) + `"`), "at most 64"},
		"a capital in a tag": {block(`tags = ["Prod"]`), `"Prod"`},
		"a tag with an end":  {block(`tags = ["a-"]`), `"a-"`},
	} {
		_, err := Read(tree(t, map[string]string{"s/stack.tm.hcl": c.text}))
		if verdict.Reason(err) != "stack-file" || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "s/stack.tm.hcl") {
			t.Errorf("%s: wanted an error with %q, got %v", name, c.want, err)
		}
	}
	_, err := Read(tree(t, map[string]string{"s/a.tm": block(), "s/b.tm": block(), "x/a.tm": "{"}))
	if len(verdict.ChecksOf(err)) != 2 {
		t.Errorf("not all at once: %v", err)
	}
	_, err = Read(tree(t, map[string]string{"s/a.tm": "#" + strings.Repeat("x", maxBlockFile)}))
	if verdict.Reason(err) != "stack-file" {
		t.Errorf("a huge file: %v", err)
	}
}

// The order as Terramate's documentation and its source have it.
func TestOrder(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // of the stack block
		want  string            // in an order, by name where there is a choice
		edges string
	}{
		"none":                      {map[string]string{"b": "", "a": ""}, "a b", ""},
		"after":                     {map[string]string{"a": `after = ["../b"]`, "b": ""}, "b a", "b<a"},
		"before":                    {map[string]string{"a": "", "b": `before = ["../a"]`}, "b a", "b<a"},
		"from the project":          {map[string]string{"x/a": `after = ["/y/b"]`, "y/b": ""}, "y/b x/a", "y/b<x/a"},
		"a parent comes first":      {map[string]string{"a/b": "", "a": "", "a/b/c": ""}, "a a/b a/b/c", "a<a/b a<a/b/c a/b<a/b/c"},
		"a sibling with its prefix": {map[string]string{"a": "", "ab": ""}, "a ab", ""},
		"a directory of stacks":     {map[string]string{"a": `after = ["/z"]`, "z/1": "", "z/2/3": ""}, "z/1 z/2/3 a", "z/1<a z/2/3<a"},
		"a stack and those in it":   {map[string]string{"a": `after = ["/z"]`, "z": "", "z/1": ""}, "z z/1 a", "z<a z<z/1 z/1<a"},
		"a tag":                     {map[string]string{"a": `after = ["tag:net"]`, "b": `tags = ["net"]`, "c": `tags = ["net"]`, "d": ""}, "b c a d", "b<a c<a"},
		"both tags":                 {map[string]string{"a": `after = ["tag:net:prod"]`, "b": `tags = ["net"]`, "c": `tags = ["net", "prod"]`}, "b c a", "c<a"},
		"one of two tags":           {map[string]string{"a": `before = ["tag:x,y:z"]`, "b": `tags = ["y"]`, "c": `tags = ["y", "z"]`, "d": `tags = ["x"]`}, "a b c d", "a<c a<d"},
		"a tag and those under it":  {map[string]string{"a": `after = ["tag:t"]`, "b": `tags = ["t"]`, "b/c": ""}, "b b/c a", "b<a b<b/c b/c<a"},
		"the same twice":            {map[string]string{"a": `after = ["../b", "/b", "tag:t"]`, "b": "tags = [\"t\"]\n before = [\"/a\"]"}, "b a", "b<a"},
	} {
		files := map[string]string{}
		for path, attributes := range c.files {
			files[path+"/stack.tm.hcl"] = block(attributes)
		}
		p := project(t, files)
		g, err := p.Graph()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var edges []string
		for _, n := range g.Nodes() {
			for _, after := range g.Nodes() {
				for _, before := range g.Before(after) {
					if before == n {
						edges = append(edges, before+"<"+after)
					}
				}
			}
		}
		if diff := cmp.Diff(strings.Fields(c.edges), edges); diff != "" && c.edges+strings.Join(edges, "") != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if got := strings.Join(g.Order(), " "); got != c.want {
			t.Errorf("%s: wanted %s, got %s", name, c.want, got)
		}
	}
}

func TestOrderRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"a circle":                 {map[string]string{"a": `after = ["/c"]`, "b": `after = ["/a"]`, "c": `after = ["/b"]`}, []string{`"a" before "b" before "c" before "a"`}},
		"two circles":              {map[string]string{"a": `after = ["/b"]`, "b": `after = ["/a"]`, "c": `after = ["/d"]`, "d": `after = ["/c"]`}, []string{`"a" before "b"`, `"c" before "d"`}},
		"after itself":             {map[string]string{"a": `after = ["."]`}, []string{`"a" before "a"`}},
		"its own tag":              {map[string]string{"a": "tags = [\"t\"]\n after = [\"tag:t\"]"}, []string{`"a" before "a"`}},
		"the tag of its parent":    {map[string]string{"a": `tags = ["t"]`, "a/b": `after = ["tag:t"]`}, []string{`"a/b" before "a/b"`}},
		"a child before it":        {map[string]string{"a": `after = ["b"]`, "a/b": ""}, []string{`"a" before "a/b" before "a"`}},
		"no such path, no tag":     {map[string]string{"a": `after = ["/typo", "tag:typo"]`, "b": `before = ["../../.."]`}, []string{`"/typo" in after of "a"`, `"tag:typo" in after of "a"`, `"../../.." in before of "b"`}},
		"a path that is not there": {map[string]string{"a": `after = ["/typo"]`}, []string{"no such directory"}},
		"a directory of no stack":  {map[string]string{"a": `after = ["/mod"]`}, []string{"a directory without a stack"}},
		"no tag":                   {map[string]string{"a": `after = ["tag:"]`}, []string{"is no tag"}},
	} {
		files := map[string]string{"mod/main.tf": ""}
		for path, attributes := range c.files {
			files[path+"/stack.tm.hcl"] = block(attributes)
		}
		_, err := project(t, files).Graph()
		checks := verdict.ChecksOf(err)
		if len(checks) != len(c.want) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for i, check := range checks {
			if check.ID != "stack-order" || !strings.Contains(check.Wanted+check.Got, c.want[i]) {
				t.Errorf("%s: %+v", name, check)
			}
		}
	}
}

func TestPick(t *testing.T) {
	files := map[string]string{
		"env/a/": "", "env/b/": "", "env/b/mod/": "", "old/c/": "", "tm/d/stack.tm.hcl": block(`tags = ["prod"]`), "tm/e/stack.tm.hcl": block(`tags = ["dev"]`), "docs/x.md": "",
	}
	for patterns, want := range map[string]string{
		"env/*":                 "env/a env/b",
		"./env/*/":              "env/a env/b",
		"env/**":                "env/a env/b env/b/mod",
		"**;!**/mod;!old/**":    "env/a env/b tm/d tm/e",
		"terramate":             "tm/d tm/e",
		"terramate;!tag:dev":    "tm/d",
		"tag:prod,dev;env/a":    "env/a tm/d tm/e",
		"!env/a;env/*":          "env/a env/b", // the last line wins
		"{env/a,old/c}":         "env/a old/c",
		"typo/*":                "refused",
		"env/*;!typo":           "refused",
		"env/*;!env/*":          "refused",
		"!env/*":                "refused",
		"docs":                  "refused",
		"../env":                "refused",
		"/env/*":                "refused",
		"tag:nothing":           "refused",
		"env/[":                 "refused",
		"tag:a..b~c":            "refused",
		"env/*;typo;../x;tag:,": "refused refused refused",
	} {
		p := project(t, files)
		got, err := p.Pick(strings.Split(patterns, ";"))
		result := strings.Join(got, " ")
		if err != nil {
			var refused []string
			for _, c := range verdict.ChecksOf(err) {
				if c.ID == "input-stacks" {
					refused = append(refused, "refused")
				}
			}
			result = strings.Join(refused, " ")
		}
		if result != want {
			t.Errorf("%s: wanted %s, got %s (%v)", patterns, want, result, err)
		}
	}
}

func TestWanted(t *testing.T) {
	p := project(t, map[string]string{
		"a/stack.tm.hcl": block(`wants = ["/b"]`), "b/stack.tm.hcl": block(`wants = ["tag:t"]`), "c/stack.tm.hcl": block(`tags = ["t"]`),
		"d/stack.tm.hcl": block(`wanted_by = ["/c"]`), "e/stack.tm.hcl": block(`wants = ["/a"]`),
	})
	got, err := p.WithWanted([]string{"a"})
	if diff := cmp.Diff([]string{"a", "b", "c", "d"}, got); diff != "" || err != nil {
		t.Error(err, diff)
	}
	p.byPath["a"].Wants = []string{"/typo"}
	if _, err := p.WithWanted([]string{"b"}); verdict.Reason(err) != "stack-order" {
		t.Error(err)
	}
}
