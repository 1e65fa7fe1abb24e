package forge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edge-actions/internal/forge"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// secret is a token that must be nowhere.
const secret = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"

// wire is a client of a server that answers as the test says. Its log is held
// against the token.
func wire(t *testing.T, o forge.Options, h http.HandlerFunc) (*forge.Repo, *httptest.Server) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	if o.Pause == 0 {
		o.Pause = time.Millisecond
	}
	o.Logf = func(format string, args ...any) {
		if line := fmt.Sprintf(format, args...); strings.Contains(line, secret) {
			t.Errorf("the token is in the log: %s", line)
		}
	}
	c, err := forge.New(server.URL, secret, o)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.Repo("owner", "name")
	if err != nil {
		t.Fatal(err)
	}
	return r, server
}

// silent proves that an error, all of its tree, does not hold the token.
func silent(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; {
		if text := fmt.Sprintf("%v %+v %#v", e, e, e); strings.Contains(e.Error(), secret) || strings.Contains(fmt.Sprintf("%v %+v", e, e), secret) {
			t.Errorf("the token is in the error: %s", text)
		}
		u, ok := e.(interface{ Unwrap() error })
		if !ok {
			break
		}
		e = u.Unwrap()
	}
	for _, c := range verdict.ChecksOf(err) {
		if strings.Contains(fmt.Sprintf("%+v", c), secret) {
			t.Errorf("the token is in the check: %+v", c)
		}
	}
}

func TestAnswers(t *testing.T) {
	body := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"message":%q}`, text+" "+r.Header.Get("Authorization"))
		}
	}
	for name, test := range map[string]struct {
		answer    http.HandlerFunc
		id        string
		verdict   verdict.Verdict
		says      string
		reads     int64 // how often a read asks
		writes    int64 // how often a change does
		ambiguous bool  // whether the change may have been made
	}{
		"401":          {body(401, "no"), forge.Denied, verdict.Unproven, "write:repository", 1, 1, false},
		"403":          {body(403, "no"), forge.Denied, verdict.Unproven, "write:repository", 1, 1, false},
		"404":          {body(404, "no"), forge.Missing, verdict.Unproven, "missing or not allowed", 1, 1, false},
		"409":          {body(409, "there"), forge.Conflicted, verdict.Disproven, "there", 1, 1, false},
		"413":          {body(413, "quota"), forge.Limit, verdict.Disproven, "quota", 1, 1, false},
		"422":          {body(422, "bad"), forge.Failed, verdict.Disproven, "bad", 1, 1, false},
		"422 too long": {body(422, "is too long"), forge.Limit, verdict.Disproven, "send less", 1, 1, false},
		"423":          {body(423, "archived"), forge.Failed, verdict.Disproven, "archive", 1, 1, false},
		"429":          {body(429, "slow"), forge.Limit, verdict.Unproven, "after 4 attempts", 4, 4, false},
		"500":          {body(500, "oops"), forge.Failed, verdict.Unproven, "whether it was done is not known", 4, 1, true},
		"503":          {body(503, "oops"), forge.Failed, verdict.Unproven, "whether it was done is not known", 4, 1, true},
		"cut off":      {func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, forge.Unreachable, verdict.Unproven, "whether it was done is not known", 4, 1, true},
		"half an answer": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "99")
			w.Write([]byte(`{`))
		}, forge.Unreachable, verdict.Unproven, "whether it was done is not known", 4, 1, true},
		"a login page": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "<html>welcome "+r.Header.Get("Authorization"))
		}, forge.Failed, verdict.Unproven, "not a forge's", 1, 1, true},
		"too much": {func(w http.ResponseWriter, r *http.Request) { flood(w) }, forge.Failed, verdict.Unproven, "more than 32 MiB", 1, 1, true},
		"wait for an hour": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			body(429, "slow")(w, r)
		}, forge.Limit, verdict.Unproven, "1h0m0s", 1, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			var reads, writes atomic.Int64
			repo, _ := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					reads.Add(1)
				} else {
					writes.Add(1)
				}
				test.answer(w, r)
			})
			_, err := repo.GetRun(t.Context(), 7)
			wants(t, err, test.id, test.verdict)
			silent(t, err)
			if forge.Ambiguous(err) {
				t.Error("a read changed something")
			}
			err = repo.CreateBranch(t.Context(), "a", "b")
			if name == "a login page" || name == "too much" {
				// A branch is made whatever is said of it; a file is held against
				// the answer.
				_, err = repo.PutFile(t.Context(), "a", "b", nil, "", "c")
			}
			wants(t, err, test.id, test.verdict)
			silent(t, err)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it does not say %q: %v", test.says, err)
			}
			if forge.Ambiguous(err) != test.ambiguous {
				t.Errorf("ambiguous: %v", err)
			}
			if r := reads.Load(); r != test.reads {
				t.Errorf("%d reads, wanted %d", r, test.reads)
			}
			if w := writes.Load(); w > test.writes+1 || w < test.writes {
				t.Errorf("%d changes, wanted %d", w, test.writes)
			}
		})
	}
}

func flood(w http.ResponseWriter) {
	chunk := []byte(strings.Repeat(" ", 1<<20))
	for range 33 {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// The token goes to the forge and to nobody that it names.
func TestRedirects(t *testing.T) {
	var stolen atomic.Int64
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stolen.Add(1)
		fmt.Fprint(w, `{"id":7,"status":"success"}`)
	}))
	defer thief.Close()
	var moved atomic.Int64
	var repo *forge.Repo
	repo, server := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/repos/owner/name/actions/runs/1":
			http.Redirect(w, r, thief.URL+"/?t="+r.Header.Get("Authorization"), http.StatusMovedPermanently)
		case "/api/v1/repos/owner/name/actions/runs/2":
			http.Redirect(w, r, "/api/v1/repos/owner/renamed/actions/runs/2", http.StatusMovedPermanently)
		case "/api/v1/repos/owner/renamed/actions/runs/2":
			fmt.Fprint(w, `{"id":2,"status":"success"}`)
		case "/api/v1/repos/owner/name/actions/runs/3":
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		case "/api/v1/repos/owner/name/actions/runs/4":
			http.Redirect(w, r, "http://user:"+secret+"@"+r.Host+"/x", http.StatusFound)
		default:
			moved.Add(1)
			http.Redirect(w, r, "/api/v1/elsewhere", http.StatusTemporaryRedirect)
		}
	})
	_ = server
	for _, id := range []int64{1, 3, 4} {
		_, err := repo.GetRun(t.Context(), id)
		wants(t, err, forge.Failed, verdict.Unproven)
		silent(t, err)
		// What an answer puts into a URL is not ours to show: of the token too it
		// can make another form.
		if err == nil || strings.Contains(err.Error(), "?t=") {
			t.Errorf("it shows where it was sent: %v", err)
		}
	}
	if run, err := repo.GetRun(t.Context(), 2); err != nil || run.Status != "success" {
		t.Errorf("within the forge: %+v %v", run, err)
	}
	err := repo.CreateBranch(t.Context(), "a", "b")
	wants(t, err, forge.Failed, verdict.Unproven)
	if forge.Ambiguous(err) || moved.Load() != 1 {
		t.Errorf("a change followed: %d, %v", moved.Load(), err)
	}
	if stolen.Load() != 0 {
		t.Error("the token went to somebody else")
	}
}

func TestDeadline(t *testing.T) {
	stop := make(chan struct{})
	repo, _ := wire(t, forge.Options{Timeout: 30 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	defer close(stop)
	_, err := repo.GetRun(t.Context(), 1)
	wants(t, err, forge.TimedOut, verdict.Unproven)
	err = repo.CreateBranch(t.Context(), "a", "b")
	if wants(t, err, forge.TimedOut, verdict.Unproven); !forge.Ambiguous(err) {
		t.Errorf("a change without an answer: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	repo, server := wire(t, forge.Options{}, func(http.ResponseWriter, *http.Request) {})
	server.Close()
	err := repo.CreateBranch(t.Context(), "a", "b")
	if wants(t, err, forge.Unreachable, verdict.Unproven); forge.Ambiguous(err) {
		t.Errorf("nothing has left: %v", err)
	}
	silent(t, err)
}

// A change comes through once the forge lets it, and is made once.
func TestTryAgain(t *testing.T) {
	var asked atomic.Int64
	repo, _ := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	if err := repo.CreateBranch(t.Context(), "a", "b"); err != nil || asked.Load() != 3 {
		t.Errorf("%d attempts: %v", asked.Load(), err)
	}
}

func TestWaitRun(t *testing.T) {
	for name, test := range map[string]struct {
		answers []string // the last one stays
		status  string
		id      string
		verdict verdict.Verdict
	}{
		"success":                {[]string{`{"id":7,"status":"waiting"}`, `{"id":7,"status":"running"}`, `{"id":7,"status":"success"}`}, "success", "", ""},
		"success, Gitea":         {[]string{`{"id":7,"status":"queued"}`, `{"id":7,"status":"completed","conclusion":"success"}`}, "success", "", ""},
		"failure":                {[]string{`{"id":7,"status":"failure"}`}, "failure", forge.RunEnded, verdict.Disproven},
		"failure, Gitea":         {[]string{`{"id":7,"status":"completed","conclusion":"failure"}`}, "failure", forge.RunEnded, verdict.Disproven},
		"cancelled":              {[]string{`{"id":7,"status":"cancelled"}`}, "cancelled", forge.RunEnded, verdict.Unproven},
		"skipped":                {[]string{`{"id":7,"status":"skipped"}`}, "skipped", forge.RunEnded, verdict.Unproven},
		"skipped, Gitea":         {[]string{`{"id":7,"status":"completed","conclusion":"skipped"}`}, "skipped", forge.RunEnded, verdict.Unproven},
		"never":                  {[]string{`{"id":7,"status":"blocked"}`}, "blocked", forge.TimedOut, verdict.Unproven},
		"no conclusion":          {[]string{`{"id":7,"status":"completed"}`}, "unknown", forge.TimedOut, verdict.Unproven},
		"a word that is new":     {[]string{`{"id":7,"status":"completed","conclusion":"fine"}`}, "fine", forge.TimedOut, verdict.Unproven},
		"somebody else's":        {[]string{`{"id":8,"status":"success"}`}, "", forge.Failed, verdict.Unproven},
		"away for a while":       {[]string{`{"id":7,"status":"running"}`, "502", "502", "502", "502", "502", `{"id":7,"status":"success"}`}, "success", "", ""},
		"no longer to be seen":   {[]string{`{"id":7,"status":"running"}`, "404"}, "running", forge.Missing, verdict.Unproven},
		"the token has run out":  {[]string{"401"}, "", forge.Denied, verdict.Unproven},
		"an answer about nobody": {[]string{`{}`}, "", forge.Failed, verdict.Unproven},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			repo, _ := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
				a := test.answers[min(int(n.Add(1)), len(test.answers))-1]
				var status int
				if _, err := fmt.Sscanf(a, "%d", &status); err == nil {
					w.WriteHeader(status)
					return
				}
				fmt.Fprint(w, a)
			})
			patience := 5 * time.Second
			if test.id == forge.TimedOut {
				patience = 60 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			run, err := repo.WaitRun(ctx, 7, time.Millisecond)
			wants(t, err, test.id, test.verdict)
			if test.id == "" && err != nil || run.Status != test.status {
				t.Errorf("%+v %v", run, err)
			}
		})
	}
}

// On Gitea two who dispatch at once can't be told apart, and then neither run
// is taken.
func TestDispatchIsAmbiguous(t *testing.T) {
	run := func(id int) string {
		return fmt.Sprintf(`{"id":%d,"path":"w.yml@refs/heads/main","event":"workflow_dispatch"}`, id)
	}
	for name, test := range map[string]struct {
		before, after []string
		want          int64
	}{
		"one":                 {[]string{run(3)}, []string{run(4), run(3)}, 4},
		"the first":           {nil, []string{run(1)}, 1},
		"two":                 {[]string{run(3)}, []string{run(5), run(4), run(3)}, 0},
		"none":                {[]string{run(3)}, []string{run(3)}, 0},
		"an old one is back":  {[]string{run(9)}, []string{run(9), run(2)}, 0},
		"of another workflow": {nil, []string{`{"id":4,"path":"x.yml@refs/heads/main","event":"workflow_dispatch"}`}, 0},
		"of another branch":   {nil, []string{`{"id":4,"path":"w.yml@refs/heads/x","event":"workflow_dispatch"}`}, 0},
		"by a push":           {nil, []string{`{"id":4,"path":"w.yml@refs/heads/main","event":"push"}`}, 0},
	} {
		var sent atomic.Int64
		repo, _ := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
			list := test.before
			if sent.Load() > 0 {
				list = test.after
			}
			if r.Method == http.MethodPost {
				sent.Add(1)
				w.WriteHeader(http.StatusNoContent)
				return
			}
			fmt.Fprintf(w, `{"workflow_runs":[%s]}`, strings.Join(list, ","))
		})
		got, err := repo.Dispatch(t.Context(), "w.yml", "main", nil)
		if got != test.want || sent.Load() != 1 {
			t.Errorf("%s: run %d after %d dispatches: %v", name, got, sent.Load(), err)
		}
		if test.want == 0 {
			wants(t, err, forge.RunUnknown, verdict.Unproven)
		}
	}
}

// A comment ends at a whole block, and says what is missing.
func TestNoteText(t *testing.T) {
	block := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct {
		note  forge.Note
		shown int
	}{
		"all":             {forge.Note{Marker: "m", Head: "h", Blocks: []string{"a", "b"}, Tail: "t"}, 2},
		"none there":      {forge.Note{Marker: "m", Head: "h"}, 0},
		"one is too long": {forge.Note{Marker: "m", Head: "h", Blocks: []string{"a", block(61 << 10), "c"}, Tail: "t"}, 1},
		"the first is":    {forge.Note{Marker: "m", Head: "h", Blocks: []string{block(61 << 10), "c"}, Tail: "t"}, 0},
		"many":            {forge.Note{Marker: "m", Blocks: strings.Split(strings.Repeat(block(1000)+"\n", 99), "\n"), Tail: "t"}, 61},
	} {
		text, shown, err := test.note.Text()
		if err != nil || shown != test.shown || len(text) > 60<<10 {
			t.Errorf("%s: %d shown, %d bytes, %v", name, shown, len(text), err)
		}
		want := append([]string{"<!-- edge-actions: m -->", test.note.Head}, test.note.Blocks[:test.shown]...)
		if test.shown < len(test.note.Blocks) {
			want = append(want, fmt.Sprintf("_%d of %d are shown; the rest is in the log._", test.shown, len(test.note.Blocks)))
		}
		var parts []string
		for _, p := range append(want, test.note.Tail) {
			if p != "" {
				parts = append(parts, p)
			}
		}
		if diff := cmp.Diff(strings.Join(parts, "\n\n"), text); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	// Of small ones too as many as fit, and no more.
	small := forge.Note{Marker: "m", Blocks: strings.Split(strings.Repeat("x", 60<<10), "")}
	if text, shown, err := small.Text(); err != nil || len(text) > 60<<10 || len(text) < 60<<10-16 {
		t.Errorf("small ones: %d shown, %d bytes, %v", shown, len(text), err)
	}
	for _, bad := range []forge.Note{{Marker: ""}, {Marker: "a --> b"}, {Marker: "a--b"}, {Marker: "-a"}, {Marker: "m", Head: block(61 << 10), Blocks: []string{"a"}}, {Marker: "m", Head: block(61 << 10)}} {
		if text, _, err := bad.Text(); err == nil {
			t.Errorf("%.40q: %d bytes", bad.Marker, len(text))
		}
	}
}

func TestNew(t *testing.T) {
	for base, ok := range map[string]bool{
		"https://forge.example.org": true, "https://forge.example.org/git/": true, "http://127.0.0.1:3000": true, "http://[::1]:3000": true, "http://localhost": true,
		"http://forge.example.org": false, "http://127.0.0.1.example.org": false, "http://10.0.0.1": false, "ftp://forge.example.org": false, "forge.example.org": false, "": false,
		"https://user:" + secret + "@forge.example.org": false, "https://forge.example.org/?token=" + secret: false, "https://%zz" + secret: false, "https:///x": false,
	} {
		_, err := forge.New(base, secret, forge.Options{})
		if (err == nil) != ok {
			t.Errorf("%q: %v", base, err)
		}
		if err != nil && strings.Contains(err.Error(), "user:"+secret) {
			t.Errorf("it shows what was in the address: %v", err)
		}
	}
	for _, token := range []string{"", "short", "with a blank in it", "with\nline", "ein-tokén-mit-akzent"} {
		_, err := forge.New("https://forge.example.org", token, forge.Options{})
		if err == nil || token != "" && strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v", token, err)
		}
	}
	c, err := forge.New("https://forge.example.org", secret, forge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range [][2]string{{"a", ""}, {"", "a"}, {"..", "a"}, {"a", "."}, {"a/b", "c"}, {"a", "b?c"}, {"a b", "c"}} {
		if _, err := c.Repo(name[0], name[1]); err == nil {
			t.Errorf("%q", name)
		}
	}
}

// Comments come in one piece, in pages, or in the same page for ever.
func TestNotesInPages(t *testing.T) {
	list := func(from, to int) string {
		var out []string
		for id := from; id <= to; id++ {
			body := "something"
			if id == 71 || id == 73 {
				body = "<!-- edge-actions: m -->\n\nold"
			}
			out = append(out, fmt.Sprintf(`{"id":%d,"body":%q,"user":{"login":"me"}}`, id, body))
		}
		return "[" + strings.Join(out, ",") + "]"
	}
	for name, pages := range map[string][]string{
		"one piece":    {list(1, 80)},
		"pages":        {list(1, 50), list(51, 80)},
		"pages, ended": {list(1, 50), list(51, 100), "[]"},
		"no pages":     {list(31, 80), list(31, 80)},
	} {
		var asked, patched, made int
		repo, _ := wire(t, forge.Options{}, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPatch && strings.HasSuffix(r.URL.Path, "/issues/comments/71"):
				patched++
				fmt.Fprint(w, `{"id":71}`)
			case r.Method != http.MethodGet:
				made++
			default:
				asked++
				fmt.Fprint(w, pages[min(asked, len(pages))-1])
			}
		})
		c, err := repo.PutNote(t.Context(), 1, forge.Note{Marker: "m", Author: "Me", Head: "new"})
		if err != nil || c.ID != 71 || patched != 1 || made != 0 || asked != len(pages) {
			t.Errorf("%s: %+v after %d pages, %d and %d changes: %v", name, c, asked, patched, made, err)
		}
	}
}
