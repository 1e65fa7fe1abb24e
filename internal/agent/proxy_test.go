package agent

import (
	"bufio"
	"net"
	"sync"
	"testing"
)

// proxy stands between us and an sshd, until it stalls.
type proxy struct {
	address string
	once    sync.Once
	stalls  chan struct{}
	mu      sync.Mutex
	conns   []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{address: l.Addr().String(), stalls: make(chan struct{})}
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.Close()
		}
	})
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			go p.copy(in, out)
			go p.copy(out, in)
		}
	}()
	return p
}

func (p *proxy) stall() { p.once.Do(func() { close(p.stalls) }) }

func (p *proxy) copy(to, from net.Conn) {
	r := bufio.NewReader(from)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		select {
		case <-p.stalls:
			return // both ends stay open
		default:
		}
		if n > 0 {
			to.Write(buf[:n])
		}
		if err != nil {
			to.Close()
			return
		}
	}
}
