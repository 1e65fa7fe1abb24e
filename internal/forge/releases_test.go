package forge_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"edge-actions/internal/forge"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestReleases(t *testing.T) {
	both(t, func(t *testing.T, f *forgetest.Forge, base string) {
		r := f.Repo(t)
		repo := open(t, base, f.Token(t, "write:repository"), r)
		ctx := t.Context()
		// Without a tag there is none, and none is made.
		_, err := repo.EnsureRelease(ctx, "v1.2.3", "v1.2.3", "notes")
		wants(t, err, forge.Missing, verdict.Unproven)
		if _, err := repo.TagCommit(ctx, "v1.2.3"); !verdict.Has(err, forge.Missing) {
			t.Errorf("a tag was made: %v", err)
		}
		commit := r.Commit(t, "main", "a", "a")
		r.Tag(t, "v1.2.3", "main")
		if got, err := repo.TagCommit(ctx, "v1.2.3"); err != nil || got != commit {
			t.Errorf("%q, %v, want %q", got, err, commit)
		}
		if _, err := repo.GetRelease(ctx, "v1.2.3"); !verdict.Has(err, forge.Missing) {
			t.Errorf("before: %v", err)
		}
		made, err := repo.EnsureRelease(ctx, "v1.2.3", "v1.2.3", "notes")
		if err != nil {
			t.Fatal(err)
		}
		again, err := repo.EnsureRelease(ctx, "v1.2.3", "another", "notes")
		if err != nil || again != made || made.Tag != "v1.2.3" || made.Draft || !strings.Contains(made.URL, "/releases/tag/v1.2.3") {
			t.Errorf("%+v, then %+v, %v", made, again, err)
		}

		large := bytes.Repeat([]byte("0123456789abcde\n"), 1<<17) // 2 MiB
		for i, want := range []bool{true, false} {
			for name, data := range map[string][]byte{"a_linux_amd64.gz": []byte("a\x00\n"), "large": large, "SHA256SUMS": []byte("x")} {
				if added, err := repo.PutAsset(ctx, made, name, data); err != nil || added != want {
					t.Errorf("%s, time %d: %v, %v", name, i, added, err)
				}
			}
		}
		list, err := repo.Assets(ctx, made)
		if err != nil || len(list) != 3 {
			t.Errorf("%+v, %v", list, err)
		}
		for says, data := range map[string]string{"1 bytes and not 2": "ab", "other bytes": "y"} {
			added, err := repo.PutAsset(ctx, made, "SHA256SUMS", []byte(data))
			if wants(t, err, forge.Conflicted, verdict.Disproven); err == nil || added || !strings.Contains(err.Error(), says) {
				t.Errorf("wanted %q: %v, %v", says, added, err)
			}
		}
		for _, name := range []string{"", "../x", "a/b", ".x", "a b", "a?name=b"} {
			_, err := repo.PutAsset(ctx, made, name, nil)
			wants(t, err, forge.Config, verdict.Disproven)
		}
		_, err = open(t, base, f.Token(t, "read:repository"), r).PutAsset(ctx, made, "b", []byte("b"))
		wants(t, err, forge.Denied, verdict.Unproven)
	})
}

// Two of one name could be two builds, and a download gives one of them.
func TestTwoAssetsOfOneName(t *testing.T) {
	f := forgetest.New(t)
	r := f.Repo(t)
	r.Tag(t, "v1.0.0", "main")
	token := f.Token(t, "write:repository")
	repo := open(t, f.URL, token, r)
	rel, err := repo.EnsureRelease(t.Context(), "v1.0.0", "v1.0.0", "notes")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("%s/api/v1%s/releases/%d/assets?name=a", f.URL, r.Path(), rel.ID), strings.NewReader("a"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+token)
		req.Header.Set("Content-Type", "application/octet-stream")
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("%v, %v", res, err)
		}
		res.Body.Close()
	}
	_, err = repo.PutAsset(t.Context(), rel, "a", []byte("a"))
	if wants(t, err, forge.Conflicted, verdict.Disproven); err == nil || !strings.Contains(err.Error(), "two of that name") {
		t.Error(err)
	}
}

// An answer that is lost is no reason to send a thing twice.
func TestALostAnswerToAnAsset(t *testing.T) {
	f := forgetest.New(t)
	to, err := url.Parse(f.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	var sent []string
	for name, reaches := range map[string]bool{"after": true, "before": false} {
		t.Run(name, func(t *testing.T) {
			sent = nil
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost {
					proxy.ServeHTTP(w, r)
					return
				}
				sent = append(sent, r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
				if reaches {
					proxy.ServeHTTP(httptest.NewRecorder(), r)
				} else {
					io.Copy(io.Discard, r.Body)
				}
				panic(http.ErrAbortHandler)
			}))
			defer server.Close()
			r := f.Repo(t)
			r.Tag(t, "v1.0.0", "main")
			repo := open(t, server.URL, f.Token(t, "write:repository"), r)
			rel, err := repo.EnsureRelease(t.Context(), "v1.0.0", "v1.0.0", "notes")
			if reaches {
				if err != nil {
					t.Fatal(err)
				}
				if added, err := repo.PutAsset(t.Context(), rel, "a", []byte("a")); err != nil || !added {
					t.Errorf("%v, %v", added, err)
				}
				if diff := cmp.Diff([]string{"releases", "assets"}, sent); diff != "" {
					t.Error(diff)
				}
				return
			}
			wants(t, err, forge.Unreachable, verdict.Unproven)
			if !forge.Ambiguous(err) || len(sent) != 1 {
				t.Errorf("sent %q: %v", sent, err)
			}
		})
	}
}
