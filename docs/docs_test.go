// Package docs holds the pages for people to what is there: their commands run,
// their links lead somewhere, and the checks that they speak of exist.
package docs

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/tfstate"

	"filippo.io/age"
	"go.yaml.in/yaml/v4"
)

// pages are the project's Markdown files, by their path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2 || d.Name() == "testdata" {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) == ".md" {
			data, err := os.ReadFile(path)
			out[strings.TrimPrefix(path, "../")] = string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("%d pages were found", len(out))
	}
	return out
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	mark    = regexp.MustCompile("[^a-z0-9 _-]")
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

// anchors are the ids that Forgejo and GitHub give to a page's headings.
func anchors(page string) map[string]bool {
	out := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		out[strings.ReplaceAll(mark.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return out
}

// broken lists the links of one page that lead nowhere.
func broken(all map[string]string, path, page string) (out []string) {
	for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(page, ""), -1) {
		target, anchor, _ := strings.Cut(m[1], "#")
		if strings.Contains(target, "://") {
			continue
		}
		to := path
		if target != "" {
			to = filepath.Join(filepath.Dir(path), target)
		}
		if _, err := os.Stat(filepath.Join("..", to)); err != nil || anchor != "" && !anchors(all[to])[anchor] {
			out = append(out, m[1])
		}
	}
	return out
}

func TestLinks(t *testing.T) {
	all := pages(t)
	for path, page := range all {
		for _, link := range broken(all, path, page) {
			t.Errorf("%s: %s leads nowhere", path, link)
		}
	}
	page := "# A b\n[good](README.md#a-b) [bad](README.md#c) [good](README.md) [bad](none.md)"
	if got := broken(map[string]string{"README.md": page}, "README.md", page); len(got) != 2 {
		t.Errorf("of four links, two broken, it finds %q", got)
	}
}

// Each check in the first column of the pages for the operator is one that the
// code has.
func TestChecksExist(t *testing.T) {
	var code strings.Builder
	for _, dir := range []string{"../internal", "../actions"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "/testing/") {
				data, readErr := os.ReadFile(path)
				code.Write(data)
				err = readErr
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("when-it-is-red.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(page)) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		cell, _, _ := strings.Cut(line[1:], "|")
		for _, m := range regexp.MustCompile("`([a-z-]+)`").FindAllStringSubmatch(cell, -1) {
			found++
			// What can be accepted about a state is named by its input: "state-" and the word.
			if id := strings.TrimPrefix(m[1], "state-"); !strings.Contains(code.String(), `"`+m[1]+`"`) && !(id != m[1] && strings.Contains(code.String(), `"`+id+`"`)) {
				t.Errorf("no action has a check %q", m[1])
			}
		}
	}
	if found < 15 {
		t.Errorf("%d checks were found in the page", found)
	}
}

var yamlFence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// step is one of a workflow that uses an action.
type step struct {
	Uses string         `yaml:"uses"`
	With map[string]any `yaml:"with"`
}

// steps finds the steps anywhere in a piece of a workflow. A line that is "…" stands
// for what was left out.
func steps(fence string) (out []step, err error) {
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		var s step
		if n.Kind == yaml.MappingNode && n.Decode(&s) == nil && strings.Contains(s.Uses, "actions/") {
			out = append(out, s)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	for _, part := range strings.Split(fence, "\n…\n") {
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte(part), &doc); err != nil {
			return nil, err
		}
		walk(&doc)
	}
	return out, nil
}

// wrong lists what of the steps is not as the actions declare it.
func wrong(t *testing.T, list []step) (out []string) {
	for _, s := range list {
		name := s.Uses[strings.LastIndex(s.Uses, "/")+1:]
		name, _, _ = strings.Cut(name, "@")
		data, err := os.ReadFile(filepath.Join("../actions", name, "action.yml"))
		if err != nil {
			if strings.HasPrefix(s.Uses, "./") {
				out = append(out, "there is no action "+s.Uses)
			}
			continue // another project's
		}
		meta, err := action.ParseMetadata(data)
		if err != nil {
			t.Fatal(err)
		}
		for input := range s.With {
			if _, ok := meta.Inputs[input]; !ok {
				out = append(out, name+" has no input "+input)
			}
		}
	}
	return out
}

// The workflows in the pages use actions that there are, with inputs that they have.
func TestWorkflowsInPages(t *testing.T) {
	found := 0
	for path, page := range pages(t) {
		for _, m := range yamlFence.FindAllStringSubmatch(page, -1) {
			list, err := steps(m[1])
			if err != nil {
				t.Errorf("%s: a workflow that can't be read: %v", path, err)
			}
			found += len(list)
			for _, w := range wrong(t, list) {
				t.Errorf("%s: %s", path, w)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d steps were found", found)
	}
	list, err := steps("steps:\n  - uses: ./actions/none\n  - uses: ./actions/tofu-apply\n    with: {stack: a, none: b}\n")
	if got := wrong(t, list); err != nil || len(got) != 2 {
		t.Errorf("of two wrong steps it finds %q, %v", got, err)
	}
}

// elsewhere are commands that are the project's own programs, each with what runs
// it in CI.
var elsewhere = map[string]string{
	"./scripts/doctor": "scripts/doctor.d's tests",
	"./scripts/demo":   "the part demo of scripts/test",
	"./scripts/test":   "itself",
}

// commands are the lines after "$ " in the fences of a page that are consoles,
// apart from those that run elsewhere.
func commands(page string) (out []string) {
	console := false
	for line := range strings.Lines(page) {
		switch line = strings.TrimSuffix(line, "\n"); {
		case strings.HasPrefix(line, "```"):
			console = !console && line == "```console"
		case console && strings.HasPrefix(line, "$ "):
			command := strings.TrimSpace(strings.Split(line[2:], "   #")[0])
			if elsewhere[command] == "" {
				out = append(out, command)
			}
		}
	}
	return out
}

// TestCommands runs the commands of a page in their order, in one shell, in a home
// that has what the page starts from.
func TestCommands(t *testing.T) {
	for page, test := range map[string]struct {
		world func(t *testing.T, home string)
		ends  string // what holds afterwards
	}{
		"first-day.md": {func(*testing.T, string) {}, `
			test "$(stat -c %a ~/.local/state/tofu)" = 700
			ssh-keygen -y -f ~/.config/edge/ledger | grep -q ^ssh-ed25519`},
		"restoring-for-real.md": {lostRunner, `
			sed -i 's/"serial": 1042,/"serial": 42,/' ~/edge.tfstate
			cmp ~/edge.tfstate ~/lost.tfstate
			cmp ~/restored/$HOME/forgejo/app.ini ~/forgejo/app.ini`},
	} {
		t.Run(page, func(t *testing.T) {
			data, err := os.ReadFile(page)
			if err != nil {
				t.Fatal(err)
			}
			lines := commands(string(data))
			if len(lines) < 3 {
				t.Fatalf("it has the commands %q", lines)
			}
			home := t.TempDir()
			test.world(t, home)
			cmd := exec.Command("bash", "-euo", "pipefail", "-c", strings.Join(append(lines, test.ends), "\n"))
			cmd.Dir, cmd.Env = home, realtools.Environ("HOME="+home, "XDG_CACHE_HOME="+home)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: its commands end with:\n%s", err, out)
			}
		})
	}
}

// lostRunner is what is left when the runner is gone: copies of archives, a
// repository, and what was on paper.
func lostRunner(t *testing.T, home string) {
	key := filepath.Join(home, "archive-key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	name := strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", key))
	recipient, err := age.ParseX25519Recipient(name)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) string {
		t.Helper()
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	archives := &tfstate.Archives{
		Local: tfstate.Dir{Path: filepath.Join(home, "lost")}, Offsite: tfstate.Dir{Path: filepath.Join(home, "other-disk/edge")},
		Recipients: []age.Recipient{recipient}, RecipientNames: []string{name},
		Stack: "edge", Workspace: "default", TofuVersion: "1.12.6", ShrinkPercent: 50, LockTimeout: time.Second, Logf: t.Logf,
	}
	for serial := 40; serial <= 42; serial++ {
		state := write("lost.tfstate", fmt.Sprintf("{\n  \"version\": 4,\n  \"terraform_version\": \"1.12.6\",\n  \"serial\": %d,\n  \"lineage\": \"l-1\",\n  \"outputs\": {},\n  \"resources\": []\n}\n", serial))
		if _, err := archives.Make(t.Context(), tfstate.File{Path: state, LockTimeout: time.Second}, tfstate.ForPlan); err != nil {
			t.Fatal(err)
		}
	}
	password, repository := write("restic-password", "on paper\n"), filepath.Join(home, "repository")
	files := filepath.Dir(write("forgejo/app.ini", "[database]\n"))
	for _, args := range [][]string{{"init"}, {"backup", "--host", "forgejo-pi", files}} {
		realtools.Output(t, "restic", append([]string{"--no-cache", "-r", repository, "--password-file", password}, args...)...)
	}
}
