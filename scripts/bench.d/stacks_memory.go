package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/tfstate"

	"filippo.io/age"
)

// newKey makes a key and returns whom to seal for.
func (b *bench) newKey(path string) (recipient string, err error) {
	if out, err := exec.CommandContext(b.ctx, "age-keygen", "-o", path).CombinedOutput(); err != nil {
		return "", fmt.Errorf("age-keygen: %w\n%s", err, out)
	}
	said, err := exec.CommandContext(b.ctx, "age-keygen", "-y", path).Output()
	if err != nil {
		return "", fmt.Errorf("age-keygen -y: %w", err)
	}
	return strings.TrimSpace(string(said)), nil
}

// restoreChild is a process that puts the newest archive back into the place of
// a state and ends, as tofu-state-restore does: the archive is opened, what is
// there is looked at and archived, overwritten, looked at and archived again.
func restoreChild(args []string) int {
	state, local, offsite, recipient, key := args[0], args[1], args[2], args[3], args[4]
	return tellPeak(state, restoreOnce(context.Background(), state, local, offsite, recipient, key))
}

func restoreOnce(ctx context.Context, state, local, offsite, recipient, key string) error {
	r, err := age.ParseX25519Recipient(recipient)
	if err != nil {
		return err
	}
	f, err := os.Open(key)
	if err != nil {
		return err
	}
	identities, err := age.ParseIdentities(f)
	f.Close()
	if err != nil {
		return err
	}
	a := &tfstate.Archives{
		Local: tfstate.Dir{Path: local}, Offsite: tfstate.Dir{Path: offsite}, Recipients: []age.Recipient{r}, RecipientNames: []string{recipient}, Identities: identities,
		Stack: "bench", Workspace: "default", TofuVersion: "1.12.6", ShrinkPercent: 50, RetainCount: 5, LockTimeout: time.Second, Accept: tfstate.Guards, Logf: func(string, ...any) {},
	}
	place := tfstate.File{Path: state, LockTimeout: time.Second}
	history, err := a.History(ctx)
	if err != nil {
		return err
	}
	archive, err := a.Open(ctx, history.Newest.Name, tfstate.FromAny)
	if err != nil {
		return err
	}
	was, err := tfstate.Inspect(ctx, place)
	if err != nil {
		return err
	}
	if _, err := a.Make(ctx, place, tfstate.BeforeRestore); err != nil {
		return err
	}
	serial := max(was.Serial, history.Serial) + 1
	err = place.Replace(ctx, tfstate.Rewrite{
		Journal: state + ".journal", Was: was, Serial: serial, Lineage: archive.Manifest.State.Lineage, Archive: history.Newest.Name, Run: "bench",
		Fill: func(w io.Writer) error { return archive.CopyWithSerial(ctx, w, serial) },
	})
	if err != nil {
		return err
	}
	now, err := tfstate.Inspect(ctx, place)
	if err != nil {
		return err
	}
	if now.Serial != serial || now.Instances != archive.Manifest.State.Instances {
		return fmt.Errorf("wanted the archive's state with serial %d, found serial %d and %d instances", serial, now.Serial, now.Instances)
	}
	_, err = a.Make(ctx, place, tfstate.AfterRestore)
	return err
}

// restoreMemory compares what the restore of a large state takes with that of a
// small one.
func (b *bench) restoreMemory() error {
	key := filepath.Join(b.dir, "restore-key.txt")
	recipient, err := b.newKey(key)
	if err != nil {
		return err
	}
	p := &backupPair{bench: b, recipient: recipient, key: key}
	var most [2]float64
	for i, kb := range []int{100, 44_000} {
		memory, took, err := p.restored(kb * 1000)
		if err != nil {
			return err
		}
		most[i] = float64(memory)
		b.notef("a restore of %.1f MB alone: %.2f s, %.1f MiB", float64(kb)/1000, took, most[i]/(1<<20))
	}
	ratio := most[1] / most[0]
	b.add(row{"restore of a state of 44 MB, peak memory", fmt.Sprintf("%.1f MiB", most[1]/(1<<20)), fmt.Sprintf("%.1f MiB (0.1 MB)", most[0]/(1<<20)), fmt.Sprintf("%.2f", ratio),
		fmt.Sprintf("<= %d MiB", memoryTarget>>20), most[1] <= memoryTarget})
	return nil
}

// restored archives a state of that size, and restores it over itself.
func (p *backupPair) restored(size int) (memory int64, took float64, err error) {
	p.state = filepath.Join(p.dir, "restored.tfstate")
	if err := writeState(p.state, size); err != nil {
		return 0, 0, err
	}
	defer os.Remove(p.state)
	for _, name := range []string{"local", "offsite"} {
		if _, err := p.subdir(name); err != nil {
			return 0, 0, err
		}
	}
	if _, _, err := p.ours(); err != nil {
		return 0, 0, err
	}
	self, err := os.Executable()
	if err != nil {
		return 0, 0, err
	}
	if took, err = p.timed(self, "restore", p.state, filepath.Join(p.dir, "local"), filepath.Join(p.dir, "offsite"), p.recipient, p.key); err != nil {
		return 0, 0, err
	}
	memory, err = p.peakTold()
	return memory, took, err
}
