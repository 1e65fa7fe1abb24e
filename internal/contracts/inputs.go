package contracts

import (
	"os"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/verdict"
)

// Read reads the inputs that say what is promised. What is wrong with them is
// recorded in in; the file is then empty.
func Read(in *action.Inputs, a *action.Action) *Validation {
	v := &Validation{
		File: &File{}, Rotations: in.RunnerPath("state_dir"), Environ: a.Environ(), Now: time.Now(),
		Timeout: in.Duration("timeout", time.Second, 24*time.Hour), Parallel: in.Int("max_parallel", 1, 256), Logf: a.Logf,
	}
	path := in.WorkspaceFile("contracts")
	if path == "" {
		return v
	}
	data, err := os.ReadFile(path)
	if err != nil {
		in.Wrong("contracts", "a file that can be read", err.Error(), "correct the file, or the input contracts")
		return v
	}
	file, err := Parse(data, v.Now)
	for _, c := range verdict.ChecksOf(err) {
		in.Wrong("contracts", c.Wanted, c.Got, c.Hint)
	}
	if err == nil {
		v.File = file
	}
	return v
}
