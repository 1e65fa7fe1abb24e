// Package browsertest opens a page in a real Chromium, for the tests of what a
// person sees. It speaks the DevTools protocol over two pipes, so there is no
// port, and nothing of the browser's leaves the machine.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// answerWait is beyond every answer of a browser that lives.
const answerWait = 60 * time.Second

// Browser is a running Chromium.
type Browser struct {
	t  testing.TB
	in io.WriteCloser

	mu      sync.Mutex
	next    int
	waiting map[int]chan message
	events  map[string]func(message) // by session
	ended   chan struct{}
}

type message struct {
	ID        int             `json:"id,omitempty"`
	SessionID string          `json:"sessionId,omitempty"`
	Method    string          `json:"method,omitempty"`
	Params    json.RawMessage `json:"params,omitempty"`
	Result    json.RawMessage `json:"result,omitempty"`
	Error     *struct {
		Message string `json:"message"`
	} `json:"error,omitempty"`
}

// New starts one that ends with the test.
func New(t testing.TB) *Browser {
	t.Helper()
	path := find(t)
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	profile := t.TempDir()
	cmd := exec.Command(path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe", "--user-data-dir="+filepath.Join(profile, "profile"))
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+profile)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	toBrowser.Close()
	fromBrowser.Close()
	b := &Browser{t: t, in: in, waiting: map[int]chan message{}, events: map[string]func(message){}, ended: make(chan struct{})}
	go b.read(out)
	t.Cleanup(func() {
		if _, err := b.tell("", "Browser.close", nil); err != nil {
			cmd.Process.Kill() // it has gone already, or never will
		}
		select {
		case <-b.ended:
		case <-time.After(10 * time.Second):
			cmd.Process.Kill()
		}
		in.Close()
		if err := cmd.Wait(); err != nil && t.Failed() {
			t.Logf("chromium: %v\n%s", err, log.String())
		}
	})
	return b
}

func find(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("there is no Chromium on PATH: install it (Debian: apt-get install chromium; macOS: brew install --cask chromium)")
	return ""
}

// read takes what the browser says, a message up to each zero byte.
func (b *Browser) read(out *os.File) {
	defer close(b.ended)
	defer out.Close()
	r := bufio.NewReaderSize(out, 1<<20)
	for {
		data, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		b.mu.Lock()
		to, event := b.waiting[m.ID], b.events[m.SessionID]
		delete(b.waiting, m.ID)
		b.mu.Unlock()
		switch {
		case m.ID > 0 && to != nil:
			to <- m
		case m.Method != "" && event != nil:
			event(m)
		}
	}
}

// tell sends a command, and returns where its answer comes.
func (b *Browser) tell(session, method string, params any) (chan message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	if params == nil {
		raw = []byte("{}")
	}
	data, err := json.Marshal(message{ID: b.next, SessionID: session, Method: method, Params: raw})
	if err != nil {
		return nil, err
	}
	answer := make(chan message, 1)
	b.waiting[b.next] = answer
	_, err = b.in.Write(append(data, 0))
	return answer, err
}

func (b *Browser) call(session, method string, params, into any) error {
	answer, err := b.tell(session, method, params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(m.Result, into)
	case <-b.ended:
		return fmt.Errorf("%s: the browser has ended", method)
	case <-time.After(answerWait):
		return errors.New(method + ": no answer")
	}
}
