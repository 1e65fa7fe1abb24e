package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	stepTarget = 2.0
	// overTarget is how many milliseconds a warm step through the launcher may
	// take longer than one that runs true, whatever the action itself does.
	overTarget = 15.0
)

// The least that goes through the launcher: what is left is the runner, the
// launcher and the start of a Go program.
const (
	leastYML = `name: least
description: Does nothing.
runs:
  using: composite
  steps:
    - shell: bash
      run: exec "${GITHUB_ACTION_PATH}/../../scripts/action" least
`
	leastGo = "package main\n\nfunc main() {}\n"
)

// The other side of a step: the smallest useful action in JavaScript.
const (
	helloYML = `name: hello
description: Says hello.
outputs:
  greeting:
    description: What it said.
runs:
  using: node20
  main: index.js
`
	helloJS = `const fs = require('fs')
console.log('hello')
fs.appendFileSync(process.env.GITHUB_OUTPUT, 'greeting=hello\n')
`
)

// step measures a warm step of a real action, from the launcher to its
// outputs, against the hello step, in one job of the real act in host mode.
// act itself says how long each step took.
func (b *bench) step() error {
	work, err := b.subdir("step")
	if err != nil {
		return err
	}
	if err := copySource(work); err != nil {
		return fmt.Errorf("copying the source: %w", err)
	}
	outputs, err := nodesJSON(1)
	if err != nil {
		return err
	}
	bare, err := bareYML()
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		"actions/least/action.yml": leastYML, "actions/least/main.go": leastGo, "actions/bare/action.yml": bare,
		"hello/action.yml": helloYML, "hello/index.js": helloJS, "outputs.json": string(outputs), ".github/workflows/bench.yml": b.workflow(),
	} {
		path := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "-q"}, {"add", "-A"}, {"-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", "bench"},
	} {
		cmd := exec.CommandContext(b.ctx, "git", args...)
		cmd.Dir = work
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args[0], err, out)
		}
	}
	times, err := b.act(work)
	if err != nil {
		return err
	}
	for _, kind := range []string{"ours", "bare", "least", "hello", "nothing"} {
		if n := len(times[kind]); n != b.pairs+1 {
			return fmt.Errorf("wanted %d steps of the kind %s, found %d", b.pairs+1, kind, n)
		}
		times[kind] = times[kind][1:] // the first ones build and warm
	}
	ours, hello, nothing := times["ours"], times["hello"], times["nothing"]
	ratio := hello.over(ours)
	b.add(row{"warm step under act (emit-handoff)", ours.seconds(), hello.seconds() + " (node hello)", ratio.String(), fmt.Sprintf(">= %.1f", stepTarget), atLeast(ratio.median(), stepTarget)})
	least := times["least"].less(nothing)
	b.add(row{"warm step over run: true, an empty program", times["least"].seconds(), nothing.seconds() + " (run: true)", fmt.Sprintf("+%.1f ms%s", least.median()*1000, least.ends()), fmt.Sprintf("<= +%.0f ms", overTarget), least.median()*1000 <= overTarget})
	b.notef("emit-handoff takes %.1f ms longer than run: true, of which the runner has %.1f for its inputs and outputs (the same action.yml that runs true)", ours.less(nothing).median()*1000, times["bare"].less(nothing).median()*1000)
	b.notef("a step that runs true takes %s under the same act", nothing.seconds())
	return nil
}

// workflow has the steps in turn. Their ids say which is which.
func (b *bench) workflow() string {
	var w strings.Builder
	w.WriteString("on: push\njobs:\n  bench:\n    runs-on: self-hosted\n    steps:\n      - uses: actions/checkout@v4\n")
	for i := range b.pairs + 1 {
		fmt.Fprintf(&w, `      - id: ours-%[1]d
        uses: ./actions/emit-handoff
        with:
          outputs_json: outputs.json
          state_lineage: 5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a
          state_serial: 41
      - id: least-%[1]d
        uses: ./actions/least
      - id: bare-%[1]d
        uses: ./actions/bare
        with:
          outputs_json: outputs.json
          state_lineage: 5d8f7e62-1d1c-0f5b-9a3e-2b7c8d9e0f1a
          state_serial: 41
      - id: hello-%[1]d
        uses: ./hello
      - id: nothing-%[1]d
        run: "true"
`, i)
	}
	return w.String()
}

// act runs the workflow and returns how long the steps took, by kind.
func (b *bench) act(work string) (map[string]spread, error) {
	cmd := exec.CommandContext(b.ctx, "act", "push", "-P", "self-hosted=-self-hosted", "--rm", "--json", "--env", "GITHUB_REPOSITORY=example/infra",
		"--env", "RUNNER_TOOL_CACHE="+filepath.Join(b.dir, "tool-cache"))
	cmd.Dir = work
	// act keeps its own cache in the home; Go's is to stay where it is warm.
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(b.dir, "cache"))
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		value, err := exec.CommandContext(b.ctx, "go", "env", name).Output()
		if err != nil {
			return nil, fmt.Errorf("go env %s: %w", name, err)
		}
		cmd.Env = append(cmd.Env, name+"="+strings.TrimSpace(string(value)))
	}
	var log, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &stderr
	runErr := cmd.Run()
	times := map[string]spread{}
	said := bufio.NewScanner(&log)
	said.Buffer(nil, 4<<20)
	var tail []string
	for said.Scan() {
		var line struct {
			Msg, Stage, StepResult string
			StepID                 []string
			ExecutionTime          int64 // nanoseconds
		}
		if json.Unmarshal(said.Bytes(), &line) != nil {
			continue
		}
		tail = append(tail, line.Msg)
		// A step within a composite action has a second id.
		if line.Stage != "Main" || line.StepResult == "" || len(line.StepID) != 1 {
			continue
		}
		kind, _, _ := strings.Cut(line.StepID[0], "-")
		if line.StepResult != "success" {
			runErr = fmt.Errorf("step %s ended with %s", line.StepID[0], line.StepResult)
			break
		}
		times[kind] = append(times[kind], float64(line.ExecutionTime)/1e9)
	}
	if runErr != nil {
		return nil, fmt.Errorf("act: %w\n%s\n%s", runErr, strings.Join(tail[max(0, len(tail)-40):], "\n"), stderr.String())
	}
	return times, nil
}

// bareYML is the metadata of emit-handoff with nothing behind it.
func bareYML() (string, error) {
	const file, run = "actions/emit-handoff/action.yml", `run: exec "${GITHUB_ACTION_PATH}/../../scripts/action" emit-handoff`
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if !strings.Contains(string(data), run) {
		return "", fmt.Errorf("wanted %q in %s", run, file)
	}
	return strings.Replace(string(data), run, `run: "true"`, 1), nil
}

// less returns the difference of each pair.
func (s spread) less(other spread) spread {
	out := make(spread, len(s))
	for i := range s {
		out[i] = s[i] - other[i]
	}
	return out
}

// copySource copies what the launcher needs to build the action.
func copySource(to string) error {
	for _, name := range []string{"go.mod", "go.sum", "scripts/action", "scripts/lib", "internal", "actions"} {
		err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			target := filepath.Join(to, path)
			if d.IsDir() {
				return os.MkdirAll(target, 0o700)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err != nil {
				return err
			}
			if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
				return err
			}
			return os.WriteFile(target, data, info.Mode().Perm())
		})
		if err != nil {
			return err
		}
	}
	return nil
}
