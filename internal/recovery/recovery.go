// Package recovery knows what counts as a backup: a snapshot of exactly the
// host and the paths that were meant, young enough, that was really restored
// and whose content holds what it should. It refuses the newest snapshot of
// somebody else, an empty one, one from the future, and a restore that could
// write anywhere but into a fresh directory of its own.
package recovery

// The ids of the checks of this package. Those of restic itself are restic's.
const (
	// Identity is the repository's own id: one that was made anew answers as
	// well as the one that was meant.
	Identity = "repository-id"
	// Chosen is the newest snapshot of exactly the host and the paths.
	Chosen = "snapshot"
	// Age is how old that is.
	Age = "snapshot-age"
	// Future is a snapshot with a time that has not come yet.
	Future = "snapshot-future"
	// Paths are all paths that were meant, in the snapshot itself.
	Paths = "snapshot-paths"
	// Size is the snapshot against its own history.
	Size = "snapshot-size"
	// Room is space and inodes for a rehearsal.
	Room = "scratch-room"
	// Scratch is where a rehearsal restores to.
	Scratch = "scratch"
	// Restored is restic's restore with its own verification.
	Restored = "restored"
	// Compared is what lies in the scratch against the snapshot's own list.
	Compared = "restored-tree"
	// Owners are uid, gid and mode of what was restored.
	Owners = "restored-owners"
	// CleanedUp is that nothing of a rehearsal is left.
	CleanedUp = "cleaned-up"
)
