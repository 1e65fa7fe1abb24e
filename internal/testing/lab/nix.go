package lab

import "io/fs"

// Nix is the expression of the hosts' systems (system.nix and what it reads),
// for tests that build one elsewhere than on a host.
func Nix() fs.FS {
	sub, err := fs.Sub(tree, "nix")
	if err != nil {
		panic(err) // it is embedded
	}
	return sub
}
