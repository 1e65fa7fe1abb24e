package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"edge-actions/scripts/index/catalog"

	"github.com/google/go-cmp/cmp"
)

// onTheRunner is how an input that names something on a machine is known.
var onTheRunner = regexp.MustCompile(`(_path|_file|var_files|_dir|_version|signing_key|known_hosts|ssh_config|cacert|^offsite|^contracts|^assertions)$`)

// inItsWords is how the others are.
var inItsWords = regexp.MustCompile(`on the runner\b|on PATH\b`)

// TestEveryInputIsKnown fails for an input that names something on the runner
// and that the doctor does not know: it would be missing there, and not here.
func TestEveryInputIsKnown(t *testing.T) {
	index, err := catalog.Read(filepath.Join("..", "..", "action-index.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range rows() {
		if (r.look == nil) == (r.because == "") {
			t.Errorf("the row of %q looks at nothing and does not say why, or both", r.inputs)
		}
		first := false
		for _, name := range r.inputs {
			known[name] = true
			for _, a := range index.Actions {
				if _, ok := a.Input(name); ok {
					first = first || name == r.inputs[0]
				}
			}
		}
		if !first {
			t.Errorf("no action has the input %q", r.inputs[0])
		}
	}
	count := 0
	for _, a := range index.Actions {
		for _, in := range a.Inputs {
			if !onTheRunner.MatchString(in.Name) && !inItsWords.MatchString(in.Description) {
				continue
			}
			count++
			if !known[in.Name] {
				t.Errorf("%s: input %s names something on a machine, and rows() of scripts/doctor.d does not have it: %q", a.Name, in.Name, in.Description)
			}
		}
	}
	if count < 50 {
		t.Errorf("only %d inputs were looked at", count)
	}
}

// TestEveryProgramIsKnown fails for a new place in which an action looks for a
// program on PATH: the doctor has to look for it too.
func TestEveryProgramIsKnown(t *testing.T) {
	want := map[string]string{
		"internal/stacks/terramate.go":        "terramate, only if terramate_path asks for it",
		"internal/stacks/changed.go":          "git, for changed_since",
		"internal/rclone/rclone.go":           "rclone",
		"internal/tofu/tofu.go":               "tofu",
		"internal/mirror/inputs.go":           "git, by git_path",
		"internal/tailnet/tailnet.go":         "tailscale",
		"internal/fleet/hive.go":              "colmena, nix-instantiate, nixos-rebuild",
		"internal/bootstrap/inputs.go":        "nixos-anywhere, ssh, scp",
		"internal/recovery/assert/command.go": "git, etcd, etcdutl, the operator's own",
		"internal/recovery/assert/tether.go":  "/bin/sh",
		"actions/emit-handoff/run.go":         "tofu",
	}
	var got []string
	for _, top := range []string{"internal", "actions"} {
		err := filepath.WalkDir(filepath.Join("..", "..", top), func(path string, e fs.DirEntry, err error) error {
			rel := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			if err != nil || e.IsDir() || !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "internal/testing/") {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), "exec.LookPath(") {
				got = append(got, rel)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var files []string
	for file := range want {
		files = append(files, file)
	}
	slices.Sort(files)
	slices.Sort(got)
	if diff := cmp.Diff(files, got); diff != "" {
		t.Errorf("where programs are looked for (-known +found): see that rows() has them, then correct this list\n%s", diff)
	}
}
