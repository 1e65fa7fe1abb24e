package agent

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"edge-actions/internal/verdict"
)

// errNobody is why the context of a handler ends when the connection does.
var errNobody = errors.New("nobody waits for the answer any more")

// watch ends the handler's context for whatever reason comes first, and
// everything else after the grace.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	kill   func()
	once   sync.Once
	mu     sync.Mutex
	grace  time.Duration
	timers []*time.Timer
	ended  bool
	told   chan os.Signal
	pipe   chan os.Signal
}

func newWatch(kill func()) *watch {
	w := &watch{kill: kill, grace: time.Second, told: make(chan os.Signal, 1), pipe: make(chan os.Signal, 1)}
	w.ctx, w.cancel = context.WithCancelCause(context.Background())
	// A broken stdout is an error to us, and not the end; and children do not
	// inherit what the shell has a background process ignore.
	signal.Notify(w.pipe, syscall.SIGPIPE)
	signal.Notify(w.told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		if _, ok := <-w.told; ok {
			w.over(errors.New("the host told the agent to end"))
		}
	}()
	return w
}

// start watches stdin, whose end says that nobody waits, and the clock.
func (w *watch) start(in io.Reader, limit, grace time.Duration) {
	w.mu.Lock()
	w.grace = grace
	w.mu.Unlock()
	late := verdict.CannotTell(Timeout, "an answer within "+limit.String(), errors.New("none"), "allow more time, or see what keeps the host busy")
	w.after(limit, func() { w.over(late) })
	go func() {
		io.Copy(io.Discard, in) //nolint:errcheck // an error is an end too
		w.over(errNobody)
	}()
}

func (w *watch) over(why error) {
	w.once.Do(func() {
		w.cancel(why)
		w.mu.Lock()
		grace := w.grace
		w.mu.Unlock()
		w.after(grace, w.kill)
	})
}

func (w *watch) after(d time.Duration, f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended {
		w.timers = append(w.timers, time.AfterFunc(d, f))
	}
}

func (w *watch) stop() {
	signal.Stop(w.told)
	signal.Stop(w.pipe)
	close(w.told)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, timer := range w.timers {
		timer.Stop()
	}
}

// endGroup kills this process with its children, their children, and the
// timeout(1) above, if that leads the group. Any other group is somebody's.
func endGroup() {
	if syscall.Getpgrp() == os.Getppid() {
		syscall.Kill(0, syscall.SIGKILL) //nolint:errcheck // the end of this process is next either way
	}
	os.Exit(1)
}
