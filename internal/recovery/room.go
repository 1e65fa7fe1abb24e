package recovery

import (
	"fmt"
	"syscall"

	"edge-actions/internal/verdict"
)

// margin is how much more room than the snapshot's size there must be: blocks
// are larger than files.
const margin = 1.2

// RoomFor says whether a snapshot of so many bytes and files fits into dir.
func RoomFor(dir string, bytes, count uint64) verdict.Check {
	var s syscall.Statfs_t
	need := uint64(float64(bytes) * margin)
	wanted := fmt.Sprintf("room for %d files in %d bytes (a fifth more than they have)", count, need)
	if err := syscall.Statfs(dir, &s); err != nil {
		return verdict.CannotTell(Room, wanted, err, "see scratch_dir").Check
	}
	free := s.Bavail * uint64(s.Bsize)
	got := fmt.Sprintf("%d bytes free", free)
	if s.Files > 0 { // some file systems have no fixed number
		got += fmt.Sprintf(", %d inodes", s.Ffree)
	}
	if free < need || s.Files > 0 && s.Ffree < count {
		return verdict.Refuse(Room, wanted, got, "give a scratch_dir on a disk with more room, or restore a part with include").Check
	}
	return verdict.Check{ID: Room, Verdict: verdict.Proven, Wanted: wanted, Got: got}
}
