package main

import (
	"context"
	_ "embed" // the script below
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/tfstate"

	"filippo.io/age"
)

const (
	backupTarget = 1.5
	memoryTarget = 64 << 20
)

//go:embed habit.sh
var habit []byte

// backupChild is a process that makes one backup and ends, as the action does.
func backupChild(args []string) int {
	state, local, offsite, recipient := args[0], args[1], args[2], args[3]
	r, err := age.ParseX25519Recipient(recipient)
	if err == nil {
		a := &tfstate.Archives{
			Local: tfstate.Dir{Path: local}, Offsite: tfstate.Dir{Path: offsite},
			Recipients: []age.Recipient{r}, RecipientNames: []string{recipient},
			Stack: "bench", Workspace: "default", TofuVersion: "1.12.6", ShrinkPercent: 50, RetainCount: 2,
			LockTimeout: time.Second, Logf: func(string, ...any) {},
		}
		_, err = a.Make(context.Background(), tfstate.File{Path: state, LockTimeout: time.Second}, tfstate.ForPlan)
	}
	return tellPeak(state, err)
}

// tellPeak is the end of a child that works on a state: beside it is written how
// much memory it took.
func tellPeak(state string, err error) int {
	if err == nil {
		var most int64
		if most, err = peak(); err == nil {
			err = os.WriteFile(state+".peak", strconv.AppendInt(nil, most, 10), 0o600)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// backups measures the whole backup against the habit, and its memory.
func (b *bench) backups() error {
	key := filepath.Join(b.dir, "key.txt")
	recipient, err := b.newKey(key)
	if err != nil {
		return err
	}
	script := filepath.Join(b.dir, "habit.sh")
	if err := os.WriteFile(script, habit, 0o700); err != nil {
		return err
	}
	p := &backupPair{bench: b, key: key, recipient: recipient, script: script}
	memory := int64(0)
	for _, mb := range []int{44, 177} {
		m, err := p.compare(mb)
		if err != nil {
			return err
		}
		memory = max(memory, m)
	}
	big, err := p.alone(700)
	if err != nil {
		return err
	}
	memory = max(memory, big)
	b.add(row{"backup, peak memory at 44, 177 and 700 MB", fmt.Sprintf("%.1f MiB", float64(memory)/(1<<20)), "-", "-",
		fmt.Sprintf("<= %d MiB", memoryTarget>>20), memory <= memoryTarget})
	if err := b.restoreMemory(); err != nil {
		return err
	}
	b.notef("the backup syncs each file and directory that it writes; the shell habit syncs nothing")
	return nil
}

type backupPair struct {
	*bench
	key, recipient, script string
	state                  string
}

// compare runs ours, the habit, and the habit with sync, in turn.
func (p *backupPair) compare(mb int) (memory int64, err error) {
	if err := p.newState(mb); err != nil {
		return 0, err
	}
	defer os.Remove(p.state)
	var ours, other, synced spread
	for i := range p.pairs + 1 {
		var t [3]float64
		var m int64
		if t[0], m, err = p.ours(); err != nil {
			return 0, err
		}
		if t[1], err = p.habit(); err != nil {
			return 0, err
		}
		if t[2], err = p.habit("sync"); err != nil {
			return 0, err
		}
		memory = max(memory, m)
		if i == 0 {
			continue // warms the caches
		}
		ours, other, synced = append(ours, t[0]), append(other, t[1]), append(synced, t[2])
	}
	ratio := other.over(ours)
	p.add(row{fmt.Sprintf("backup of %d MB", mb), ours.seconds(), other.seconds(), ratio.String(), fmt.Sprintf(">= %.1f", backupTarget), atLeast(ratio.median(), backupTarget)})
	p.notef("%d MB against the habit with its two files synced: %s, ratio %s", mb, synced.seconds(), synced.over(ours))
	return memory, nil
}

// alone makes one backup, for its memory.
func (p *backupPair) alone(mb int) (int64, error) {
	if err := p.newState(mb); err != nil {
		return 0, err
	}
	defer os.Remove(p.state)
	t, memory, err := p.ours()
	if err == nil {
		p.notef("%d MB alone: %.2f s, %.1f MiB", mb, t, float64(memory)/(1<<20))
	}
	return memory, err
}

func (p *backupPair) newState(mb int) error {
	p.state = filepath.Join(p.dir, fmt.Sprintf("%d.tfstate", mb))
	if err := writeState(p.state, mb*1_000_000); err != nil {
		return err
	}
	for _, name := range []string{"local", "offsite"} {
		if _, err := p.subdir(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *backupPair) ours() (float64, int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	t, err := p.timed(self, "backup", p.state, filepath.Join(p.dir, "local"), filepath.Join(p.dir, "offsite"), p.recipient)
	if err != nil {
		return 0, 0, err
	}
	memory, err := p.peakTold()
	return t, memory, err
}

// peakTold is what the last child has told.
func (p *backupPair) peakTold() (int64, error) {
	said, err := os.ReadFile(p.state + ".peak")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(said), 10, 64)
}

func (p *backupPair) habit(extra ...string) (float64, error) {
	dirs := [2]string{}
	for i, name := range []string{"habit-local", "habit-offsite"} {
		dir, err := p.subdir(name)
		if err != nil {
			return 0, err
		}
		dirs[i] = dir
	}
	t, err := p.timed(p.script, append([]string{p.state, dirs[0], dirs[1], p.recipient, p.key}, extra...)...)
	return t, err
}

// timed runs a program from its start to its end. What earlier runs left to
// be written is written first, so that nobody pays for another.
func (p *backupPair) timed(name string, args ...string) (float64, error) {
	_ = exec.CommandContext(p.ctx, "sync").Run()
	cmd := exec.CommandContext(p.ctx, name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start).Seconds()
	if err != nil {
		return 0, fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, stderr.String())
	}
	return took, nil
}

// peak returns the most memory of this process that was resident, in bytes. It
// is asked for by the process itself: what wait4 says of a child begins at the
// peak of the process that it came from, whatever was executed since (Linux,
// exec_mmap), and that one has written large files.
func peak() (int64, error) {
	if runtime.GOOS == "linux" {
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(status)) {
			if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
				return kib << 10, err
			}
		}
		return 0, errors.New("no VmHWM in /proc/self/status")
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss), nil // getrusage(2): bytes there, kilobytes elsewhere
	}
	return int64(u.Maxrss) << 10, nil
}
