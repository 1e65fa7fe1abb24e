package dag

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// random is a graph of n nodes without a cycle: an edge goes from a lower to a
// higher number only, in a numbering that the names don't show.
func random(r *rand.Rand, n int, density float64) *Graph {
	names := make([]string, n)
	for i, p := range r.Perm(n) {
		names[i] = fmt.Sprintf("n%02d", p)
	}
	g := New(names...)
	for i := range n {
		for j := range i {
			if r.Float64() < density {
				g.Edge(names[j], names[i])
			}
		}
	}
	return g
}

func each(t *testing.T, check func(t *testing.T, r *rand.Rand, g *Graph)) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		check(t, r, random(r, 1+r.IntN(50), []float64{0, 0.02, 0.1, 0.5}[seed%4]))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// Each node runs once, after all that comes before it and never with more than
// n at once. The time is synctest's: it passes when everything waits.
func TestRunRespectsTheOrder(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, g *Graph) {
		n, took := 1+r.IntN(6), map[string]time.Duration{}
		for _, node := range g.Nodes() {
			took[node] = time.Duration(1+r.IntN(5)) * time.Second
		}
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			done, running, ran := map[string]bool{}, 0, 0
			g.Run(t.Context(), n, func(_ context.Context, node string) bool {
				mu.Lock()
				running++
				ran++
				if running > n {
					t.Errorf("%d at once, wanted at most %d", running, n)
				}
				for _, before := range g.Before(node) {
					if !done[before] {
						t.Errorf("%s ran before %s", node, before)
					}
				}
				mu.Unlock()
				time.Sleep(took[node])
				mu.Lock()
				defer mu.Unlock()
				done[node] = true
				running--
				return true
			}, func(node, _ string) { t.Errorf("%s was stopped", node) })
			if ran != len(g.Nodes()) || len(done) != ran {
				t.Errorf("%d ran of %d", ran, len(g.Nodes()))
			}
		})
	})
}

// A failure reaches all that comes after it and nothing else.
func TestFailureReachesItsDescendants(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, g *Graph) {
		fails := map[string]bool{}
		for _, n := range g.Nodes() {
			fails[n] = r.Float64() < 0.15
		}
		want := map[string]bool{}
		for _, n := range g.Nodes() {
			if fails[n] {
				for _, after := range g.Reach(n) {
					want[after] = true
				}
			}
		}
		var mu sync.Mutex
		ran, stopped := map[string]bool{}, map[string]bool{}
		g.Run(context.Background(), 1+r.IntN(6), func(_ context.Context, node string) bool {
			mu.Lock()
			defer mu.Unlock()
			ran[node] = true
			return !fails[node]
		}, func(node, failed string) {
			mu.Lock()
			defer mu.Unlock()
			if stopped[node] || !fails[failed] || !slices.Contains(g.Reach(failed), node) {
				t.Errorf("%s stopped by %s", node, failed)
			}
			stopped[node] = true
		})
		for _, n := range g.Nodes() {
			if stopped[n] != want[n] || ran[n] == want[n] {
				t.Errorf("%s: stopped %v, ran %v, wanted it stopped: %v", n, stopped[n], ran[n], want[n])
			}
		}
	})
}

// steps is how long a run takes in synctest's time, every work one second.
func steps(t *testing.T, g *Graph, n int) (took int) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		g.Run(t.Context(), n, func(context.Context, string) bool {
			time.Sleep(time.Second)
			return true
		}, func(string, string) {})
		took = int(time.Since(start) / time.Second)
	})
	return took
}

// least is what no schedule can be below: the longest chain, or all the work
// shared out evenly.
func least(g *Graph, n int) int {
	q, longest := g.Queue(), 0
	for _, node := range g.Nodes() {
		longest = max(longest, q.length(node))
	}
	return max(longest, (len(g.Nodes())+n-1)/n)
}

// Fifty stacks take at most 1.3 times what no schedule can be below.
func TestFiftyStacksInTime(t *testing.T) {
	worst := 0.0
	for seed := range uint64(100) {
		r := rand.New(rand.NewPCG(seed, 11))
		g := random(r, 50, []float64{0.01, 0.03, 0.06, 0.12, 0.3}[seed%5])
		for _, n := range []int{1, 2, 4, 8, 50} {
			took := steps(t, g, n)
			got := float64(took) / float64(least(g, n))
			worst = max(worst, got)
			if got > 1.3 {
				t.Errorf("seed %d, %d at once: %d steps, at least %d", seed, n, took, least(g, n))
			}
		}
	}
	t.Logf("worst: %.2f times the least", worst)
}

// What is long is begun first. Taken by name this graph takes half as long
// again.
func TestTheLongestChainIsBegunFirst(t *testing.T) {
	g := New("a", "b", "c", "d", "x1", "x2", "x3", "x4")
	for i := 1; i < 4; i++ {
		g.Edge(fmt.Sprintf("x%d", i), fmt.Sprintf("x%d", i+1))
	}
	if got := steps(t, g, 2); got != 4 {
		t.Errorf("%d steps, wanted 4", got)
	}
}

func TestKeepHoldsTheOrderThroughTheOthers(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand, g *Graph) {
		var keep []string
		for _, n := range g.Nodes() {
			if r.Float64() < 0.4 {
				keep = append(keep, n)
			}
		}
		kept := g.Keep(keep)
		for _, n := range keep {
			var want []string
			for _, after := range g.Reach(n) {
				if slices.Contains(keep, after) {
					want = append(want, after)
				}
			}
			if diff := cmp.Diff(want, kept.Reach(n)); diff != "" {
				t.Error(diff)
			}
		}
	})
}

func TestCycles(t *testing.T) {
	g := New("a", "b", "c", "d", "e", "f", "g", "self")
	for _, e := range []string{"ab", "bc", "ca", "cd", "ef", "fe", "dg"} {
		g.Edge(e[:1], e[1:])
	}
	g.Edge("self", "self")
	want := [][]string{{"a", "b", "c"}, {"e", "f"}, {"self"}}
	if diff := cmp.Diff(want, g.Cycles()); diff != "" {
		t.Error(diff)
	}
	each(t, func(t *testing.T, r *rand.Rand, g *Graph) {
		if c := g.Cycles(); c != nil {
			t.Errorf("%v", c)
		}
		place := map[string]int{}
		for i, n := range g.Order() {
			place[n] = i
		}
		for _, n := range g.Nodes() {
			for _, before := range g.Before(n) {
				if place[before] >= place[n] {
					t.Errorf("%s at %d, %s at %d", before, place[before], n, place[n])
				}
			}
		}
	})
}
