package recovery

import (
	"context"

	"edge-actions/internal/restic"
)

// listing is a snapshot's list that is asked for early and read late: a restic
// needs half a second for its key before it says anything, and a restore is
// going on meanwhile. Until it is read, it waits with what fits into its pipe.
type listing struct {
	each  chan func(restic.Node)
	ended chan error
	stop  context.CancelFunc
}

// list starts it. stop has to be called, and returns when that restic is gone.
func list(ctx context.Context, client *restic.Client, id string) *listing {
	ctx, cancel := context.WithCancel(ctx)
	l := &listing{each: make(chan func(restic.Node), 1), ended: make(chan error, 1)}
	l.stop = func() {
		cancel()
		for range l.ended { // how it ended is of no interest then
		}
	}
	go func() {
		var each func(restic.Node)
		err := client.Ls(ctx, id, func(n restic.Node) error {
			if each == nil {
				select {
				case each = <-l.each:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			each(n)
			return nil
		})
		l.ended <- err
		close(l.ended)
	}()
	return l
}

// read passes each entry on, and returns how the list ended. It is called once.
func (l *listing) read(each func(restic.Node)) error {
	l.each <- each
	return <-l.ended
}
