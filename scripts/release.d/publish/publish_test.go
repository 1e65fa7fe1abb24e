package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"edge-actions/internal/forge"
	"edge-actions/internal/testing/forgetest"

	"github.com/google/go-cmp/cmp"
)

// asChild makes of the test binary the program itself, so that it can be
// killed.
const asChild = "EDGE_ACTIONS_TEST_PUBLISH"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(forgetest.Main(m))
}

// rig is a release and a repository that has its tag.
type rig struct {
	t      *testing.T
	f      *forgetest.Forge
	repo   *forgetest.Repo
	token  string
	dir    string
	commit string
}

const changelog = "# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-31\n\n### Added\n\n- it\n\n## [1.2.2] - 2026-01-30\n\n- before\n"

var files = map[string]string{"hello_linux_amd64.gz": "binary one", "hello_linux_arm64.gz": "binary two", "other_darwin_arm64.gz": strings.Repeat("large", 200_000)}

func newRig(t *testing.T) *rig {
	t.Helper()
	f := forgetest.New(t)
	r := &rig{t: t, f: f, repo: f.Repo(t), token: f.Token(t, "write:repository"), dir: filepath.Join(t.TempDir(), "release")}
	r.commit = r.repo.Commit(t, "main", "a", "a")
	r.repo.Tag(t, "v1.2.3", "main")
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	list := "# release v1.2.3\n# source sha256:0\n"
	for _, name := range []string{"hello_linux_amd64.gz", "hello_linux_arm64.gz", "other_darwin_arm64.gz"} {
		r.write(name, files[name])
		list += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(files[name])), name)
	}
	r.write("SHA256SUMS", list)
	r.write("SHA256SUMS.sig", "signature")
	r.write("../CHANGELOG.md", changelog)
	return r
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// child is the program, asking the forge at base.
func (r *rig) child(base string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], append([]string{"-dir", r.dir, "-changelog", filepath.Join(r.dir, "../CHANGELOG.md")}, args...)...)
	cmd.Env = []string{asChild + "=yes", tokenVariable + "=" + r.token, "GITHUB_REF_NAME=v1.2.3", "GITHUB_SHA=" + r.commit, "GITHUB_SERVER_URL=" + base, "GITHUB_REPOSITORY=" + r.repo.Owner + "/" + r.repo.Name}
	return cmd
}

// run runs it and wants it to end well.
func (r *rig) run() string {
	r.t.Helper()
	out, err := r.child(r.f.URL).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v:\n%s", err, out)
	}
	return string(out)
}

// published returns what everybody gets, by name; a name that is there twice
// is said.
func (r *rig) published() map[string]string {
	r.t.Helper()
	var rel struct {
		Body   string
		Assets []struct {
			Name                 string
			Browser_download_url string
		}
	}
	r.f.API(r.t, "GET", r.repo.Path()+"/releases/tags/v1.2.3", nil, &rel)
	got := map[string]string{"": rel.Body}
	for _, a := range rel.Assets {
		req, err := http.NewRequestWithContext(r.t.Context(), "GET", a.Browser_download_url, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+r.token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			r.t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		if _, twice := got[a.Name]; twice {
			a.Name += " again"
		}
		got[a.Name] = string(data)
	}
	return got
}

// want is what is to be there in the end.
func (r *rig) want() map[string]string {
	want := map[string]string{"": "### Added\n\n- it\n", "SHA256SUMS.sig": "signature"}
	for name, text := range files {
		want[name] = text
	}
	list, err := os.ReadFile(filepath.Join(r.dir, "SHA256SUMS"))
	if err != nil {
		r.t.Fatal(err)
	}
	want["SHA256SUMS"] = string(list)
	return want
}

func TestPublish(t *testing.T) {
	r := newRig(t)
	if out := r.run(); !strings.Contains(out, "5 files, 5 of them now") {
		t.Error(out)
	}
	if diff := cmp.Diff(r.want(), r.published()); diff != "" {
		t.Error(diff)
	}
	if out := r.run(); !strings.Contains(out, "5 files, 0 of them now") {
		t.Error(out)
	}
	if diff := cmp.Diff(r.want(), r.published()); diff != "" {
		t.Error(diff)
	}
	// Another build is another release, and what is published stays.
	r.write("hello_linux_amd64.gz", "binary 111")
	list := strings.ReplaceAll(r.want()["SHA256SUMS"], fmt.Sprintf("%x", sha256.Sum256([]byte("binary one"))), fmt.Sprintf("%x", sha256.Sum256([]byte("binary 111"))))
	before := r.published()
	r.write("SHA256SUMS", list)
	out, err := r.child(r.f.URL).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "what was published is not replaced") || !strings.Contains(string(out), "hello_linux_amd64.gz") {
		t.Errorf("%v:\n%s", err, out)
	}
	if diff := cmp.Diff(before, r.published()); diff != "" {
		t.Error(diff)
	}
}

// point is a moment of a request at which the program is killed.
type point int

const (
	before point = iota // it has left, and does not arrive
	during              // half of its body arrives
	after               // it is done, and no answer comes back
)

// killer is a forge that kills whoever makes the nth request.
type killer struct {
	proxy *httputil.ReverseProxy
	n     int64
	at    point
	kill  func()
	seen  atomic.Int64
}

func (k *killer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if k.seen.Add(1) != k.n {
		k.proxy.ServeHTTP(w, r)
		return
	}
	switch k.at {
	case during:
		r.Body = io.NopCloser(io.MultiReader(io.LimitReader(r.Body, r.ContentLength/2), &dying{kill: k.kill}))
		k.proxy.ServeHTTP(httptest.NewRecorder(), r)
	case after:
		k.proxy.ServeHTTP(httptest.NewRecorder(), r)
	}
	k.kill()
	panic(http.ErrAbortHandler)
}

// dying is the second half of a body whose sender is killed.
type dying struct{ kill func() }

func (d *dying) Read([]byte) (int, error) {
	d.kill()
	return 0, io.ErrUnexpectedEOF
}

// Killed at each of its requests, before, during and after, it completes when it
// is run again; and as long as it is not complete, there is no list, by which a
// launcher would find the release.
func TestPublishKilledAtEachRequest(t *testing.T) {
	f := forgetest.New(t)
	to, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]point{"before": before, "during": during, "after": after} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			killed := 0
			for n := int64(1); ; n++ {
				k := &killer{proxy: &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}, n: n, at: at}
				k.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) {} // the cut body is on purpose
				server := httptest.NewServer(k)
				cmd := r.child(server.URL)
				ready := make(chan struct{})
				k.kill = func() { <-ready; cmd.Process.Kill() }
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				close(ready)
				err := cmd.Wait()
				server.Close()
				if err == nil {
					break
				}
				killed++
				var rel []struct {
					ID     int64
					Assets []struct{ Name string }
				}
				f.API(t, "GET", r.repo.Path()+"/releases", nil, &rel)
				for _, x := range rel {
					for _, a := range x.Assets {
						if a.Name == "SHA256SUMS" && len(x.Assets) != 5 {
							t.Errorf("killed at request %d: the list is there before the rest: %+v", n, x.Assets)
						}
					}
				}
				r.run()
				if diff := cmp.Diff(r.want(), r.published()); diff != "" {
					t.Fatalf("killed at request %d, and run again: %s", n, diff)
				}
				f.API(t, "GET", r.repo.Path()+"/releases", nil, &rel)
				f.API(t, "DELETE", fmt.Sprintf("%s/releases/%d", r.repo.Path(), rel[0].ID), nil, nil)
			}
			if killed < 12 {
				t.Errorf("killed %d times; a tag, a release and five files are more requests than that", killed)
			}
		})
	}
}

func TestNotPublished(t *testing.T) {
	r := newRig(t)
	for name, test := range map[string]struct {
		change func()
		args   []string
		says   string
	}{
		"no entry": {func() {
			r.write("../CHANGELOG.md", "## [Unreleased]\n\n## [1.2.3] - 2026\n\n## [1.2.2] - 2026\n\n- x\n")
		}, nil, "CHANGELOG.md has nothing about"},
		"another list":   {func() { r.write("SHA256SUMS", strings.Replace(r.want()["SHA256SUMS"], "v1.2.3", "v1.2.4", 1)) }, nil, "wanted SHA256SUMS of release"},
		"not a list":     {func() { r.write("SHA256SUMS", "# release v1.2.3\nhello\n") }, nil, "wanted lines with a checksum"},
		"outside":        {func() { r.write("SHA256SUMS", "# release v1.2.3\n"+strings.Repeat("0", 64)+"  ../x\n") }, nil, "wanted lines with a checksum"},
		"an empty list":  {func() { r.write("SHA256SUMS", "# release v1.2.3\n") }, nil, "names no file"},
		"a changed file": {func() { r.write("hello_linux_amd64.gz", "binary two") }, nil, "has not the checksum"},
		"a file more":    {func() { r.write("stray", "x") }, nil, "nothing that is not signed"},
		"unsigned":       {func() { os.Remove(filepath.Join(r.dir, "SHA256SUMS.sig")) }, nil, "is not signed"},
		"a moved tag":    {func() {}, []string{"-commit", strings.Repeat("0", 40)}, "was it moved?"},
		"no tag":         {func() { r.write("SHA256SUMS", "# release v1.2.2\n"+strings.SplitN(r.want()["SHA256SUMS"], "\n", 2)[1]) }, []string{"-tag", "v1.2.2"}, "missing or not allowed"},
		"no forge":       {func() {}, []string{"-forge", "http://example.org"}, "the address of a forge"},
		"no repository":  {func() {}, []string{"-repository", "x"}, "owner/name"},
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			kept := map[string][]byte{}
			for _, file := range []string{"../CHANGELOG.md", "SHA256SUMS", "SHA256SUMS.sig", "hello_linux_amd64.gz"} {
				kept[file], _ = os.ReadFile(filepath.Join(r.dir, file))
			}
			defer func() {
				os.Remove(filepath.Join(r.dir, "stray"))
				for file, data := range kept {
					r.write(file, string(data))
				}
			}()
			test.change()
			out, err := r.child(r.f.URL, test.args...).CombinedOutput()
			if err == nil || !strings.Contains(string(out), test.says) || strings.Contains(string(out), r.token) {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
	if c, err := forge.New(r.f.URL, r.token, forge.Options{}); err != nil {
		t.Error(err)
	} else if repo, err := open(c, r.repo.Owner+"/"+r.repo.Name); err != nil {
		t.Error(err)
	} else if _, err := repo.GetRelease(t.Context(), "v1.2.3"); err == nil {
		t.Error("a release was made")
	}
}
