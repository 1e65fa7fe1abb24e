package lib_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Where a release is, it is taken, with and without Go, from a directory and
// from a forge, by curl and by wget.
func TestARelease(t *testing.T) {
	for name, test := range map[string]struct {
		far   bool
		noGo  bool
		but   []string
		named string // the file with the address, in place of the variable
	}{
		"a directory":              {},
		"a directory, without Go":  {noGo: true},
		"a forge":                  {far: true},
		"a forge, without Go":      {far: true, noGo: true},
		"a forge, by wget":         {far: true, noGo: true, but: []string{"curl"}},
		"without b2sum":            {noGo: true, but: []string{"b2sum"}},
		"shasum alone":             {noGo: true, but: []string{"b2sum", "sha256sum", "openssl"}},
		"openssl alone":            {noGo: true, but: []string{"b2sum", "sha256sum", "shasum"}},
		"an address in the source": {far: true, named: "scripts/release-url"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rel := newRelease(t)
			if test.far {
				rel.runner.Env["EDGE_ACTIONS_RELEASES"] = rel.url
			}
			if test.named != "" {
				delete(rel.runner.Env, "EDGE_ACTIONS_RELEASES")
				rel.write(test.named, "# where the releases are\n"+rel.url+"/\n")
				rel.seal()
			}
			if test.noGo {
				rel.withoutGo(test.but...)
			}
			if log := rel.run("hello", "a b"); !strings.Contains(log, "out of release v1.2.3, whose signature holds") || !strings.Contains(log, "\nreleased "+machine()+" a b") {
				t.Errorf("first use:\n%s", log)
			}
			if err := os.RemoveAll(rel.dir); err != nil { // it is asked once
				t.Fatal(err)
			}
			if log := rel.run("hello"); !strings.HasPrefix(log, "released ") {
				t.Errorf("second use:\n%s", log)
			}
			if n := rel.built(); n != 0 {
				t.Errorf("%d builds", n)
			}
			if left := rel.left(); left != nil {
				t.Errorf("left: %q", left)
			}
		})
	}
}

func machine() string { return strings.TrimSuffix(strings.TrimPrefix(this(), "hello_"), ".gz") }

// The binary for another machine comes out of the same release.
func TestAReleaseForAnotherMachine(t *testing.T) {
	rel := newRelease(t)
	rel.withoutGo()
	for _, platform := range []string{"linux/arm64", "darwin/amd64"} {
		out := rel.stdout(rel.root, filepath.Join("scripts", "action"), "--for", platform, "hello")
		data, err := os.ReadFile(strings.TrimSuffix(out, "\n"))
		if err != nil || !strings.Contains(string(data), "released "+strings.Replace(platform, "/", "_", 1)) {
			t.Errorf("%s: %v: %s", platform, err, data)
		}
	}
	if n := rel.built(); n != 0 {
		t.Errorf("%d builds", n)
	}
}

// A read-only source without .git, as the Forgejo runner copies it, has the
// same release.
func TestAReleaseOfACopy(t *testing.T) {
	rel := newRelease(t)
	copied := filepath.Join(rel.runner.Temp, "copy")
	if err := os.CopyFS(copied, os.DirFS(rel.root)); err != nil {
		t.Fatal(err)
	}
	rel.root = copied
	rel.withoutGo()
	rel.write("internal/word/word_test.go", "package word\n") // no part of it
	if log := rel.run("hello"); !strings.Contains(log, "released") {
		t.Error(log)
	}
}

// What is there and does not hold is refused, and nothing is built in its place.
func TestARefusedRelease(t *testing.T) {
	list := "SHA256SUMS"
	half := func(b []byte) []byte { return b[:len(b)/2] }
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, test := range map[string]struct {
		change func(rel *release)
		says   string
	}{
		"a changed binary":    {func(rel *release) { rel.edit(this(), flip) }, "has not the checksum that its list names"},
		"half a binary":       {func(rel *release) { rel.edit(this(), half) }, "has not the checksum that its list names"},
		"an empty binary":     {func(rel *release) { rel.edit(this(), func([]byte) []byte { return nil }) }, "has not the checksum that its list names"},
		"another's binary":    {func(rel *release) { rel.pack(this(), "#!/bin/sh\necho evil\n") }, "has not the checksum that its list names"},
		"another's, listed":   {func(rel *release) { rel.pack(this(), "#!/bin/sh\necho evil\n"); rel.list("v1.2.3", rel.source()) }, "the signature of its SHA256SUMS does not hold"},
		"no binary":           {func(rel *release) { os.Remove(filepath.Join(rel.dir, this())) }, "its list names " + this()},
		"a changed list":      {func(rel *release) { rel.edit(list, func(b []byte) []byte { return append(b, '\n') }) }, "the signature of its SHA256SUMS does not hold"},
		"half a list":         {func(rel *release) { rel.edit(list, half) }, "the signature of its SHA256SUMS does not hold"},
		"a changed signature": {func(rel *release) { rel.edit(list+".sig", flip) }, "the signature of its SHA256SUMS does not hold"},
		"half a signature":    {func(rel *release) { rel.edit(list+".sig", half) }, "the signature of its SHA256SUMS does not hold"},
		"no signature":        {func(rel *release) { os.Remove(filepath.Join(rel.dir, list+".sig")) }, "it is not signed"},
		"another key": {func(rel *release) {
			rel.signer(rel.key + "2")
			rel.sign(rel.key+"2", "edge-actions-release")
		}, "the signature of its SHA256SUMS does not hold"},
		"signed for something else": {func(rel *release) { rel.sign(rel.key, "git") }, "the signature of its SHA256SUMS does not hold"},
		"another source":            {func(rel *release) { rel.write("internal/word/word.go", "package word\n\nconst Word = \"two\"\n") }, "it is of another source than this one"},
		"another source, tools":     {func(rel *release) { rel.write("go.sum", "x") }, "it is of another source than this one"},
		"another version": {func(rel *release) {
			rel.list("v1.2.2", rel.source())
			rel.sign(rel.key, "edge-actions-release")
		}, "it is another one (v1.2.2)"},
		"no source": {func(rel *release) {
			rel.list("v1.2.3", "")
			rel.sign(rel.key, "edge-actions-release")
		}, "it is of another source than this one"},
		"a large list": {func(rel *release) {
			rel.edit(list, func(b []byte) []byte { return append(b, bytes.Repeat([]byte("#\n"), 40_000)...) })
			rel.sign(rel.key, "edge-actions-release")
		}, "has more than 65536 bytes"},
	} {
		for _, place := range []string{"a directory", "a forge"} {
			t.Run(name+", "+place, func(t *testing.T) {
				t.Parallel()
				rel := newRelease(t)
				if place == "a forge" {
					rel.runner.Env["EDGE_ACTIONS_RELEASES"] = rel.url
				}
				test.change(rel)
				rel.refused(test.says)
			})
		}
	}
}

// refused wants a step that says so, and that nothing was built or installed.
func (rel *release) refused(says string) {
	rel.t.Helper()
	res := rel.step("hello").Run()
	if res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: release v1.2.3 is refused: ") || !strings.Contains(res.RawLog, says) || !strings.Contains(res.RawLog, "hint:") {
		rel.t.Errorf("wanted %q, exit code %d:\n%s", says, res.ExitCode, res.RawLog)
	}
	if n := rel.built(); n != 0 || strings.Contains(res.RawLog, "evil") || rel.installed() != nil {
		rel.t.Errorf("%d builds, installed %q:\n%s", n, rel.installed(), res.RawLog)
	}
	if left := rel.left(); left != nil {
		rel.t.Errorf("left: %q", left)
	}
	if len(res.Honoured) > 0 {
		rel.t.Errorf("commands: %v", res.Honoured)
	}
}

// What a forge can do wrong on the way.
func TestAForgeThatMisbehaves(t *testing.T) {
	cut := func(w http.ResponseWriter) {
		w.Header().Set("Content-Length", "2000")
		w.Write(bytes.Repeat([]byte("x"), 1000))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, test := range map[string]struct {
		file string
		do   func(w http.ResponseWriter, r *http.Request)
		says string
	}{
		"a cut list":          {"SHA256SUMS", func(w http.ResponseWriter, r *http.Request) { cut(w) }, "only a part of"},
		"a cut binary":        {this(), func(w http.ResponseWriter, r *http.Request) { cut(w) }, "only a part of"},
		"an endless list":     {"SHA256SUMS", endless, "has more than 65536 bytes"},
		"a redirect to http":  {"SHA256SUMS", redirect("http://localhost:1/x"), "leads elsewhere"},
		"a redirect to files": {"SHA256SUMS", redirect("file:///etc/passwd"), "leads elsewhere"},
		"a login page": {"SHA256SUMS", func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "<html>::add-path::/evil\n::add-path::/evil")
		}, "the signature of its SHA256SUMS does not hold"},
	} {
		for _, by := range []string{"curl", "wget"} {
			t.Run(name+", "+by, func(t *testing.T) {
				t.Parallel()
				rel := newRelease(t)
				rel.runner.Env["EDGE_ACTIONS_RELEASES"] = rel.url
				if by == "wget" {
					rel.withoutGo("curl")
				}
				rel.wrong = func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path != "/v1.2.3/"+test.file {
						return false
					}
					test.do(w, r)
					return true
				}
				rel.refused(test.says)
			})
		}
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	for {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
			return
		}
	}
}

func redirect(to string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// Where there is none, or it can't be told, it is said, and the source is built;
// without Go the two ways to a binary are named.
func TestNoRelease(t *testing.T) {
	answer := func(code int) func(rel *release) {
		return func(rel *release) {
			rel.runner.Env["EDGE_ACTIONS_RELEASES"] = rel.url
			rel.wrong = func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(code); return true }
		}
	}
	for name, test := range map[string]struct {
		change func(rel *release)
		says   string // empty: nothing is said
	}{
		"no place":           {func(rel *release) { delete(rel.runner.Env, "EDGE_ACTIONS_RELEASES") }, ""},
		"none wanted":        {func(rel *release) { rel.runner.Env["EDGE_ACTIONS_RELEASES"] = "none" }, ""},
		"no directory":       {func(rel *release) { rel.runner.Env["EDGE_ACTIONS_RELEASES"] = "/nowhere" }, "no binary out of release v1.2.3: /nowhere/v1.2.3/SHA256SUMS is not there"},
		"none of this":       {func(rel *release) { os.RemoveAll(rel.dir) }, "SHA256SUMS is not there"},
		"404":                {answer(404), "SHA256SUMS is not there (404)"},
		"500":                {answer(500), "the answer is 500"},
		"403":                {answer(403), "the answer is 403"},
		"nobody answers":     {func(rel *release) { rel.runner.Env["EDGE_ACTIONS_RELEASES"] = "http://127.0.0.1:1" }, "no binary out of release v1.2.3: http://127.0.0.1:1/v1.2.3/SHA256SUMS: "},
		"not this machine's": {func(rel *release) { os.Remove(filepath.Join(rel.dir, this())); rel.seal() }, "it has no " + this()},
		"unreleased changes": {func(rel *release) {
			rel.write("CHANGELOG.md", strings.Replace(releaseLog, "\n\n## [1.", "\n\n- more\n\n## [1.", 1))
		}, "no release is of this source"},
		"no version":    {func(rel *release) { rel.write("CHANGELOG.md", "# Changelog\n\n## [../../x] - 2026\n") }, "no release is of this source"},
		"no change log": {func(rel *release) { os.Remove(filepath.Join(rel.root, "CHANGELOG.md")) }, "no release is of this source"},
		"no signer":     {func(rel *release) { rel.write("scripts/release-signers", "# nobody\n\n") }, "release-signers names nobody"},
		"no signers":    {func(rel *release) { os.Remove(filepath.Join(rel.root, "scripts/release-signers")) }, "release-signers names nobody"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rel := newRelease(t)
			test.change(rel)
			path := rel.runner.Env["PATH"]
			rel.withoutGo()
			res := rel.step("hello").Run()
			if res.ExitCode != 1 || !strings.Contains(res.RawLog, test.says) || !strings.Contains(res.RawLog, "there is no go on PATH") || !strings.Contains(res.RawLog, "hint: install Go") || !strings.Contains(res.RawLog, "or let it use a release (EDGE_ACTIONS_RELEASES, see docs/release.md)") {
				t.Errorf("without Go, exit code %d:\n%s", res.ExitCode, res.RawLog)
			}
			if test.says == "" && strings.Count(res.RawLog, "\n") != 2 {
				t.Errorf("more than an error and a hint:\n%s", res.RawLog)
			}
			rel.runner.Env["PATH"] = path
			log := rel.run("hello")
			if !strings.Contains(log, test.says) || !strings.Contains(log, "building hello") || !strings.Contains(log, "\nhello one ") || test.says == "" && strings.Contains(log, "release") {
				t.Errorf("with Go:\n%s", log)
			}
			if left := rel.left(); left != nil {
				t.Errorf("left: %q", left)
			}
		})
	}
}

// The operator's word on who may sign counts in the place of the source's.
func TestTheOperatorsSigners(t *testing.T) {
	t.Parallel()
	rel := newRelease(t)
	file := filepath.Join(rel.runner.Home, "signers")
	rel.writeAt(file, rel.signer(rel.key+"2"))
	rel.runner.Env["EDGE_ACTIONS_RELEASE_SIGNERS"] = file
	rel.refused("a key that signers does not name")
	rel.sign(rel.key+"2", "edge-actions-release")
	if log := rel.run("hello"); !strings.Contains(log, "released") {
		t.Error(log)
	}
	for _, value := range []string{"/nowhere", "signers", rel.runner.Home} {
		os.RemoveAll(rel.runner.ToolCache)
		rel.runner.Env["EDGE_ACTIONS_RELEASE_SIGNERS"] = value
		if res := rel.step("hello").Run(); res.ExitCode != 1 || !strings.Contains(res.RawLog, "error: EDGE_ACTIONS_RELEASE_SIGNERS is no file that can be read") {
			t.Errorf("%q: exit code %d:\n%s", value, res.ExitCode, res.RawLog)
		}
	}
}

// An address that is none, or that would show a password or go over the wire in
// clear.
func TestPlacesThatAreNone(t *testing.T) {
	t.Parallel()
	rel := newRelease(t)
	for _, place := range []string{"releases", "../x", "http://example.org/x", "https://user:word@example.org/x", "https://example.org/x?y=1", "file:///x", "ftp://127.0.0.1/x", "http://127.0.0.1.example.org/x", "https://example.org/a b", "-x", "https://x\nhttps://y"} {
		rel.runner.Env["EDGE_ACTIONS_RELEASES"] = place
		res := rel.step("hello").Run()
		if res.ExitCode != 1 || !strings.Contains(res.RawLog, "is no place for releases") || strings.Contains(res.RawLog, "word") {
			t.Errorf("%q: exit code %d:\n%s", place, res.ExitCode, res.RawLog)
		}
	}
	if n := rel.built(); n != 0 {
		t.Errorf("%d builds", n)
	}
}
