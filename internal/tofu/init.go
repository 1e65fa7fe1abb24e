package tofu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// LockFile is the name of the provider lock file of a root module.
const LockFile = ".terraform.lock.hcl"

const fingerprintFile = "edge-actions.init"

// Init initialises the root module, unless nothing changed since the last
// time: the tool, the configuration of all modules, the lock file, the backend
// configuration. It returns whether it had to.
//
// backendConfig holds paths of files: values in arguments could be read by
// every process of the machine.
func (c *CLI) Init(ctx context.Context, backendConfig []string) (ran bool, err error) {
	want, err := c.fingerprint(backendConfig)
	if err != nil {
		return false, err
	}
	have, err := os.ReadFile(filepath.Join(c.DataDir, fingerprintFile))
	if err == nil && string(have) == want {
		return false, nil
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return false, err
	}
	// -reconfigure: the data directory outlives jobs, and a backend that was
	// changed must not stop at a question. What it then shows of a state is
	// held against the archives.
	args := []string{"init", "-input=false", "-no-color", "-reconfigure"}
	if _, err := os.Stat(filepath.Join(c.Dir, LockFile)); err == nil {
		args = append(args, "-lockfile=readonly")
	}
	if c.Plugins != "" {
		args = append(args, "-plugin-dir="+c.Plugins)
	}
	for _, f := range backendConfig {
		args = append(args, "-backend-config="+f)
	}
	if err := c.run(ctx, args...); err != nil {
		return true, verdict.CannotTell("init", "tofu init to succeed", err, "the lines above say why; correct the configuration, backend_config or the credentials")
	}
	// Modules are known only now.
	if want, err = c.fingerprint(backendConfig); err != nil {
		return true, err
	}
	return true, files.Write(filepath.Join(c.DataDir, fingerprintFile), []byte(want))
}

// fingerprint is the digest of all that init depends on.
func (c *CLI) fingerprint(backendConfig []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, c.Version)
	for _, dir := range c.moduleDirs() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return "", fmt.Errorf("reading the module in %s: %w", dir, err)
		}
		for _, e := range entries {
			if isConfig(e) {
				if err := hashFile(h, filepath.Join(dir, e.Name())); err != nil {
					return "", err
				}
			}
		}
	}
	for _, f := range backendConfig {
		if err := hashFile(h, f); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func isConfig(e fs.DirEntry) bool {
	n := e.Name()
	return !e.IsDir() && (n == LockFile || slices.ContainsFunc([]string{".tf", ".tofu", ".tf.json", ".tofu.json"}, func(s string) bool { return strings.HasSuffix(n, s) }))
}

func hashFile(w io.Writer, path string) error {
	sum, err := files.SHA256(path)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s %q\n", sum, filepath.Base(path))
	return err
}

// moduleDirs returns the root module and every module that init has found.
func (c *CLI) moduleDirs() []string {
	dirs := []string{c.Dir}
	data, err := os.ReadFile(filepath.Join(c.DataDir, "modules", "modules.json"))
	if err != nil {
		return dirs
	}
	var m struct{ Modules []struct{ Dir string } }
	if json.Unmarshal(data, &m) != nil {
		return dirs
	}
	for _, mod := range m.Modules {
		dir := mod.Dir
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(c.Dir, dir)
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs[1:])
	return slices.Compact(dirs)
}

// Backend is where a root module keeps its state.
type Backend struct {
	Type string // "local", "pg", "s3" …
	// StatePath is the absolute path of a local state, else empty.
	StatePath string
	// ConfigSHA256 is of the settings of any other backend, secrets included.
	ConfigSHA256 string
}

// Identity tells the places of two states apart.
func (b Backend) Identity(workspace string) string {
	if b.StatePath != "" {
		return b.StatePath
	}
	return fmt.Sprintf("%s %s %q", b.Type, b.ConfigSHA256, workspace)
}

// String is what a receipt remembers: a plan carries the settings of the backend
// for which it was made, and is applied there, wherever the state is now. Of
// their digest it shows too little to guess a password by.
func (b Backend) String() string {
	if b.StatePath != "" {
		return b.StatePath
	}
	return fmt.Sprintf("backend %s (settings %.8s)", b.Type, b.ConfigSHA256)
}

// Backend reads what init wrote down about the backend of a workspace.
func (c *CLI) Backend(workspace string) (Backend, error) {
	var saved struct {
		Backend *struct {
			Type   string
			Config json.RawMessage
		}
	}
	var config struct {
		Path         *string `json:"path"`
		WorkspaceDir *string `json:"workspace_dir"`
	}
	data, err := os.ReadFile(filepath.Join(c.DataDir, "terraform.tfstate"))
	if err == nil {
		err = json.Unmarshal(data, &saved)
	} else if os.IsNotExist(err) {
		err = nil // no backend block: local, in the module's directory
	}
	if err != nil {
		return Backend{}, fmt.Errorf("reading what init wrote about the backend: %w", err)
	}
	b := Backend{Type: "local"}
	path, dir := "terraform.tfstate", "terraform.tfstate.d"
	if saved.Backend != nil {
		b.Type = saved.Backend.Type
		b.ConfigSHA256 = fmt.Sprintf("%x", sha256.Sum256(saved.Backend.Config))
	}
	if b.Type != "local" {
		return b, nil
	}
	if saved.Backend != nil {
		if err := json.Unmarshal(saved.Backend.Config, &config); err != nil {
			return Backend{}, fmt.Errorf("reading what init wrote about the backend: %w", err)
		}
	}
	if config.Path != nil && *config.Path != "" {
		path = *config.Path
	}
	if config.WorkspaceDir != nil && *config.WorkspaceDir != "" {
		dir = *config.WorkspaceDir
	}
	if workspace != "default" {
		path = filepath.Join(dir, workspace, "terraform.tfstate")
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(c.Dir, path)
	}
	b.StatePath = filepath.Clean(path)
	return b, nil
}
