package ingress

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

const childEnv = "EDGE_INGRESS_CHILD"

// child is what a process that is to be killed is told.
type child struct {
	Credentials oci.Credentials
	Endpoint    string
	Dir         string
	Request     Request
}

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(live(text))
	}
	os.Exit(m.Run())
}

// live opens a lease, says so, uses it until it is told to go on, and closes
// it.
func live(text string) int {
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return 2
	}
	ctx := context.Background()
	client, err := oci.New(ctx, oci.Options{Credentials: c.Credentials, Endpoint: c.Endpoint, Pause: time.Millisecond})
	if err != nil {
		return 2
	}
	k := &Keeper{Cloud: client, Dir: c.Dir, Pace: Pace{Pause: time.Millisecond}, Logf: func(string, ...any) {}}
	if k.Orphans(ctx) != nil {
		return 3
	}
	l, err := k.Open(ctx, c.Request)
	if err != nil {
		return 4
	}
	fmt.Println("open")
	bufio.NewReader(os.Stdin).ReadString('\n')
	if l.Close(ctx).Verdict != verdict.Proven {
		return 5
	}
	return 0
}

// A run that is killed at any request, before it takes effect, after that, and
// after its answer; and while the door is in use. The next run on the same
// runner closes what it left. If that runner is gone too, one sweep from
// anywhere does, once the lease has ended, and not before.
func TestKilledAnywhere(t *testing.T) {
	type point struct {
		request int
		phase   ocitest.Phase
	}
	// run starts the child and kills it at one point; the zero point is never.
	run := func(t *testing.T, r *rig, dir string, at *point, inUse bool) (points []point) {
		text, err := json.Marshal(child{r.server.Credentials(), r.server.URL, dir, r.request()})
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+string(text))
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		requests := 0
		seen := map[*http.Request]int{}
		started := make(chan struct{}) // a child can ask before this process knows its id
		kill := func() {
			<-started
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
		r.server.OnRequest(func(q *http.Request, p ocitest.Phase) {
			mu.Lock()
			defer mu.Unlock()
			n, ok := seen[q]
			if !ok && p != ocitest.Before {
				return // the end of one from before
			}
			if !ok {
				requests++
				n = requests
				seen[q] = n
			}
			points = append(points, point{n, p})
			if at != nil && *at == (point{n, p}) {
				kill()
			}
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		close(started)
		line, _ := bufio.NewReader(out).ReadString('\n')
		if strings.TrimSpace(line) == "open" {
			if inUse {
				kill()
			}
			in.Write([]byte("\n"))
		}
		err = cmd.Wait()
		r.server.OnRequest(nil)
		if at == nil && !inUse && err != nil {
			t.Fatalf("the child that nobody kills: %v", err)
		}
		if at != nil && err == nil && at.phase != ocitest.Answered {
			t.Fatalf("%v: it was not killed", *at)
		}
		mu.Lock()
		defer mu.Unlock()
		return points
	}
	after := func(t *testing.T, r *rig, dir string) {
		r.untouched()
		left := len(r.ours())
		// Another runner has no memory of it: before the end it is nobody's.
		swept, checks := r.runner(t.TempDir()).Sweep(t.Context(), []string{r.node.NSGID})
		if len(swept) != 1 || len(swept[0].Closed) > 0 || len(swept[0].Open) != left || len(swept[0].Foreign) != 1 || len(checks) > 0 || len(r.ours()) != left {
			t.Errorf("a sweep before the end: %+v, %+v", swept, checks)
		}
		// The runner itself knows that nobody lives who needs it.
		for _, c := range r.runner(dir).Orphans(t.Context()) {
			if c.Verdict != verdict.Proven {
				t.Errorf("%+v", c)
			}
		}
		r.none()
	}
	points := run(t, newRig(t), t.TempDir(), nil, false)
	if len(points) < 15 {
		t.Fatalf("only %d points: %v", len(points), points)
	}
	t.Logf("%d points", len(points))
	for _, at := range points {
		t.Run(fmt.Sprintf("request %d %s", at.request, at.phase), func(t *testing.T) {
			t.Parallel()
			r, dir := newRig(t), t.TempDir()
			run(t, r, dir, &at, false)
			if at.request%2 == 0 { // the runner is gone with the run
				r.server.Offset(time.Hour + time.Second)
				_, checks := r.runner(t.TempDir()).Sweep(t.Context(), []string{r.node.NSGID})
				for _, c := range checks {
					if c.Verdict != verdict.Proven {
						t.Errorf("%+v", c)
					}
				}
				r.none()
				return
			}
			after(t, r, dir)
		})
	}
	t.Run("in use", func(t *testing.T) {
		r, dir := newRig(t), t.TempDir()
		run(t, r, dir, nil, true)
		if len(r.ours()) != 1 {
			t.Fatalf("%v", r.ours())
		}
		after(t, r, dir)
	})
}
