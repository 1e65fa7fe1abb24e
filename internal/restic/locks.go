package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Lock is a lock on a repository: of a restic that runs, or of one that was
// killed.
type Lock struct {
	ID        string    `json:"-"`
	Time      time.Time `json:"time"` // of the last sign of life; every five minutes
	Exclusive bool      `json:"exclusive"`
	Hostname  string    `json:"hostname"`
	Username  string    `json:"username"`
	PID       int       `json:"pid"`
}

// StaleAfter is when restic itself takes a lock for one of the dead.
const StaleAfter = 30 * time.Minute

// Stale reports whether the lock's holder gave no sign of life for so long that
// restic would take the lock for dead.
func (l Lock) Stale(now time.Time) bool { return now.Sub(l.Time) > StaleAfter }

// maxLocks bounds the work: each is read by a restic of its own.
const maxLocks = 50

// Locks returns the locks on the repository, the oldest first. One that goes
// away meanwhile is left out.
func (c *Client) Locks(ctx context.Context) ([]Lock, error) {
	ids, err := c.list(ctx, "locks")
	if err != nil {
		return nil, err
	}
	if len(ids) > maxLocks {
		return nil, unreadable("at most %d locks on %s", maxLocks, c.repo, fmt.Sprintf("%d", len(ids)))
	}
	locks := []Lock{}
	for _, id := range ids {
		out, err := c.answer(ctx, 64<<10, "cat", "lock", id)
		if err != nil {
			now, again := c.list(ctx, "locks")
			if again == nil && !slices.Contains(now, id) {
				continue
			}
			return nil, err
		}
		l := Lock{ID: id}
		if err := json.Unmarshal(out, &l); err != nil {
			return nil, unreadable("lock %.8s", id, err)
		}
		if l.Time.IsZero() {
			return nil, unreadable("the time of lock %.8s", id, "none")
		}
		locks = append(locks, l)
	}
	slices.SortFunc(locks, func(a, b Lock) int { return a.Time.Compare(b.Time) })
	return locks, nil
}
