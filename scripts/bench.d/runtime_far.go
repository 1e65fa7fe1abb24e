package main

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// far is a way to an address that is as long as one is told: each byte is held
// back for the delay, in both directions, in order, and however many of them
// are under way. It counts the connections. toxiproxy does that too, and would
// bring some twenty modules into go.mod, for its HTTP API and its metrics.
//
// It leaves out TCP's own handshake, which is one more round trip for each
// connection on a real network.
type far struct {
	to          string
	delay       *atomic.Int64 // nanoseconds one way; all ways of a part share it
	connections atomic.Int64
	listener    net.Listener
}

func listenFar(to string, delay *atomic.Int64) (*far, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &far{to: to, delay: delay, listener: l}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			f.connections.Add(1)
			go f.serve(near)
		}
	}()
	return f, nil
}

func (f *far) port() int    { return f.listener.Addr().(*net.TCPAddr).Port }
func (f *far) close() error { return f.listener.Close() }

func (f *far) serve(near net.Conn) {
	defer near.Close()
	other, err := net.Dial("tcp", f.to)
	if err != nil {
		return
	}
	defer other.Close()
	delay := time.Duration(f.delay.Load())
	done := make(chan error, 2)
	go func() { done <- hold(other.(*net.TCPConn), near, delay) }()
	go func() { done <- hold(near.(*net.TCPConn), other, delay) }()
	// Who closed its half may still read; who broke off is gone.
	if err := <-done; err == nil {
		<-done //nolint:errcheck // this was the other half, and both end here
	}
}

// chunk is what came in one read, and when it is to go on.
type chunk struct {
	due  time.Time
	data []byte
}

// hold copies until the end, which it passes on too. There is room for more
// than a bench has under way: whoever waits for room would have less bandwidth.
func hold(to *net.TCPConn, from net.Conn, delay time.Duration) error {
	under := make(chan chunk, 1<<14)
	var failed error
	go func() {
		defer close(under)
		for {
			buffer := make([]byte, 32<<10)
			n, err := from.Read(buffer)
			if n > 0 {
				under <- chunk{time.Now().Add(delay), buffer[:n]}
			}
			if err != nil {
				// The end takes as long as everything else.
				under <- chunk{due: time.Now().Add(delay)}
				return
			}
		}
	}()
	for c := range under {
		time.Sleep(time.Until(c.due))
		if c.data == nil {
			failed = errors.Join(failed, to.CloseWrite())
		} else if failed == nil { // the reader is not to wait for us
			_, failed = to.Write(c.data)
		}
	}
	return failed
}
