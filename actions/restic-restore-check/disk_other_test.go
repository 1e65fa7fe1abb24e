//go:build !linux

package main

import "testing"

func small(t *testing.T, _ string) string {
	t.Helper()
	t.Fatal("a small file system is made with Linux's tmpfs")
	return ""
}
