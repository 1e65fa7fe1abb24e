package tailnetlab

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test process that is killed runs no cleanup, and its daemons end all the
// same. They hold the pipe that is its stdout until they do.
func TestKilledHalfWay(t *testing.T) {
	if os.Getenv("TAILNETLAB_TO_BE_KILLED") != "" {
		fmt.Println(New(t).Join("edge-1").daemon.Process.Pid)
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledHalfWay$")
	cmd.Env = append(os.Environ(), "TAILNETLAB_TO_BE_KILLED=1", "TMPDIR="+t.TempDir())
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := bufio.NewReader(stdout)
	line, err := said.ReadString('\n')
	cmd.Process.Kill()
	pid, notNumber := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || notNumber != nil {
		t.Errorf("%q, %v", line, err)
	}
	gone := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, said)
		gone <- err
	}()
	select {
	case err := <-gone:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("a daemon outlived the test process by a minute")
		if pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	_ = cmd.Wait()
}
