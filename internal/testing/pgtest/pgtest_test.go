package pgtest

import (
	"fmt"
	"net"
	"os"
	"testing"
)

// What was committed is there after a crash, at the same address, and in
// between nobody answers there.
func TestStopAndStart(t *testing.T) {
	s := New(t)
	conn := s.Database("state")
	s.Query("state", "CREATE TABLE t (x int); INSERT INTO t VALUES (1), (2)")
	s.Stop()
	s.Stop() // twice is no harm
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port)); err == nil {
		c.Close()
		t.Error("it still answers")
	}
	s.Start()
	if got := s.Query("state", "SELECT x FROM t ORDER BY x"); got != "1\n2" {
		t.Errorf("%q", got)
	}
	if conn != s.Conn("state") {
		t.Error("it moved")
	}
}

// Several at once do not meet, and nothing of one is left.
func TestEndsWithTheTest(t *testing.T) {
	var dirs []string
	t.Run("two", func(t *testing.T) {
		a, b := New(t), New(t)
		if a.Port == b.Port || a.Password == b.Password {
			t.Error("both are one")
		}
		dirs = append(dirs, a.dir, b.dir)
	})
	for _, dir := range dirs {
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s is left", dir)
		}
	}
}
