package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/stacks/dag"
	"edge-actions/internal/testing/runnertest"
)

const (
	stacksMany   = 50
	stacksAtOnce = 4
	stacksTarget = 1.3
	chainMore    = 3
	// stackWaits is what the resource of each stack waits, as one does for a cloud.
	stackWaits = 2 * time.Second
)

// stacks measures how close many stacks come to what no order of them could be
// below: the longest chain of those that wait for another, or all the work in
// even shares. Its unit is what one stack more in a chain takes the same action,
// so the action's own start and end are not in it.
func (b *bench) stacks() error {
	dir, err := b.subdir("stacks")
	if err != nil {
		return err
	}
	build := exec.CommandContext(b.ctx, "go", "build", "-o", dir+"/", "./actions/tofu-plan-with-state-backup", "./actions/tofu-apply")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the actions: %w\n%s", err, out)
	}
	var units spread
	for i := range 3 {
		var took [2]stacksTook
		for n, length := range []int{1, 1 + chainMore} {
			j := &stacksJob{bench: b, dir: filepath.Join(dir, fmt.Sprintf("alone-%d-%d", length, i)), binaries: dir}
			if took[n], err = j.run(stacksChain(length)); err != nil {
				return err
			}
		}
		units = append(units, (took[1].apply-took[0].apply)/chainMore)
	}
	one := slices.Min(units)
	for _, shape := range []struct {
		name    string
		density float64
	}{{"few dependencies", 0.03}, {"a long chain", 0.3}} {
		g := stacksGraph(shape.density)
		least, longest := leastSteps(g, stacksAtOnce)
		j := &stacksJob{bench: b, dir: filepath.Join(dir, strings.ReplaceAll(shape.name, " ", "-")), binaries: dir}
		took, err := j.run(g)
		if err != nil {
			return err
		}
		possible := float64(least) * one
		ratio := took.apply / possible
		b.add(row{fmt.Sprintf("apply of %d stacks, %d at once, %s", stacksMany, stacksAtOnce, shape.name), fmt.Sprintf("%.1f s", took.apply),
			fmt.Sprintf("%.1f s (the least possible)", possible), fmt.Sprintf("%.2f", ratio), fmt.Sprintf("<= %.1f", stacksTarget), !atLeast(ratio, stacksTarget+0.01)})
		b.notef("%s: the longest chain is of %d stacks, the least are %d times one stack's %.2f s, of which %s are a wait as for a cloud; their plans took %.1f s",
			shape.name, longest, least, one, stackWaits, took.plan)
	}
	return nil
}

// stacksChain is so many stacks, one after the other.
func stacksChain(length int) *dag.Graph {
	var names []string
	for i := range length {
		names = append(names, fmt.Sprintf("s%02d", i))
	}
	g := dag.New(names...)
	for i := range length - 1 {
		g.Edge(names[i], names[i+1])
	}
	return g
}

// stacksGraph is a graph without a cycle, the same at each run.
func stacksGraph(density float64) *dag.Graph {
	r := rand.New(rand.NewPCG(6, uint64(density*100)))
	names := make([]string, stacksMany)
	for i, p := range r.Perm(stacksMany) { // or the order would be the names'
		names[i] = fmt.Sprintf("s%02d", p)
	}
	g := dag.New(names...)
	for i := range names {
		for j := range i {
			if r.Float64() < density {
				g.Edge(names[j], names[i])
			}
		}
	}
	return g
}

// leastSteps is what no order can be below, in stacks, and the longest chain.
func leastSteps(g *dag.Graph, n int) (least, longest int) {
	chain := map[string]int{}
	for _, node := range g.Order() {
		for _, before := range g.Before(node) {
			chain[node] = max(chain[node], chain[before])
		}
		chain[node]++
		longest = max(longest, chain[node])
	}
	return max(longest, (len(chain)+n-1)/n), longest
}

// stacksJob is a job with a checkout of stacks, each with a state of its own.
type stacksJob struct {
	*bench
	dir, binaries string
}

type stacksTook struct{ plan, apply float64 }

// run plans and applies all stacks of a graph.
func (j *stacksJob) run(g *dag.Graph) (took stacksTook, err error) {
	for _, name := range []string{"work/iac", "state", "off", "home", "temp"} {
		if err := os.MkdirAll(filepath.Join(j.dir, name), 0o700); err != nil {
			return took, err
		}
	}
	for _, name := range g.Nodes() {
		if err := j.checkout(name, g.Before(name)); err != nil {
			return took, err
		}
	}
	recipient, err := j.newKey(filepath.Join(j.dir, "key.txt"))
	if err != nil {
		return took, err
	}
	inputs := map[string]string{
		"path": "iac", "backend_config": "path=" + filepath.Join(j.dir, "state") + "/{stack}.tfstate", "offsite": filepath.Join(j.dir, "off"), "age_recipients": recipient,
		"stacks_at_once": fmt.Sprint(stacksAtOnce), "stacks": "terramate", "accept_state": "new",
	}
	outputs, plan, err := j.step("tofu-plan-with-state-backup", inputs)
	if err != nil {
		return took, err
	}
	for _, name := range []string{"stacks", "accept_state"} {
		delete(inputs, name)
	}
	inputs["receipts"], inputs["receipts_sha256"] = outputs["stacks_path"], outputs["stacks_sha256"]
	_, apply, err := j.step("tofu-apply", inputs)
	if err != nil {
		return took, err
	}
	states, err := filepath.Glob(filepath.Join(j.dir, "state", "*.tfstate"))
	if err == nil && len(states) != len(g.Nodes()) {
		err = fmt.Errorf("wanted %d states, found %d", len(g.Nodes()), len(states))
	}
	return stacksTook{plan: plan, apply: apply}, err
}

func (j *stacksJob) checkout(name string, before []string) error {
	after := make([]string, len(before))
	for i, b := range before {
		after[i] = fmt.Sprintf("%q", "/"+b)
	}
	for file, text := range map[string]string{
		"main.tf": fmt.Sprintf("terraform {\n  backend \"local\" {}\n}\n\nresource \"terraform_data\" \"a\" {\n  provisioner \"local-exec\" {\n    command = \"sleep %g\"\n  }\n}\n",
			stackWaits.Seconds()),
		"stack.tm.hcl": fmt.Sprintf("stack {\n  id    = %q\n  after = [%s]\n}\n", name, strings.Join(after, ", ")),
	} {
		path := filepath.Join(j.dir, "work/iac", name, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// step runs an action as a runner does, and returns its outputs and how long it
// took.
func (j *stacksJob) step(action string, inputs map[string]string) (map[string]string, float64, error) {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(j.dir, "home"), "RUNNER_TEMP=" + filepath.Join(j.dir, "temp"), "GITHUB_WORKSPACE=" + filepath.Join(j.dir, "work"), "GITHUB_ACTIONS=true",
	}
	output := filepath.Join(j.dir, action+".output")
	for _, name := range []string{"OUTPUT", "STEP_SUMMARY", "ENV", "PATH", "STATE"} {
		path := output
		if name != "OUTPUT" {
			path = filepath.Join(j.dir, action+"."+strings.ToLower(name))
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, 0, err
		}
		env = append(env, "GITHUB_"+name+"="+path)
	}
	for name, value := range inputs {
		env = append(env, "INPUT_"+strings.ToUpper(name)+"="+value)
	}
	slices.Sort(env)
	_ = exec.CommandContext(j.ctx, "sync").Run()
	cmd := exec.CommandContext(j.ctx, filepath.Join(j.binaries, action))
	cmd.Dir, cmd.Env = filepath.Join(j.dir, "work"), env
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start).Seconds()
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w\n%.20000s", action, err, out)
	}
	data, err := os.ReadFile(output)
	if err != nil {
		return nil, 0, err
	}
	outputs, lost, err := runnertest.ParseFile(data)
	if err == nil && lost {
		err = fmt.Errorf("the outputs of %s are too long for a runner", action)
	}
	return outputs, took, err
}
