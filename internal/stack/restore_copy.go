package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/internal/files"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
)

// overrideFile comes last among a module's override files, so its backend is
// the one that holds.
const overrideFile = "zzzz_edge_actions_override.tf"

// copied is a root module that is this one in all but its state, and the path
// of that.
type copied struct {
	*Stack
	state string
}

// copyModule makes a copy of the module below dir with a local backend, and
// with what fill writes as its state. The backend of the module itself is
// never asked: the copy does not know of it.
func (s *Stack) copyModule(ctx context.Context, dir string, fill func(io.Writer) error) (*copied, error) {
	dir, err := privateTemp(dir, "module-")
	if err != nil {
		return nil, err
	}
	c := &copied{state: filepath.Join(dir, "state", "terraform.tfstate")}
	workspaces := filepath.Join(dir, "workspaces")
	if s.Workspace != "default" {
		c.state = filepath.Join(workspaces, s.Workspace, "terraform.tfstate")
	}
	if err := os.MkdirAll(filepath.Dir(c.state), 0o700); err != nil {
		return nil, err
	}
	if fill != nil {
		if err := files.WriteFrom(c.state, fill); err != nil {
			return nil, fmt.Errorf("taking the state out of the archive: %w", err)
		}
	}
	module, err := mirror(filepath.Join(dir, "checkout"), s.Checkout, s.CLI.Dir)
	if err != nil {
		return nil, fmt.Errorf("making a copy of the module: %w", err)
	}
	override := fmt.Sprintf("terraform {\n  backend \"local\" {\n    path          = %s\n    workspace_dir = %s\n  }\n}\n", quoteHCL(filepath.Join(dir, "state", "terraform.tfstate")), quoteHCL(workspaces))
	if err := files.Write(filepath.Join(module, overrideFile), []byte(override)); err != nil {
		return nil, err
	}
	stack := *s
	stack.source = nil
	cli := *s.CLI
	cli.Dir, cli.DataDir = module, filepath.Join(dir, "tofu")
	c.Stack, stack.CLI = &stack, &cli
	return c, c.init(ctx, s.CLI.DataDir)
}

// init takes the providers and the modules that the module itself has got: a
// restore may come at a time when no registry can be reached.
func (c *copied) init(ctx context.Context, from string) error {
	if err := os.MkdirAll(filepath.Join(c.CLI.DataDir, "modules"), 0o700); err != nil {
		return err
	}
	if err := linkFile(filepath.Join(c.CLI.DataDir, "modules"), filepath.Join(from, "modules"), "modules.json"); err != nil {
		return err
	}
	init := func() (bool, error) { return c.CLI.Init(ctx, nil) }
	if plugins := filepath.Join(from, "providers"); there(plugins) {
		c.CLI.Plugins = plugins
	}
	_, err := c.fenced("tofu", init)
	if err != nil && c.CLI.Plugins != "" {
		c.CLI.Plugins = "" // other ones than those may be wanted now
		_, err = c.fenced("tofu", init)
	}
	if err == nil {
		_, err = c.fenced("tofu", func() (bool, error) { return true, c.CLI.SelectWorkspace(ctx, c.Workspace, false) })
	}
	if err != nil {
		return err
	}
	b, err := c.CLI.Backend(c.Workspace)
	if err == nil && b.StatePath != c.state {
		err = verdict.Refuse("rehearsal-apart", "a copy of the module with a state of its own, "+c.state, b.String(), "find out what in the module overrides its backend; nothing was read or written")
	}
	return err
}

// mirror makes a directory in which everything of checkout can be reached by
// the same relative paths, with the module's own as a real one, and returns
// that. Nothing is copied but the lock file, which init may write.
func mirror(root, checkout, module string) (string, error) {
	rel, err := filepath.Rel(checkout, module)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", fmt.Errorf("the module %q is not in the checkout %q", module, checkout)
	}
	var parts []string
	if rel != "." {
		parts = strings.Split(rel, string(filepath.Separator))
	}
	from, to := checkout, root
	for i := 0; ; i++ {
		if err := os.MkdirAll(to, 0o700); err != nil {
			return "", err
		}
		next := ""
		if i < len(parts) {
			next = parts[i]
		}
		entries, err := os.ReadDir(from)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			switch e.Name() {
			case next, ".terraform", overrideFile:
				continue
			}
			if err := linkFile(to, from, e.Name()); err != nil {
				return "", err
			}
		}
		if next == "" {
			return to, nil
		}
		from, to = filepath.Join(from, next), filepath.Join(to, next)
	}
}

// linkFile makes dir/name stand for from/name, if there is one.
func linkFile(dir, from, name string) error {
	path := filepath.Join(from, name)
	if name != tofu.LockFile && name != "modules.json" {
		return os.Symlink(path, filepath.Join(dir, name))
	}
	err := files.WriteFrom(filepath.Join(dir, name), func(w io.Writer) error { return copyFile(w, path) })
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return err
}

// convert has OpenTofu itself write the state of an archive with another
// serial, in a copy of the module: it alone can open a state that it has
// encrypted, and close it again. It returns the path of the state, encrypted
// if asked to, and the serial that it got.
func (s *Stack) convert(ctx context.Context, req RestoreRequest, archive *tfstate.Opened, serial uint64, encrypted bool) (path string, written uint64, err error) {
	const hint = "give this run the encryption settings with which the archive was made (TF_ENCRYPTION, the encryption block, the key provider's credentials)"
	fill := func(w io.Writer) error { return archive.CopyWithSerial(ctx, w, serial) }
	if archive.Manifest.State.Encrypted {
		var plain *os.File
		c, err := s.copyModule(ctx, req.Scratch, func(w io.Writer) error { return archive.CopyTo(ctx, w) })
		if err == nil {
			plain, err = unlinked(req.Scratch, func(w io.Writer) error { return c.CLI.StatePull(ctx, w) })
		}
		if err != nil {
			return "", 0, verdict.CannotTell("state-encrypted", "OpenTofu to open the encrypted state of "+archive.Manifest.Name, err, hint)
		}
		defer plain.Close()
		fill = func(w io.Writer) error { return tfstate.CopySerial(w, plain, serial) }
	}
	if !encrypted {
		f, err := os.CreateTemp(req.Scratch, "plain-")
		if err != nil {
			return "", 0, err
		}
		return f.Name(), serial, errors.Join(fill(f), f.Close())
	}
	c, err := s.copyModule(ctx, req.Scratch, nil)
	if err != nil {
		return "", 0, err
	}
	plain, err := unlinked(req.Scratch, fill)
	if err != nil {
		return "", 0, err
	}
	defer plain.Close()
	if _, err := c.fenced("tofu state push", func() (bool, error) { return true, c.CLI.StatePush(ctx, plain, s.LockTimeout) }); err != nil {
		return "", 0, verdict.CannotTell("state-encrypted", "OpenTofu to encrypt the state of "+archive.Manifest.Name, err, hint)
	}
	now, err := tfstate.Inspect(ctx, tfstate.File{Path: c.state, LockTimeout: s.LockTimeout})
	switch {
	case err != nil:
		return "", 0, err
	case now.Absent || now.Broken != nil || now.Serial < serial || now.Lineage != archive.Manifest.State.Lineage:
		return "", 0, verdict.Refuse("state-encrypted", fmt.Sprintf("OpenTofu to write serial %d or later", serial), describe(now), hint)
	}
	return c.state, now.Serial, nil
}
