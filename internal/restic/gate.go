package restic

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// subcommands is everything that this package can run: what has to follow each
// of them, and the flags that it may have beside those of every command. None
// of them writes to a repository. Not even a lock: a lock that outlives a
// SIGKILL, which is how a runner cancels, stops every later check and prune of
// the repository's owner.
var subcommands = map[string]struct{ words, flags []string }{
	"version":   {},
	"cat":       {words: []string{"config", "lock"}},
	"list":      {words: []string{"locks", "snapshots"}},
	"snapshots": {},
	"ls":        {words: []string{anID}},
	"stats":     {words: []string{anID}, flags: []string{"--mode"}},
	"check":     {flags: []string{"--read-data", "--read-data-subset"}},
	// No --delete and no --overwrite: with "never", --verify passes over a file
	// that is corrupt.
	"restore": {words: []string{anID}, flags: []string{"--target", "--include", "--verify", "--limit-download"}},
}

const anID = ":id"

// everywhere are the flags of all commands.
var everywhere = []string{"--json", "--no-lock", "--no-cache", "--cache-dir", "--cacert", "--tls-client-cert", "--option", "--limit-download"}

var fullID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// gate lets a command line pass or says why not. Every flag is one word with
// its value, so that no value can be taken for a flag or a subcommand.
func gate(args []string) error {
	if len(args) == 0 {
		return errors.New("running restic: wanted a subcommand, found none")
	}
	known, ok := subcommands[args[0]]
	if !ok {
		return fmt.Errorf("running restic: wanted a subcommand that only reads, found %q", args[0])
	}
	refuse := func(arg string) error {
		return fmt.Errorf("running restic %s: the argument %q is not one of those allowed", args[0], arg)
	}
	var words []string
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		switch {
		case !strings.HasPrefix(arg, "-"):
			words = append(words, arg)
		case !slices.Contains(everywhere, name) && !slices.Contains(known.flags, name):
			return refuse(arg)
		case name == "--target" && (!path.IsAbs(value) || path.Clean(value) != value || value == "/"):
			return fmt.Errorf("running restic %s: wanted a clean absolute path that is not the root, found %q", args[0], value)
		}
	}
	if args[0] != "version" && !slices.Contains(args, "--no-lock") {
		return fmt.Errorf("running restic %s: wanted --no-lock, found none", args[0])
	}
	// Whole ids only: "latest" is another host's, or one that was planted.
	switch {
	case len(known.words) == 0 && len(words) == 0:
	case slices.Equal(known.words, []string{anID}) && len(words) == 1 && fullID.MatchString(words[0]):
	case args[0] == "cat" && len(words) == 2 && words[0] == "lock" && fullID.MatchString(words[1]):
	case len(words) == 1 && words[0] != "lock" && slices.Contains(known.words, words[0]) && words[0] != anID:
	default:
		return fmt.Errorf("running restic %s: the arguments %q are not those allowed", args[0], words)
	}
	return nil
}
