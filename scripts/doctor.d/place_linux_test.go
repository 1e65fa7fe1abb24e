package main

import (
	"os"
	"testing"
)

func TestMemoryIsNoDisk(t *testing.T) {
	m := newMachine(t)
	dir, err := os.MkdirTemp("/dev/shm", "doctor-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m.workflow("verify-handoff", "seen_dir: "+dir)
	_, lines := m.doctor()
	m.says(lines, "WRONG", "empty after a reboot")
	restore := []string{"repository_id: x", "host: h", "paths: /p", "scratch_dir: " + dir}
	m.workflow("restic-restore-check", restore...)
	_, lines = m.doctor()
	m.says(lines, "WRONG", "empty after a reboot")
	m.workflow("restic-restore-check", append(restore, "allow_tmpfs: true")...)
	_, lines = m.doctor()
	m.silent(lines, "empty after a reboot")
}
