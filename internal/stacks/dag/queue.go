package dag

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Queue hands out the nodes of a graph without a cycle, each once, when all
// that comes before it is done. It is not for several goroutines.
type Queue struct {
	g       *Graph
	waits   map[string]int // how many predecessors are not done
	ready   map[string]bool
	stopped map[string]bool
	chain   map[string]int // nodes on the longest way from here to an end
}

// Queue starts a queue with everything that waits for nothing.
func (g *Graph) Queue() *Queue {
	q := &Queue{g: g, waits: map[string]int{}, ready: map[string]bool{}, stopped: map[string]bool{}, chain: map[string]int{}}
	for n, before := range g.before {
		if q.waits[n] = len(before); len(before) == 0 {
			q.ready[n] = true
		}
	}
	return q
}

// Next returns the node that is ready and has the longest way before it: what
// is long is begun early. ok is false if none is ready now.
func (q *Queue) Next() (node string, ok bool) {
	for _, n := range slices.Sorted(maps.Keys(q.ready)) {
		if !ok || q.length(n) > q.length(node) {
			node, ok = n, true
		}
	}
	delete(q.ready, node)
	return node, ok
}

// least is Next by name alone.
func (q *Queue) least() (node string, ok bool) {
	ready := slices.Sorted(maps.Keys(q.ready))
	if len(ready) == 0 {
		return "", false
	}
	delete(q.ready, ready[0])
	return ready[0], true
}

func (q *Queue) length(node string) int {
	if l, ok := q.chain[node]; ok {
		return l
	}
	longest := 0
	for next := range q.g.after[node] {
		longest = max(longest, q.length(next))
	}
	q.chain[node] = longest + 1
	return longest + 1
}

// Done says how a node ended. If it failed, it returns everything after it
// that nobody has stopped yet; none of that is handed out any more.
func (q *Queue) Done(node string, ok bool) (stopped []string) {
	if !ok {
		for _, n := range q.g.Reach(node) {
			if !q.stopped[n] {
				q.stopped[n] = true
				stopped = append(stopped, n)
			}
		}
		return stopped
	}
	for next := range q.g.after[node] {
		if q.waits[next]--; q.waits[next] == 0 && !q.stopped[next] {
			q.ready[next] = true
		}
	}
	return nil
}

// Run does the work of every node, at most n at once, each when all that comes
// before it is done and ok. stop is told of what is not done because a node
// before it failed. The graph has no cycle. Run returns when all work has
// ended, also after ctx has: the work itself looks at it.
func (g *Graph) Run(ctx context.Context, n int, work func(ctx context.Context, node string) (ok bool), stop func(node, failed string)) {
	var mu sync.Mutex
	changed := sync.NewCond(&mu)
	q, running := g.Queue(), 0
	mu.Lock()
	defer mu.Unlock()
	for {
		for running < n {
			node, ok := q.Next()
			if !ok {
				break
			}
			running++
			go func() {
				ok := work(ctx, node)
				mu.Lock()
				defer mu.Unlock()
				running--
				for _, after := range q.Done(node, ok) {
					stop(after, node)
				}
				changed.Signal()
			}()
		}
		if running == 0 {
			return
		}
		changed.Wait()
	}
}
