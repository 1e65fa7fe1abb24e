package delivery

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

// A delivery that was cut is completed by the next one, at each of its steps.
func TestCut(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		at         func(r *http.Request) bool
		want       Outcome // of the next
		dispatches int     // in the next
	}{
		"before the commit": {func(r *http.Request) bool {
			return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/contents")
		}, Delivered, 1},
		"after the commit, before the run":      {func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/dispatches") }, Unchanged, 1},
		"while the run is followed":             {func(r *http.Request) bool { return oneRun.MatchString(r.URL.Path) }, Unchanged, 0},
		"before the status, with all else done": {func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/statuses/") }, Unchanged, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, true)
			ctx, cancel := context.WithCancelCause(t.Context())
			g.hook(func(r *http.Request) {
				if tt.at(r) {
					cancel(errors.New("cut"))
					panic(http.ErrAbortHandler) // it never arrives
				}
			})
			document, signature := g.document(7, "10.0.0.1", g.signer)
			if r := g.delivery().Deliver(ctx, document, signature); verdict.Of(r.Checks) == verdict.Proven {
				t.Errorf("a delivery that was cut is proven: %+v", r)
			}
			g.hook(nil)
			g.forget()
			document, signature = g.document(7, "10.0.0.1", g.signer)
			ends(t, g.delivery().Deliver(t.Context(), document, signature), tt.want)
			if n := g.count(http.MethodPost, "/dispatches"); n != tt.dispatches {
				t.Errorf("%d runs were started", n)
			}
			if state, _ := g.state(); state != "success" {
				t.Errorf("the status is %q", state)
			}
		})
	}
}

// A run of an earlier handoff is not taken for that of the one whose delivery was
// cut, whether the forge had been asked for its run or not.
func TestCutAfterAnEarlierRun(t *testing.T) {
	t.Parallel()
	for name, asked := range map[string]bool{"before the start": false, "after the start": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newRig(t, true)
			document, signature := g.document(6, "10.0.0.1", g.signer)
			earlier := g.delivery().Deliver(t.Context(), document, signature)
			ends(t, earlier, Delivered)
			ctx, cancel := context.WithCancelCause(t.Context())
			cut := func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/dispatches") {
					cancel(errors.New("cut"))
					panic(http.ErrAbortHandler)
				}
			}
			g.mu.Lock()
			if asked {
				g.after = func(r *http.Response) { cut(r.Request) }
			} else {
				g.before = cut
			}
			g.mu.Unlock()
			document, signature = g.document(7, "10.0.0.1", g.signer)
			if r := g.delivery().Deliver(ctx, document, signature); verdict.Of(r.Checks) == verdict.Proven {
				t.Errorf("a delivery that was cut is proven: %+v", r)
			}
			g.mu.Lock()
			g.before, g.after, g.requests = nil, nil, nil
			g.mu.Unlock()
			r := g.delivery().Deliver(t.Context(), document, signature)
			ends(t, r, Unchanged)
			if n := g.count(http.MethodPost, "/dispatches"); n != map[bool]int{false: 1, true: 0}[asked] || r.RunID <= earlier.RunID || g.runs() != 2 {
				t.Errorf("%d starts, run %d after %d, %d runs in all", n, r.RunID, earlier.RunID, g.runs())
			}
		})
	}
}
