package action

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// console is the log of the step. Everything that is printed goes through it,
// whole lines at a time, so that the fences and masks of several goroutines
// don't meet in the middle of one.
type console struct {
	mu     sync.Mutex
	out    io.Writer
	dir    string // where an open fence is remembered; nowhere if empty
	fences int
	token  string
}

// markPrefix starts the names of the files that remember an open fence. The
// log of a Forgejo job heeds nothing but the token of the fence that was
// opened last, however many steps ago: after a kill, the next step's masks
// would be printed instead of obeyed.
const markPrefix = "fence-"

func newConsole(out io.Writer, temp string) *console {
	c := &console{out: out}
	if temp != "" {
		c.dir = filepath.Join(temp, "edge-actions")
	}
	return c
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

// stop has the runner ignore commands until the last fence is closed.
func (c *console) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fences++; c.fences == 1 {
		c.shut()
	}
}

// resume closes one fence.
func (c *console) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fences == 0 {
		return // closeAll was first
	}
	if c.fences--; c.fences == 0 {
		c.open()
	}
}

// closeAll closes what was left open, for the sake of the next step.
func (c *console) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fences > 0 {
		c.fences = 0
		c.open()
	}
}

// command prints lines that the runner is to obey, fence or no fence.
func (c *console) command(lines string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if lines == "" {
		return
	}
	if c.fences > 0 {
		c.open()
		defer c.shut()
	}
	io.WriteString(c.out, lines) //nolint:errcheck // a log that is gone shows no secret either
}

func (c *console) shut() {
	c.token = token()
	if c.dir != "" && os.MkdirAll(c.dir, 0o700) == nil {
		// Without it a kill costs masks in the log, so a failure stops nothing.
		os.WriteFile(filepath.Join(c.dir, markPrefix+c.token), nil, 0o600) //nolint:errcheck // as said above
	}
	fmt.Fprintf(c.out, "::stop-commands::%s\n", c.token)
}

func (c *console) open() {
	fmt.Fprintf(c.out, "::%s::\n", c.token)
	if c.dir != "" {
		os.Remove(filepath.Join(c.dir, markPrefix+c.token)) // it may never have been written
	}
}

var markToken = regexp.MustCompile(`^edge_[0-9a-f]{32}$`)

// recover closes the fences that a killed step of this job left open.
func (c *console) recover() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" || c.fences > 0 {
		return
	}
	entries, _ := os.ReadDir(c.dir) // not there in the first step
	for _, entry := range entries {
		if name, ok := strings.CutPrefix(entry.Name(), markPrefix); ok && markToken.MatchString(name) {
			c.token = name
			c.open()
		}
	}
}
