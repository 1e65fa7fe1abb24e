package tofu

// LockSummary is how OpenTofu begins to say that it did not get the lock,
// whether somebody holds it or nobody can be asked.
const LockSummary = "Error acquiring the state lock"

// LockHint is what to do about a lock that somebody holds.
const LockHint = "wait for the run that holds it, or raise lock_timeout; a lock that a killed run left in S3 goes with tofu force-unlock and the ID above, once that run is surely gone"

// LockLostID is the check that OpenTofu kept the lock to the end and gave it
// back; LockLostHint is what to do if it did not.
const (
	LockLostID   = "state-lock-lost"
	LockLostHint = "see whether the backend stayed up, then run again: PostgreSQL frees the lock of a connection that ended, a lock file in S3 stays"
)

// LockLost reports whether the lock could not be given back and nothing else
// went wrong.
func LockLost(errs []Diagnostic) bool {
	for _, d := range errs {
		if d.Summary != "Error releasing the state lock" {
			return false
		}
	}
	return len(errs) > 0
}
