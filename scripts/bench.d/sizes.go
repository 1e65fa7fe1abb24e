package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// How large the binary of an action may be, in megabytes of 10^6 bytes. The
// library that sops-secrets decrypts with carries the clients of every cloud's
// key service; what opens restored databases carries SQLite, and goes to a host
// as it is.
const (
	sizeTarget       = 12.0
	sizeTargetSQLite = 14.0
	sizeTargetSOPS   = 45.0
)

// sizes builds every action as scripts/action does, and shows how large the
// binaries are.
func (b *bench) sizes() error {
	dir, err := b.subdir("sizes")
	if err != nil {
		return err
	}
	mains, err := filepath.Glob("actions/*/main.go")
	if err != nil {
		return err
	}
	if len(mains) == 0 {
		return fmt.Errorf("no actions/*/main.go here: run it from the root of the repository")
	}
	args := []string{"build", "-trimpath", "-buildvcs=false", "-tags=nethttpomithttp2", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	for _, m := range mains {
		args = append(args, "./"+filepath.Dir(m))
	}
	cmd := exec.CommandContext(b.ctx, "go", args...)
	for _, kv := range os.Environ() {
		switch name, _, _ := strings.Cut(kv, "="); name {
		case "GOEXPERIMENT", "GOAMD64", "GOARM64", "GOOS", "GOARCH": // a binary for another machine has another size
		default:
			cmd.Env = append(cmd.Env, kv)
		}
	}
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOWORK=off", "GOTOOLCHAIN=local", "GOFLAGS=-mod=readonly")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	for _, m := range mains {
		name := filepath.Base(filepath.Dir(m))
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		target := sizeTarget
		switch name {
		case "sops-secrets":
			target = sizeTargetSOPS
		case "restic-restore-check", "backup-validate":
			target = sizeTargetSQLite
		}
		mb := float64(info.Size()) / 1e6
		b.add(row{"binary of " + name, fmt.Sprintf("%.2f MB", mb), "-", "-", fmt.Sprintf("< %.1f MB", target), mb < target})
	}
	return nil
}
