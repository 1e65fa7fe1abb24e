package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/verdict"
)

// order is what the tests' agent is told to do. Base begins the names of the
// files by which it shows how far it is, and is a word of its children's.
type order struct {
	Do     string
	Base   string
	N      int
	Secret string
}

type result struct {
	UID, GID    int
	Umask       int
	Exe, Dir    string
	Args, Env   []string
	Descriptors []string
	Text        string
	Secret      string
}

func (o order) mark(what string) { os.WriteFile(o.Base+"."+what, nil, 0o600) }

// child is one that does not end by itself, in the agent's process group.
func (o order) child() *exec.Cmd {
	cmd := exec.Command("sh", "-c", "sleep 86400 & wait", o.Base)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OF=" + o.Base}
	cmd.Start()
	return cmd
}

func obey(ctx context.Context, o order, logf func(string, ...any)) (result, error) {
	switch o.Do {
	case "look":
		r := result{UID: os.Getuid(), GID: os.Getgid(), Umask: syscall.Umask(0o077), Args: os.Args, Env: os.Environ(), Secret: o.Secret}
		r.Exe, _ = os.Readlink("/proc/self/exe")
		r.Dir, _ = os.Getwd()
		out, _ := exec.Command("ls", "/proc/self/fd").Output()
		r.Descriptors = strings.Fields(string(out))
		return r, nil
	case "log":
		for i := range o.N {
			logf("line %d", i)
		}
		logf("two\nlines \x1b[31m\u202e ::add-path::/evil %s", strings.Repeat("x", 2*maxLog))
	case "refuse":
		logf("about to")
		return result{}, fmt.Errorf("restoring: %w", errors.Join(
			verdict.Refuse("restore-bytes", "7 bytes", "6", "look\nat it"), verdict.CannotTell("restore-owner", "root", errors.New("no idea"), "be root")))
	case "fail":
		return result{}, errors.New("it failed")
	case "panic", "nil", "goexit":
		defer o.mark("cleaned")
		switch o.Do {
		case "panic":
			panic("hunter2")
		case "nil":
			var none map[string]*result
			return *none[o.Do], nil // a defect, on purpose
		}
		runtime.Goexit()
	case "crash":
		go panic("hunter2")
		select {}
	case "print":
		fmt.Println("hello")
	case "big":
		o.mark("answering")
		return result{Text: strings.Repeat("x", o.N)}, nil
	case "wait":
		child := o.child()
		defer child.Wait()
		defer child.Process.Kill()
		defer func() {
			// Cleaning up takes time, and talks, whoever listens.
			for range 3 {
				time.Sleep(100 * time.Millisecond)
				logf("cleaning up")
			}
			o.mark("cleaned")
		}()
		o.mark("started")
		<-ctx.Done()
		return result{}, fmt.Errorf("waiting: %w", context.Cause(ctx))
	case "stuck":
		o.child()
		o.mark("started")
		select {}
	case "stray":
		cmd := exec.Command("sh", "-c", "sleep 86400", o.Base)
		cmd.Stdout = os.Stdout
		return result{}, cmd.Start()
	}
	return result{}, nil
}
