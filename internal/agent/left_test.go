package agent

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(generous); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// processes lists those that have one of the words in their arguments, or in the
// environment that they were started with.
func processes(words ...string) []string {
	var out []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if dir == fmt.Sprintf("/proc/%d", os.Getpid()) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		for _, word := range words {
			if bytes.Contains(args, []byte(word)) || bytes.Contains(env, []byte(word)) {
				out = append(out, fmt.Sprintf("%s %q", filepath.Base(dir), args))
				break
			}
		}
	}
	return out
}

// gone waits until no process has one of the words, and then looks into dir.
func gone(t testing.TB, dir string, words ...string) {
	t.Helper()
	var left []string
	for end := time.Now().Add(generous); ; time.Sleep(20 * time.Millisecond) {
		if left = processes(words...); len(left) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("still there: %q", left)
		}
	}
	empty(t, dir)
}

func empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		t.Errorf("left in %s: %v, %v", dir, entries, err)
	}
}
