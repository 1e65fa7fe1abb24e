package lib_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// maker is a tree that releases itself, with a go on PATH whose cache is warm
// wherever it is told to keep it.
func newMaker(t *testing.T) *release {
	t.Helper()
	rel := &release{tree: newTree(t)}
	for _, path := range []string{"release", "release.d/pack/main.go", "release.d/go-version"} {
		data, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		rel.write(filepath.Join("scripts", path), string(data))
	}
	rel.write("scripts/doctor.d/main.go", "package main\n\nfunc main() {}\n")
	rel.write("CHANGELOG.md", releaseLog)
	rel.key = filepath.Join(rel.runner.Home, "key")
	rel.write("scripts/release-signers", rel.signer(rel.key))
	rel.dir = filepath.Join(rel.runner.Home, "releases", "v1.2.3")
	if err := os.Mkdir(filepath.Dir(rel.dir), 0o755); err != nil {
		t.Fatal(err)
	}
	cache := goEnv(t, "GOCACHE")
	real := filepath.Join(goEnv(t, "GOROOT"), "bin", "go")
	rel.writeAt(filepath.Join(rel.runner.Home, "bin", "go"), `#!/bin/sh
export GOCACHE='`+cache+`'
case "$PWD" in */another/*) again=yes ;; *) again= ;; esac
if test "$1" = build; then echo "$PWD $GOOS/$GOARCH $GOMODCACHE CGO_ENABLED=$CGO_ENABLED $*" >>"$HOME/builds"; fi
"`+real+`" "$@" || exit
if test "$1" = run && test -n "$again$GO_DIFFERS" && test -n "$GO_DIFFERS"; then
	test -z "$again" || { while test $# -gt 1; do shift; done; echo >>"$1/hello_linux_amd64.gz"; }
fi
`)
	// The pinned one is for releases; here it is the one that is there.
	rel.write("scripts/release.d/go-version", goEnv(t, "GOVERSION")+"\n")
	return rel
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// release runs scripts/release, and returns what it said.
func (rel *release) release(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(rel.root, "scripts", "release"), args...)
	for name, value := range rel.runner.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (rel *release) mustRelease(args ...string) {
	rel.t.Helper()
	if out, err := rel.release(args...); err != nil {
		rel.t.Fatalf("scripts/release %q: %v\n%s", args, err, out)
	}
}

// The whole way: two builds that are the same, a signature, and a runner without
// Go that takes the binary.
func TestFromTheSourceToTheRunner(t *testing.T) {
	t.Parallel()
	rel := newMaker(t)
	// None of this decides what is in a release.
	for name, value := range map[string]string{"GOFLAGS": "-tags=evil", "GOOS": "plan9", "GOARCH": "arm", "GOAMD64": "v3", "EXTRA_LDFLAGS": "-X main.x=y", "EXTRA_TAGS": "evil", "BUILD_FOR": "plan9/arm", "LC_ALL": "C", "TZ": "Asia/Tokyo"} {
		rel.runner.Env[name] = value
	}
	rel.mustRelease("build", "--twice", rel.dir)
	builds, err := os.ReadFile(rel.builds)
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]bool{}
	for line := range strings.Lines(string(builds)) {
		fields := strings.Fields(strings.ReplaceAll(line, "a worktree", "a-worktree"))
		modules[fields[2]] = true
		for _, part := range []string{"CGO_ENABLED=0 ", " -trimpath ", " -buildvcs=false ", " -tags=nethttpomithttp2 ", "-ldflags=-s -w  -o ", " ./actions/hello ./actions/other ./scripts/doctor.d"} {
			if !strings.Contains(line, part) {
				t.Errorf("built without %s: %s", part, line)
			}
		}
	}
	if n := strings.Count(string(builds), "\n"); n != 8 || strings.Count(string(builds), "/another/") != 4 || len(modules) != 2 {
		t.Errorf("%d builds, of them in another place %d, module caches %v", n, strings.Count(string(builds), "/another/"), modules)
	}
	var names []string
	for _, action := range []string{"doctor.d", "hello", "other"} {
		for _, machine := range []string{"darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64"} {
			names = append(names, action+"_"+machine+".gz")
		}
	}
	if got := rel.entries(rel.dir); got != "SHA256SUMS "+strings.Join(names, " ") {
		t.Errorf("released: %s", got)
	}
	if left := rel.entries(filepath.Dir(rel.dir)); left != "v1.2.3" {
		t.Errorf("left: %s", left)
	}
	rel.mustRelease("sign", rel.dir, rel.key)
	rel.mustRelease("verify", rel.dir)
	check := exec.Command("sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS")
	check.Dir = rel.dir
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("by hand: %v: %s", err, out)
	}
	rel.runner.Env = map[string]string{"EDGE_ACTIONS_RELEASES": filepath.Dir(rel.dir)}
	rel.withoutGo()
	if log := rel.run("hello", "a"); !strings.Contains(log, "whose signature holds") || !strings.Contains(log, "\nhello one ") {
		t.Error(log)
	}
}

// What would be no release.
func TestNotReleased(t *testing.T) {
	t.Parallel()
	rel := newMaker(t)
	rel.mustRelease("build", rel.dir)
	other := filepath.Join(rel.runner.Home, "ecdsa")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, test := range []struct {
		does   string
		change func()
		args   []string
		says   string
	}{
		{"unsigned", nil, []string{"verify", rel.dir}, "has no SHA256SUMS.sig"},
		{"a key that signs differently each time", nil, []string{"sign", rel.dir, other}, "is no ed25519 key"},
		{"no key", nil, []string{"sign", rel.dir, "/nowhere"}, "cannot read the key"},
		{"an unsigned publication", nil, []string{"publish", rel.dir}, "has no SHA256SUMS.sig"},
		{"a stranger's key", func() {
			rel.signer(rel.key + "2")
			rel.mustRelease("sign", rel.dir, rel.key+"2")
		}, []string{"verify", rel.dir}, "the signature of its SHA256SUMS does not hold"},
		{"a stranger's key, published", nil, []string{"publish", rel.dir}, "the signature of its SHA256SUMS does not hold"},
		{"a changed file", func() {
			rel.mustRelease("sign", rel.dir, rel.key)
			rel.mustRelease("verify", rel.dir)
			rel.edit("other_darwin_arm64.gz", func(b []byte) []byte { return append(b, 0) })
		}, []string{"verify", rel.dir}, "other_darwin_arm64.gz is missing or is not what the list says"},
		{"a missing file", func() { os.Remove(filepath.Join(rel.dir, "other_darwin_arm64.gz")) }, []string{"verify", rel.dir}, "other_darwin_arm64.gz is missing"},
		{"another source", func() { rel.write("actions/other/x.go", "package main\n") }, []string{"verify", rel.dir}, "it is of another source"},
		{"a directory that is there", nil, []string{"build", rel.dir}, "is there already"},
		{"two builds that differ", func() { rel.runner.Env["GO_DIFFERS"] = "yes" }, []string{"build", "--twice", rel.dir + "2"}, "two builds of the same source are not the same"},
		{"a build that fails", func() { rel.write("actions/other/x.go", "package nothing\n") }, []string{"build", rel.dir + "2"}, "error: go build ended with exit code 1"},
		{"another Go", func() { rel.write("scripts/release.d/go-version", "go1.2.3\n") }, []string{"build", rel.dir + "2"}, "a release is built by go1.2.3"},
		{"unreleased changes", func() {
			rel.write("scripts/release.d/go-version", goEnv(t, "GOVERSION")+"\n")
			rel.write("CHANGELOG.md", "## [Unreleased]\n\n- x\n\n## [1.2.3] - 2026-01-31\n")
		}, []string{"build", rel.dir + "2"}, "does not begin with a version"},
		{"nothing", nil, nil, "takes build, sign, verify or publish"},
		{"no directory", nil, []string{"build"}, "takes a directory"},
	} {
		if test.change != nil {
			test.change()
		}
		if out, err := rel.release(test.args...); err == nil || !strings.Contains(out, test.says) {
			t.Errorf("%s: %v, wanted %q:\n%s", test.does, err, test.says, out)
		}
		if _, err := os.Stat(rel.dir + "2"); err == nil {
			t.Errorf("%s: there is a release", test.does)
		}
	}
	if left := rel.entries(filepath.Dir(rel.dir)); left != "v1.2.3" {
		t.Errorf("left: %s", left)
	}
}
