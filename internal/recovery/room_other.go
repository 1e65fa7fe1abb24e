//go:build !linux

package recovery

// onTmpfs: macOS has no tmpfs but one that is asked for by name.
func onTmpfs(string) (bool, error) { return false, nil }
