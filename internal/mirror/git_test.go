package mirror

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/realtools"

	"github.com/google/go-cmp/cmp"
)

const token = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"

func newGit(t *testing.T) *Git {
	t.Helper()
	return &Git{Path: realtools.Path(t, "git"), Dir: t.TempDir(), Environ: os.Environ(), Timeout: time.Minute, Secrets: []string{token}}
}

func tokenFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The token goes to the host that it is for, once it is asked for, and nowhere
// that this host sends git.
func TestTheTokenStaysThere(t *testing.T) {
	var reached, given atomic.Int64
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+token))
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		w.Header().Set("WWW-Authenticate", "Basic")
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer thief.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/moved/"):
			http.Redirect(w, r, thief.URL+r.URL.Path, http.StatusFound)
		case r.Header.Get("Authorization") == "":
			w.Header().Set("WWW-Authenticate", "Basic")
			w.WriteHeader(http.StatusUnauthorized)
		case r.Header.Get("Authorization") == want:
			given.Add(1)
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprintf(w, "no, %s, and no %s\n", token, want)
		}
	}))
	defer server.Close()
	g := newGit(t)
	file := tokenFile(t)
	for path, asked := range map[string]int64{"/owner/name.git": 1, "/moved/name.git": 0} {
		given.Store(0)
		_, err := g.Refs(t.Context(), Place{URL: server.URL + path, TokenFile: file}, Patterns{"refs/*"})
		if err == nil || given.Load() < asked {
			t.Errorf("%s: given %d times, %v", path, given.Load(), err)
		}
		if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), want)) {
			t.Errorf("the token is in the error: %v", err)
		}
	}
	if reached.Load() != 0 {
		t.Error("git went to another host")
	}
	// The program that hands it out gives it to nobody else either.
	ask, err := g.askpass(Place{URL: server.URL + "/x", TokenFile: file})
	if err != nil {
		t.Fatal(err)
	}
	for _, prompt := range []string{"Password for '" + thief.URL + "': ", "Password for '" + strings.Replace(thief.URL, "://", "://"+user+"@", 1) + "': ", "Passphrase", ""} {
		out, err := command.Output(t.Context(), command.Cmd{Path: ask, Args: []string{prompt}, Env: g.Environ, Timeout: time.Minute, Grace: time.Second}, 1<<10)
		if err == nil || strings.Contains(string(out), token) {
			t.Errorf("%q: %q", prompt, out)
		}
	}
	text, err := os.ReadFile(ask)
	if err != nil || strings.Contains(string(text), token) {
		t.Errorf("the token was written to %s, %v", ask, err)
	}
}

func TestHistory(t *testing.T) {
	work, bare, other := t.TempDir(), forgetest.BareRemote(t), forgetest.BareRemote(t)
	forgetest.Git(t, work, "init", "--quiet", "--initial-branch=main")
	first := forgetest.CommitIn(t, work, "a", "1")
	second := forgetest.CommitIn(t, work, "a", "2")
	forgetest.Git(t, work, "tag", "--annotate", "--message", "v1", "v1", first)
	forgetest.Git(t, work, "push", "--quiet", bare, "main", "v1")
	forgetest.Git(t, work, "checkout", "--quiet", "-b", "side", first)
	side := forgetest.CommitIn(t, work, "b", "3")
	forgetest.Git(t, work, "push", "--quiet", other, "side:main")
	g := newGit(t)
	at, there := Place{URL: "file://" + bare}, Place{URL: "file://" + other}
	refs, err := g.Refs(t.Context(), at, Patterns{"refs/heads/*", "refs/tags/*"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"refs/heads/main": second, "refs/tags/v1": first}, map[string]string{"refs/heads/main": refs["refs/heads/main"].Commit, "refs/tags/v1": refs["refs/tags/v1"].Commit}); diff != "" || refs["refs/tags/v1"].ID == first {
		t.Error(diff, refs)
	}
	h, err := g.history(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]Place{"forge": at, "mirror": there} {
		if err := h.fetch(t.Context(), place, name, []string{"refs/heads/main"}); err != nil {
			t.Fatal(err)
		}
	}
	for pair, want := range map[[2]string]bool{{first, second}: true, {second, first}: false, {first, first}: true, {side, second}: false, {second, side}: false} {
		if got, err := h.ancestor(t.Context(), pair[0], pair[1]); err != nil || got != want {
			t.Errorf("%s before %s: %v %v", pair[0], pair[1], got, err)
		}
	}
	if got, err := h.ancestor(t.Context(), id("1"), second); err == nil {
		t.Errorf("a commit that nobody has: %v", got)
	}
	// What only a directory's owner would run is not run, and no directory is made.
	if _, err := g.Refs(t.Context(), Place{URL: "file:///nowhere/at/all"}, Patterns{"refs/*"}); err == nil {
		t.Error("refs of nowhere")
	}
}

func TestDeadline(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(stop)
	g := newGit(t)
	g.Timeout = 50 * time.Millisecond
	if _, err := g.Refs(context.Background(), Place{URL: server.URL + "/a"}, Patterns{"refs/*"}); err == nil || !strings.Contains(err.Error(), "no end after") {
		t.Error(err)
	}
}
