//go:build !linux

package assert

// confinements: macOS has no namespaces.
func confinements() []confinement { return nil }
