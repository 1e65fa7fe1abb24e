package lib_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// memos lists the memos of an action.
func (tr *tree) memos(name string) []string {
	tr.t.Helper()
	list, err := filepath.Glob(filepath.Join(tr.runner.ToolCache, "edge-actions", "memo", name+"-*"))
	if err != nil {
		tr.t.Fatal(err)
	}
	return list
}

// Whatever an action is made of makes it another one, and nothing else does.
func TestTheMemoHoldsWhatAnActionIsMadeOf(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.write("internal/deep/deep.go", "package deep\n\nconst Word = \"deep\"\n")
	tr.write("internal/word/word.go", "package word\n\nimport \"fixture/internal/deep\"\n\nconst Word = deep.Word\n")
	tr.write("internal/apart/apart.go", "package apart\n")
	tr.write("internal/data/data.go", "package data\n\nimport \"embed\"\n\n//go:embed files\nvar Files embed.FS\n")
	tr.write("internal/data/files/a/one", "1")
	tr.write("internal/deep/more.go", "package deep\n\nimport _ `fixture/internal/data`\n")
	tr.run("hello")
	builds := tr.built()
	for _, step := range []struct {
		does string
		path string
		text string
		more int
	}{
		{"a package that it does not have", "internal/apart/apart.go", "package apart // changed\n", 0},
		{"a file more there", "internal/apart/more.go", "package apart\n", 0},
		{"another action", "actions/other/more.go", "package main\n", 0},
		{"a test", "internal/deep/deep_test.go", "package deep\n", 0},
		{"a package two imports away", "internal/deep/deep.go", "package deep\n\nconst Word = \"deeper\"\n", 1},
		{"a file more in it", "internal/deep/again.go", "package deep\n\nconst Other = 1\n", 1},
		{"an import more", "internal/deep/import.go", "package deep\n\nimport _ \"fixture/internal/apart\"\n", 1},
		{"which is of it now", "internal/apart/apart.go", "package apart // changed again\n", 1},
		{"what a package embeds", "internal/data/files/a/one", "2", 1},
		{"a file more below it", "internal/data/files/b/c/two", "2", 1},
		{"the modules", "go.sum", "\n", 1},
		{"the launcher's way to build", "scripts/lib/lock.sh", "", 1},
		{"who may sign", "scripts/release-signers", "# nobody\n", 1},
	} {
		if step.text == "" {
			data, err := os.ReadFile(filepath.Join(tr.root, step.path))
			if err != nil {
				t.Fatal(err)
			}
			step.text = string(data) + "# changed\n"
		}
		tr.write(step.path, step.text)
		for range 2 {
			tr.run("hello")
		}
		if n := tr.built() - builds; n != step.more {
			t.Errorf("%s: %d builds, want %d", step.does, n, step.more)
		}
		builds = tr.built()
	}
	if log := tr.run("hello"); !strings.HasPrefix(log, "hello deeper ") {
		t.Error(log)
	}
}

// A memo that is of no use costs a look-up, and is replaced.
func TestAMemoOfNoUse(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.run("hello")
	list := tr.memos("hello")
	if len(list) != 1 {
		t.Fatalf("memos: %q", list)
	}
	memo := list[0]
	good, err := os.ReadFile(memo)
	if err != nil {
		t.Fatal(err)
	}
	version, rest, _ := strings.Cut(string(good), "\n")
	tr.writeAt(filepath.Join(tr.runner.Home, "evil", "hello"), "#!/bin/sh\necho evil\n")
	for name, text := range map[string]string{
		"empty":              "",
		"half":               string(good[:len(good)/2]),
		"no packages":        version + "\n\n" + rest,
		"elsewhere":          "../../../home/evil\n" + rest,
		"a version that was": "0000\n" + rest,
		"one byte":           string(good[:len(good)-1]) + "x",
	} {
		tr.writeAt(memo, text)
		if log := tr.run("hello"); !strings.HasPrefix(log, "hello one ") {
			t.Errorf("%s:\n%s", name, log)
		}
		if now, err := os.ReadFile(memo); err != nil || string(now) != string(good) {
			t.Errorf("%s: not mended: %v\n%s", name, err, now)
		}
	}
	if n := tr.built(); n != 1 {
		t.Errorf("%d builds", n)
	}
	// Where none can be written, there is none.
	if err := os.RemoveAll(filepath.Dir(memo)); err != nil {
		t.Fatal(err)
	}
	tr.writeAt(filepath.Dir(memo), "in the way")
	if log := tr.run("hello"); !strings.HasPrefix(log, "hello one ") {
		t.Error(log)
	}
}

// Two refs of the suite on one runner do not take turns with one memo.
func TestEachRefHasItsMemo(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	for _, ref := range []string{"v1", "0123/../abc", "", "v1"} {
		tr.runner.Env["GITHUB_ACTION_REF"] = ref
		tr.run("hello")
	}
	if list := tr.memos("hello"); len(list) != 3 {
		t.Errorf("memos: %q", list)
	}
}
