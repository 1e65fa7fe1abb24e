package sshx

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
)

// exit is how a script ended that did not end well.
type exit struct {
	code   uint32
	signal string // without SIG; "" if none
}

func (e *exit) Error() string { return fmt.Sprintf("exit code %d, signal %q", e.code, e.signal) }

// session is everything that may hang with the connection. It is not the
// library's: that waits for the answer to "exec", on which nothing depends.
func (c *Conn) session(opened chan<- ssh.Channel, cmd Cmd, program string, stdout, stderr io.Writer) error {
	ch, requests, err := c.clients[len(c.clients)-1].OpenChannel("session", nil)
	if err != nil {
		return err
	}
	defer ch.Close()
	opened <- ch
	line, first := cmd.call(program)
	if _, err := ch.SendRequest("exec", false, ssh.Marshal(struct{ Command string }{line})); err != nil {
		return err
	}
	in := &source{r: strings.NewReader(first)}
	if cmd.Stdin != nil {
		in.r = io.MultiReader(in.r, cmd.Stdin)
	}
	// A reader that never ends is not waited for, and a script need not read it
	// all: what can't be written any more is no error.
	go func() {
		io.Copy(ch, in) //nolint:errcheck // what the reader says is kept in it
		ch.CloseWrite() //nolint:errcheck // the channel is closed already
	}()
	copied := make(chan error, 2)
	collect := func(w io.Writer, r io.Reader) {
		_, err := io.Copy(w, r)
		copied <- err
	}
	go collect(stdout, ch)
	go collect(stderr, ch.Stderr())
	end := ending(requests)
	// What was printed is still to come when the end is known.
	err = errors.Join(<-copied, <-copied)
	if end != nil {
		return end
	}
	return errors.Join(err, in.failed())
}

// errNoEnd: a connection that broke, or a session that the host closed.
var errNoEnd = errors.New("the session ended without an exit status")

// ending waits for the end of a script. The requests end with the channel.
func ending(requests <-chan *ssh.Request) error {
	end := errNoEnd
	for r := range requests {
		var status struct{ Code uint32 }
		var signal struct {
			Name    string
			Core    bool
			Message string
			Lang    string
		}
		switch {
		case r.Type == "exit-status" && ssh.Unmarshal(r.Payload, &status) == nil:
			end = nil
			if status.Code != 0 {
				end = &exit{code: status.Code}
			}
		case r.Type == "exit-signal" && ssh.Unmarshal(r.Payload, &signal) == nil:
			end = &exit{signal: signal.Name}
		}
		if r.WantReply {
			r.Reply(false, nil) //nolint:errcheck // the connection says more
		}
	}
	return end
}

// source remembers how its reader failed.
type source struct {
	mu  sync.Mutex
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.mu.Lock()
		s.err = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *source) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
