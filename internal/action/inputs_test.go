package action_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/verdict"
)

// place is a workspace with a directory and a link out of it, a RUNNER_TEMP
// and a home with a secret.
func place(t *testing.T) (environ []string, workspace, temp, home string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	workspace, temp, home = filepath.Join(root, "work"), filepath.Join(root, "temp"), filepath.Join(root, "home")
	for _, dir := range []string{filepath.Join(workspace, "infra"), temp, home} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, mode := range map[string]os.FileMode{"home/key": 0o600, "home/open": 0o644, "work/key": 0o600, "work/file": 0o600} {
		if err := os.WriteFile(filepath.Join(root, path), []byte("x"), mode); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"work/out": home, "home/in": workspace} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"GITHUB_WORKSPACE=" + workspace, "RUNNER_TEMP=" + temp, "HOME=" + home}, workspace, temp, home
}

func TestGetters(t *testing.T) {
	environ, workspace, _, home := place(t)
	type in = action.Inputs
	digest := strings.Repeat("0a", 32)
	for _, test := range []struct {
		input, value string
		get          func(*in) any
		want         any // nil: refused
	}{
		{"text", "", func(i *in) any { return i.Text("text") }, "fallback"},
		{"text", "  own\n", func(i *in) any { return i.Text("text") }, "own"},
		{"text", "a\r\nb", func(i *in) any { return i.Text("text") }, nil},
		{"text", "a\x00b", func(i *in) any { return i.Text("text") }, nil},
		{"needed", " ", func(i *in) any { return i.Text("needed") }, nil},
		{"flag", "", func(i *in) any { return i.Bool("flag") }, true},
		{"flag", "false", func(i *in) any { return i.Bool("flag") }, false},
		{"flag", "yes", func(i *in) any { return i.Bool("flag") }, nil},
		{"flag", "True", func(i *in) any { return i.Bool("flag") }, nil},
		{"color", "blue", func(i *in) any { return i.OneOf("color", "red", "blue") }, "blue"},
		{"color", "green", func(i *in) any { return i.OneOf("color", "red", "blue") }, nil},
		{"colors", "", func(i *in) any { return strings.Join(i.SomeOf("colors", "red", "blue"), "+") }, "red+blue"},
		{"colors", "blue\nred", func(i *in) any { return strings.Join(i.SomeOf("colors", "red", "blue"), "+") }, "blue+red"},
		{"colors", "red, green", func(i *in) any { return strings.Join(i.SomeOf("colors", "red", "blue"), "+") }, nil},
		{"size", "", func(i *in) any { return i.Int("size", 1, 9) }, 3},
		{"size", "0", func(i *in) any { return i.Int("size", 1, 9) }, nil},
		{"size", "10", func(i *in) any { return i.Int("size", 1, 9) }, nil},
		{"size", "3.5", func(i *in) any { return i.Int("size", 1, 9) }, nil},
		{"size", "0x3", func(i *in) any { return i.Int("size", 1, 9) }, nil},
		{"wait", "", func(i *in) any { return i.Duration("wait", time.Second, time.Hour) }, 5 * time.Minute},
		{"wait", "90", func(i *in) any { return i.Duration("wait", time.Second, time.Hour) }, nil},
		{"wait", "-5m", func(i *in) any { return i.Duration("wait", time.Second, time.Hour) }, nil},
		{"wait", "2h", func(i *in) any { return i.Duration("wait", time.Second, time.Hour) }, nil},
		{"list", " a \n\n# no\n b # c\n", func(i *in) any { return strings.Join(i.Lines("list"), "+") }, "a+b # c"},
		{"version", "", func(i *in) any { return i.Constraint("version").String() }, ">= 1.0, < 2"},
		{"version", "latest", func(i *in) any { return i.Constraint("version").String() }, nil},
		{"slug", "node-1.a_B", func(i *in) any { return i.Slug("slug") }, "node-1.a_B"},
		{"slug", "../x", func(i *in) any { return i.Slug("slug") }, nil},
		{"slug", ".hidden", func(i *in) any { return i.Slug("slug") }, nil},
		{"slug", "-rf", func(i *in) any { return i.Slug("slug") }, nil},
		{"slug", "a\nb", func(i *in) any { return i.Slug("slug") }, nil},
		{"slug", strings.Repeat("x", 101), func(i *in) any { return i.Slug("slug") }, nil},
		{"digest", digest, func(i *in) any { return i.SHA256("digest") }, digest},
		{"digest", strings.ToUpper(digest), func(i *in) any { return i.SHA256("digest") }, nil},
		{"digest", digest[1:], func(i *in) any { return i.SHA256("digest") }, nil},
		{"dir", "infra", func(i *in) any { return i.WorkspaceDir("dir") }, filepath.Join(workspace, "infra")},
		{"dir", ".", func(i *in) any { return i.WorkspaceDir("dir") }, workspace},
		{"dir", "..", func(i *in) any { return i.WorkspaceDir("dir") }, nil},
		{"dir", "out", func(i *in) any { return i.WorkspaceDir("dir") }, nil},
		{"dir", "file", func(i *in) any { return i.WorkspaceDir("dir") }, nil},
		{"dir", "missing", func(i *in) any { return i.WorkspaceDir("dir") }, nil},
		{"dir", home, func(i *in) any { return i.WorkspaceDir("dir") }, nil},
		{"keep", "~/state", func(i *in) any { return i.RunnerPath("keep") }, filepath.Join(home, "state")},
		{"keep", home + "/a/../b", func(i *in) any { return i.RunnerPath("keep") }, filepath.Join(home, "b")},
		{"keep", "state", func(i *in) any { return i.RunnerPath("keep") }, nil},
		{"keep", filepath.Join(workspace, "state"), func(i *in) any { return i.RunnerPath("keep") }, nil},
		{"keep", "~/in/state", func(i *in) any { return i.RunnerPath("keep") }, nil},
		{"keep", "~/../temp/state", func(i *in) any { return i.RunnerPath("keep") }, nil},
		{"key", "~/key", func(i *in) any { return i.SecretFile("key") }, filepath.Join(home, "key")},
		{"key", "~/open", func(i *in) any { return i.SecretFile("key") }, nil},
		{"key", "~/missing", func(i *in) any { return i.SecretFile("key") }, nil},
		{"key", home, func(i *in) any { return i.SecretFile("key") }, nil},
		{"key", filepath.Join(workspace, "key"), func(i *in) any { return i.SecretFile("key") }, nil},
	} {
		a := newAction(t, nil, append(slices.Clone(environ), "INPUT_"+strings.ToUpper(test.input)+"="+test.value)...)
		inputs := a.Inputs()
		got := test.get(inputs)
		switch {
		case test.want == nil && !verdict.Has(inputs.Err(), "input-"+test.input):
			t.Errorf("%s %q: taken as %v, error %v", test.input, test.value, got, inputs.Err())
		case test.want != nil && (got != test.want || inputs.Err() != nil):
			t.Errorf("%s %q: %v, want %v; error %v", test.input, test.value, got, test.want, inputs.Err())
		}
		if !a.Read()[test.input] {
			t.Errorf("%s is not noted as read", test.input)
		}
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	inputs := newAction(t, nil, "INPUT_SIZE=many", "INPUT_FLAG=perhaps", "INPUT_COLOR=##[add-path]/x").Inputs()
	inputs.Text("needed")
	inputs.Text("needed") // once is enough
	inputs.Int("size", 1, 9)
	inputs.Bool("flag")
	inputs.OneOf("color", "red", "blue")
	inputs.Wrong("list", "three lines", "two", "add one")
	var ids []string
	for _, c := range verdict.ChecksOf(inputs.Err()) {
		ids = append(ids, c.ID)
		if c.Wanted == "" || c.Got == "" || c.Hint == "" || c.Verdict != verdict.Disproven {
			t.Errorf("a check without words: %+v", c)
		}
	}
	if want := []string{"input-needed", "input-size", "input-flag", "input-color", "input-list"}; !slices.Equal(ids, want) {
		t.Errorf("problems %v, want %v", ids, want)
	}
}

func TestMetadata(t *testing.T) {
	for name, text := range map[string]string{"not yaml": "name: [", "no name": "inputs: {}", "a list": "- a"} {
		if _, err := action.ParseMetadata([]byte(text)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
