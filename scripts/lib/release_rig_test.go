package lib_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// release is a release of a tree's source: what its binaries print tells where
// they come from.
type release struct {
	*tree
	dir string // of this version
	key string // the private key that signs
	// url is a forge with the releases; wrong answers in its place where it is
	// not nil, and says whether it did.
	url   string
	wrong func(w http.ResponseWriter, r *http.Request) bool
}

const releaseLog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n- it\n"

func newRelease(t *testing.T) *release {
	t.Helper()
	rel := &release{tree: newTree(t)}
	rel.write("CHANGELOG.md", releaseLog)
	home := rel.runner.Home
	rel.dir = filepath.Join(home, "releases", "v1.2.3")
	rel.key = filepath.Join(home, "key")
	rel.writeAt(filepath.Join(rel.dir, "x"), "")
	os.Remove(filepath.Join(rel.dir, "x"))
	rel.write("scripts/release-signers", "# who may sign\n"+rel.signer(rel.key))
	for _, machine := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"} {
		rel.pack("hello_"+machine+".gz", "#!/bin/sh\necho released "+machine+" \"$@\"\n")
	}
	rel.seal()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rel.wrong == nil || !rel.wrong(w, r) {
			http.FileServer(http.Dir(filepath.Join(home, "releases"))).ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	rel.url = server.URL
	rel.runner.Env["EDGE_ACTIONS_RELEASES"] = filepath.Join(home, "releases")
	return rel
}

// this is the file of this machine's binary.
func this() string { return "hello_" + runtime.GOOS + "_" + runtime.GOARCH + ".gz" }

// signer makes a key and returns its line in the file of signers.
func (rel *release) signer(file string) string {
	rel.t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", file).CombinedOutput(); err != nil {
		rel.t.Fatalf("%v: %s", err, out)
	}
	public, err := os.ReadFile(file + ".pub")
	if err != nil {
		rel.t.Fatal(err)
	}
	return `release namespaces="edge-actions-release" ` + string(public)
}

// pack puts a file into the release, as scripts/release does.
func (rel *release) pack(name, text string) {
	rel.t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(text))
	w.Close()
	rel.writeAt(filepath.Join(rel.dir, name), b.String())
}

// source is the key of the tree, by the launcher itself.
func (rel *release) source() string {
	rel.t.Helper()
	return "sha256:" + strings.TrimSpace(rel.stdout(rel.root, filepath.Join("scripts", "action"), "--key"))
}

// seal writes the list of what is there, and signs it.
func (rel *release) seal() {
	rel.list("v1.2.3", rel.source())
	rel.sign(rel.key, "edge-actions-release")
}

func (rel *release) list(tag, source string) {
	rel.t.Helper()
	files, err := filepath.Glob(filepath.Join(rel.dir, "*.gz"))
	if err != nil {
		rel.t.Fatal(err)
	}
	list := "# release " + tag + "\n# source " + source + "\n"
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			rel.t.Fatal(err)
		}
		list += fmt.Sprintf("%x  %s\n", sha256.Sum256(data), filepath.Base(file))
	}
	rel.writeAt(filepath.Join(rel.dir, "SHA256SUMS"), list)
}

func (rel *release) sign(key, namespace string) {
	rel.t.Helper()
	file := filepath.Join(rel.dir, "SHA256SUMS")
	os.Remove(file + ".sig")
	if out, err := exec.Command("ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", namespace, file).CombinedOutput(); err != nil {
		rel.t.Fatalf("%v: %s", err, out)
	}
}

// edit changes a file of the release.
func (rel *release) edit(name string, change func([]byte) []byte) {
	rel.t.Helper()
	file := filepath.Join(rel.dir, name)
	data, err := os.ReadFile(file)
	if err != nil {
		rel.t.Fatal(err)
	}
	rel.writeAt(file, string(change(data)))
}

// withoutGo takes Go from PATH, and leaves what macOS and Debian have, but for
// the given programs.
func (rel *release) withoutGo(but ...string) {
	rel.t.Helper()
	bin := filepath.Join(rel.runner.Temp, "bin")
	os.RemoveAll(bin)
	if err := os.MkdirAll(bin, 0o755); err != nil {
		rel.t.Fatal(err)
	}
	for _, tool := range []string{"env", "bash", "sh", "b2sum", "sha256sum", "shasum", "perl", "openssl", "readlink", "id", "mkdir", "cat", "ln", "ps", "rm", "rmdir", "mv", "mktemp", "find", "chmod", "uname", "head", "tail", "wc", "tr", "sed", "gzip", "sleep", "touch", "ssh-keygen", "curl", "wget"} {
		path, err := exec.LookPath(tool)
		if err != nil {
			continue
		}
		if err := os.Symlink(path, filepath.Join(bin, tool)); err != nil {
			rel.t.Fatal(err)
		}
	}
	for _, tool := range but {
		if err := os.Remove(filepath.Join(bin, tool)); err != nil {
			rel.t.Fatal(err)
		}
	}
	rel.runner.Env["PATH"] = bin
}

// installed lists the binaries that are there, under their own name.
func (rel *release) installed() []string {
	rel.t.Helper()
	list, err := filepath.Glob(filepath.Join(rel.runner.ToolCache, "edge-actions", "bin", "*", "hello"))
	if err != nil {
		rel.t.Fatal(err)
	}
	return list
}

// left lists what is beside them.
func (rel *release) left() []string {
	rel.t.Helper()
	list, err := filepath.Glob(filepath.Join(rel.runner.ToolCache, "edge-actions", "bin", "*", ".*"))
	if err != nil {
		rel.t.Fatal(err)
	}
	return list
}
