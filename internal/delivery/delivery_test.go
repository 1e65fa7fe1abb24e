package delivery

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// ends holds a result against an outcome and the checks that do not hold.
func ends(t *testing.T, r *Result, outcome Outcome, not ...string) {
	t.Helper()
	var got []string
	for _, c := range r.Checks {
		if c.Verdict != verdict.Proven {
			got = append(got, c.ID+"="+string(c.Verdict))
		}
	}
	if r.Outcome != outcome || strings.Join(got, " ") != strings.Join(not, " ") {
		t.Errorf("%s with %q, want %s with %q: %+v", r.Outcome, got, outcome, not, r.Checks)
	}
}

func TestDeliver(t *testing.T) {
	t.Parallel()
	for name, forgejo := range map[string]bool{"Gitea": false, "Forgejo": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, forgejo)
			document, signature := g.document(7, "10.0.0.1", g.signer)
			r := g.delivery().Deliver(t.Context(), document, signature)
			ends(t, r, Delivered)
			if r.RunID == 0 || r.Commit == "" || len(r.Checks) != 3 {
				t.Errorf("%+v", r)
			}
			// Both files came in one commit: no clone ever has one without the other.
			if doc, sig, commits := g.there(); doc != string(document) || sig != string(signature) || commits != 1 {
				t.Errorf("%d commits\n%s\n%s", commits, doc, sig)
			}
			if state, target := g.state(); state != "success" || target != r.RunURL || target == "" {
				t.Errorf("%s %s", state, target)
			}

			// The same again, from another run and later: nothing is written.
			g.forget()
			document, signature = g.document(7, "10.0.0.1", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), Unchanged)
			if n := g.count(http.MethodPost, "/contents") + g.count(http.MethodPost, "/dispatches"); n != 0 {
				t.Errorf("%d writes", n)
			}
			// Until it is so old that nobody would believe it any more.
			d := g.delivery()
			d.Now = d.Now.Add(2 * time.Hour)
			ends(t, d.Deliver(t.Context(), document, signature), Delivered)

			// Other facts of the same state, then a later state, then the older one.
			document, signature = g.document(7, "10.0.0.2", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), Delivered)
			document, signature = g.document(9, "10.0.0.2", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), Delivered)
			g.forget()
			old, oldSignature := g.document(8, "10.0.0.3", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), old, oldSignature), Superseded)
			if doc, _, _ := g.there(); doc != string(document) || g.count(http.MethodPost, "/dispatches") != 0 {
				t.Errorf("%s", doc)
			}
		})
	}
}

// Two deliveries at once: the forge lets one in, and the other looks again.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		forgejo bool
		other   int64 // the serial of the one that is first
		want    Outcome
	}{"the other is older": {false, 6, Delivered}, "the other is newer": {true, 8, Superseded}, "the other is older, Forgejo": {true, 6, Delivered}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, tt.forgejo)
			document, signature := g.document(5, "10.0.0.1", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), Delivered)
			var once sync.Once
			g.hook(func(r *http.Request) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/contents") {
					once.Do(func() {
						g.hook(nil)
						document, signature := g.document(tt.other, "10.0.0.6", g.signer)
						ends(t, g.delivery().Deliver(context.WithoutCancel(t.Context()), document, signature), Delivered)
					})
				}
			})
			document, signature = g.document(7, "10.0.0.7", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), tt.want)
			doc, _, commits := g.there()
			if (doc == string(document)) != (tt.want == Delivered) || commits != map[Outcome]int{Delivered: 3, Superseded: 2}[tt.want] {
				t.Errorf("%d commits, %s", commits, doc)
			}
		})
	}
}

// A run that does not end well is no delivery, and the next one starts another.
func TestRunsThatDoNotEndWell(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{"failure": "handoff-run=disproven", "cancelled": "handoff-run=unproven", "skipped": "handoff-run=unproven"} {
		t.Run(status, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, true)
			g.status = status
			document, signature := g.document(7, "10.0.0.1", g.signer)
			r := g.delivery().Deliver(t.Context(), document, signature)
			ends(t, r, Delivered, want)
			if state, _ := g.state(); state != "failure" {
				t.Errorf("the status is %q", state)
			}
			g.mu.Lock()
			g.status = "success"
			g.mu.Unlock()
			g.forget()
			ends(t, g.delivery().Deliver(t.Context(), document, signature), Unchanged)
			if n := g.count(http.MethodPost, "/dispatches"); n != 1 {
				t.Errorf("%d runs were started", n)
			}
		})
	}
	t.Run("one that does not end", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, true)
		g.status = "running"
		d := g.delivery()
		d.Wait = 300 * time.Millisecond
		document, signature := g.document(7, "10.0.0.1", g.signer)
		ends(t, d.Deliver(t.Context(), document, signature), Delivered, "handoff-run=unproven")
		// It is followed, and not started again.
		g.mu.Lock()
		g.status = "success"
		g.mu.Unlock()
		g.forget()
		ends(t, g.delivery().Deliver(t.Context(), document, signature), Unchanged)
		if n := g.count(http.MethodPost, "/dispatches"); n != 0 {
			t.Errorf("%d runs were started", n)
		}
	})
}

func TestWhatIsThere(t *testing.T) {
	t.Parallel()
	g := newRig(t, true)
	// Of somebody else, of a later state even: it is nothing that is believed.
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	document, signature := g.document(99, "10.0.0.9", other)
	g.target.Commit(t, "main", "handoff/handoff.json", string(document))
	ours, oursSignature := g.document(7, "10.0.0.1", g.signer)
	ends(t, g.delivery().Deliver(t.Context(), ours, oursSignature), Delivered)
	if doc, sig, _ := g.there(); doc != string(ours) || sig != string(oursSignature) {
		t.Errorf("%s", doc)
	}
	// And what is not signed by who says so is not delivered at all.
	ends(t, g.delivery().Deliver(t.Context(), document, signature), "", "signature=disproven")
	// Nor with a token that may not.
	g.token = strings.Repeat("a", 40)
	r := g.delivery().Deliver(t.Context(), ours, oursSignature)
	if r.Outcome != "" || verdict.Of(r.Checks) == verdict.Proven || strings.Contains(r.Checks[0].Got+r.Checks[0].Hint, g.token) {
		t.Errorf("%+v", r)
	}
	// A workflow that is not there.
	g = newRig(t, true)
	d := g.delivery()
	d.Workflow = "none.yml"
	ours, oursSignature = g.document(7, "10.0.0.1", g.signer)
	r = d.Deliver(t.Context(), ours, oursSignature)
	if r.Outcome != Delivered || verdict.Of(r.Checks) == verdict.Proven || r.RunID != 0 {
		t.Errorf("%+v", r)
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestJournal(t *testing.T) {
	j := &Journal{Dir: t.TempDir()}
	if e, err := j.read("k"); err != nil || e.RunID != 0 {
		t.Errorf("%+v %v", e, err)
	}
	if err := j.write("k", entry{SHA256: "a", RunID: 7}); err != nil {
		t.Fatal(err)
	}
	if e, err := j.read("k"); err != nil || e.RunID != 7 || e.SHA256 != "a" {
		t.Errorf("%+v %v", e, err)
	}
	for _, text := range []string{"", "{}", `{"schema":"edge-actions/delivery/v1","key":"other"}`} {
		put(t, j.path("k"), text)
		if _, err := j.read("k"); err == nil {
			t.Errorf("%q was believed", text)
		}
	}
}
