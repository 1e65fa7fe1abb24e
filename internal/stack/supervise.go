package stack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"edge-actions/internal/files"
)

// SuperviseArg is the first argument with which the binary of tofu-apply runs
// as the supervisor of an apply; the second is the record's directory.
const SuperviseArg = "supervise"

// spawn starts the supervisor in a session of its own, where the SIGKILL with
// which the Forgejo runner cancels a step's process group does not reach it.
// From the moment it returns, the liveness lock is held or tofu has ended.
// stdin is what tofu reads, if anything.
func (r *record) spawn(env []string, stdin *os.File) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// The lock is taken here and inherited, so there is no moment in which the
	// apply runs and nobody can see it.
	lock, err := os.OpenFile(r.file(livenessFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("taking the liveness lock: %w", err)
	}
	out, err := os.OpenFile(r.file(outputFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(self, SuperviseArg, r.dir)
	// A broken pipe kills tofu with a 0-byte state: it writes to a file.
	cmd.Stdout, cmd.Stderr = out, out
	if stdin != nil {
		cmd.Stdin = stdin
	}
	cmd.Env, cmd.Dir = env, r.Dir
	cmd.ExtraFiles = []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // no zombie while this step goes on; exit.json says how it ended
	return nil
}

// Supervise runs tofu for a record to its end and writes down how it ended. It
// is what tofu-apply and tofu-state-restore run as when their first argument is
// SuperviseArg.
func Supervise(dir string) int {
	r := &record{dir: dir}
	if err := readJSON(r.file(recordFile), &r.job); err != nil {
		fmt.Fprintln(os.Stderr, "error: reading the record:", err)
		return 1
	}
	e := exit{Code: -1, Started: time.Now().UTC()}
	err := r.supervise(&e)
	e.Ended = time.Now().UTC()
	if err != nil {
		e.Error = err.Error()
	}
	err = r.collectErrored()
	if removed := os.Remove(r.file(planCopy)); !errors.Is(removed, os.ErrNotExist) { // a push has none
		err = errors.Join(err, removed)
	}
	if err != nil {
		e.Error += fmt.Sprintf(" (%v)", err)
	}
	if err := writeJSON(r.file(exitFile), e); err != nil {
		fmt.Fprintln(os.Stderr, "error: writing how tofu ended:", err)
		return 1
	}
	return 0
}

func (r *record) supervise(e *exit) error {
	if err := files.Write(r.file(startedFile), nil); err != nil {
		return err
	}
	if r.First != nil {
		if err := r.attend(e, exec.Command(r.Path, r.First...)); err != nil || e.Code != 0 {
			return err
		}
	}
	cmd := exec.Command(r.Path, r.Args...)
	if r.Stdin {
		cmd.Stdin = os.Stdin
	}
	return r.attend(e, cmd)
}

// attend runs one command to its end.
func (r *record) attend(e *exit, cmd *exec.Cmd) error {
	cmd.Dir, cmd.Env = r.Dir, os.Environ()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	// The liveness lock, descriptor 3, goes on to tofu as it came to this
	// process: should that be killed, the apply is still seen to run.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	// One INT lets tofu finish what it is at and save the state; a second makes
	// it give up within seconds; only then is it killed.
	limit := time.NewTimer(r.Timeout)
	defer limit.Stop()
	late, asked := "", 0
	for {
		select {
		case err := <-done:
			e.Code = cmd.ProcessState.ExitCode()
			if late != "" {
				return errors.New(late)
			}
			if e.Code > 0 {
				return nil // the code says it
			}
			return err
		case s := <-signals:
			if s != syscall.SIGHUP {
				cmd.Process.Signal(os.Interrupt)
			}
		case <-limit.C:
			late = fmt.Sprintf("no end after %s, so tofu was asked to stop", r.Timeout)
			if asked++; asked <= 2 {
				cmd.Process.Signal(os.Interrupt)
				limit.Reset(r.Grace)
			} else {
				late = fmt.Sprintf("no end after %s and two requests to stop, so tofu was killed", r.Timeout)
				cmd.Process.Kill()
			}
		}
	}
}

// collectErrored brings the state that tofu could not write to its backend to
// safety: it lies in the checkout, which the runner deletes.
func (r *record) collectErrored() error {
	from := filepath.Join(r.Dir, erroredFile)
	f, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := writeFrom(r.file(erroredFile), f); err != nil {
		return fmt.Errorf("collecting %s: %w", from, err)
	}
	return os.Remove(from)
}

func writeFrom(path string, src io.Reader) error {
	return files.WriteFrom(path, func(w io.Writer) error {
		_, err := io.Copy(w, src)
		return err
	})
}
