// Package dag orders work that depends on other work and runs it, so many at
// once and no more. What failed stops what comes after it, and nothing else.
// It refuses nothing by itself: whoever asks for an order looks for cycles
// first.
package dag

import (
	"maps"
	"slices"
)

// Graph is a set of nodes with the order between them.
type Graph struct {
	before map[string]map[string]bool // a node's direct predecessors
	after  map[string]map[string]bool // and successors
}

// New makes a graph of nodes without an order.
func New(nodes ...string) *Graph {
	g := &Graph{before: map[string]map[string]bool{}, after: map[string]map[string]bool{}}
	for _, n := range nodes {
		g.before[n], g.after[n] = map[string]bool{}, map[string]bool{}
	}
	return g
}

// Edge says that one node comes before another. Both must be in the graph.
func (g *Graph) Edge(before, after string) {
	g.before[after][before] = true
	g.after[before][after] = true
}

// Nodes returns all nodes, sorted.
func (g *Graph) Nodes() []string { return slices.Sorted(maps.Keys(g.before)) }

// Before returns what comes directly before a node, sorted.
func (g *Graph) Before(node string) []string { return slices.Sorted(maps.Keys(g.before[node])) }

// Reach returns everything that comes after a node.
func (g *Graph) Reach(node string) []string {
	seen := map[string]bool{}
	g.reach(node, seen)
	return slices.Sorted(maps.Keys(seen))
}

func (g *Graph) reach(node string, seen map[string]bool) {
	for next := range g.after[node] {
		if !seen[next] {
			seen[next] = true
			g.reach(next, seen)
		}
	}
}

// Keep returns the graph of the given nodes alone, in which the order that
// went through the others still holds.
func (g *Graph) Keep(nodes []string) *Graph {
	kept := New(nodes...)
	for _, from := range nodes {
		seen := map[string]bool{}
		var walk func(string)
		walk = func(node string) {
			for next := range g.after[node] {
				if seen[next] {
					continue
				}
				seen[next] = true
				if _, ok := kept.before[next]; ok {
					kept.Edge(from, next)
				} else {
					walk(next)
				}
			}
		}
		walk(from)
	}
	return kept
}

// Order returns all nodes so that each comes after its predecessors, by name
// where the order leaves a choice. What is in a cycle, or after one, is not in
// it.
func (g *Graph) Order() []string {
	var out []string
	q := g.Queue()
	for {
		n, ok := q.least()
		if !ok {
			return out
		}
		out = append(out, n)
		q.Done(n, true)
	}
}

// Cycles returns the cycles, each as a way around from its first node by name;
// of cycles that share nodes it returns one.
func (g *Graph) Cycles() [][]string {
	rest := map[string]bool{}
	for n := range g.before {
		rest[n] = true
	}
	for _, n := range g.Order() {
		delete(rest, n)
	}
	var out [][]string
	for _, n := range slices.Sorted(maps.Keys(rest)) {
		if !rest[n] {
			continue
		}
		if way := g.way(n, n); way != nil {
			out = append(out, way)
			for _, on := range way {
				delete(rest, on)
			}
		}
	}
	return out
}

// way returns the shortest way from one node to another, the last left out.
func (g *Graph) way(from, to string) []string {
	came := map[string]string{}
	queue := []string{from}
	for len(queue) > 0 {
		n := queue[0]
		queue = queue[1:]
		for _, next := range slices.Sorted(maps.Keys(g.after[n])) {
			if next == to {
				way := []string{n}
				for way[0] != from {
					way = append([]string{came[way[0]]}, way...)
				}
				return way
			}
			if _, ok := came[next]; !ok && next != from {
				came[next] = n
				queue = append(queue, next)
			}
		}
	}
	return nil
}
