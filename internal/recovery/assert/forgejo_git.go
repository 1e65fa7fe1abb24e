package assert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/files"
)

const (
	// gitRefsMax is the most that a list of refs may have: a hundred thousand.
	gitRefsMax   = 16 << 20
	gitRefsTime  = 2 * time.Minute
	gitGrace     = 10 * time.Second
	fsckTime     = 30 * time.Minute
	maxLinkWalks = 2_000_000
)

var errNoGit = errors.New("no git on this runner")

// git is a call of git in a restored repository that believes nothing of the
// repository's own configuration that could run something or reach somewhere.
func (j *judge) git(dir string, timeout time.Duration, args ...string) (command.Cmd, error) {
	program, err := j.find(j.tools.Git, "git")
	if err != nil {
		return command.Cmd{}, errNoGit
	}
	safe := []string{"--git-dir=" + dir, "--no-replace-objects",
		"-c", "safe.directory=*", // another uid's, as it was backed up
		"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.alternateRefsCommand=false", "-c", "protocol.allow=never",
	}
	env := command.Environ(j.tools.Env, []string{"PATH", "LANG"}, map[string]string{
		"HOME": j.temp, "TMPDIR": j.temp, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C",
	})
	return command.Cmd{Path: program, Args: append(safe, args...), Dir: j.temp, Env: env, Timeout: timeout, Grace: gitGrace}, nil
}

// gitRefs returns the branches of a repository, as git reads them: packed,
// loose or in a reftable. Broken ones are not among them.
func (j *judge) gitRefs(ctx context.Context, p string) (map[string]string, error) {
	dir, err := j.tree.path(p)
	if err != nil {
		return nil, files.WithoutPath(err)
	}
	c, err := j.git(dir, gitRefsTime, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads")
	if err != nil {
		return nil, err
	}
	out, err := command.Output(ctx, c, gitRefsMax)
	if err != nil {
		return nil, quiet(ctx, err)
	}
	refs := map[string]string{}
	for line := range bytes.Lines(out) {
		commit, name, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		refs[strings.TrimPrefix(name, "refs/heads/")] = commit
	}
	return refs, nil
}

// quiet is an error of a child without what the child said: it may quote what
// it read.
func quiet(ctx context.Context, err error) error {
	var exit *command.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit):
		return (&command.ExitError{Name: exit.Name, Code: exit.Code, Signal: exit.Signal})
	}
	return err
}

// fsck runs git fsck in each repository.
func (f *Forgejo) fsck(ctx context.Context, j *judge, repositories []*forgejoRepository) {
	const wanted = "git fsck to find every object of every repository, whole"
	const hint = "see git fsck in the live repository: if that is whole, the backup left something out or copied it while it changed"
	var wrong findings
	checked, formal, bytes := 0, 0, int64(0)
	for _, r := range repositories {
		if !r.there {
			continue // said by the check of the repositories
		}
		if strange := r.strange(); strange != "" {
			wrong.add("%.200q %s", r.name, strange)
			continue
		}
		n, err := 0, r.trouble
		if err == nil {
			n, err = j.fsckOne(ctx, r.dir, orDuration(f.FsckTimeout, fsckTime))
		}
		switch code := command.Code(err); {
		case err == nil:
			checked, formal, bytes = checked+1, formal+n, bytes+r.size
		case code > 0:
			wrong.add("%.200q: exit code %d", r.name, code)
		default:
			j.cannotTell(ForgejoFsck, wanted, fmt.Errorf("%d of %d repositories checked; %.200q: %w", checked, len(repositories), r.name, quiet(ctx, files.WithoutPath(err))), "install git on the runner, give a longer fsck_timeout, or look at the repository")
			return
		}
	}
	got := fmt.Sprintf("%d repositories, %d bytes", checked, bytes)
	if formal > 0 {
		got += fmt.Sprintf("; %d objects are of an odd form, as they were before the backup", formal)
	}
	switch {
	case wrong.count > 0:
		j.refuse(ForgejoFsck, wanted, fmt.Sprintf("%d broken beside %s\n%s", wrong.count, got, wrong.String()), hint)
	case checked == 0:
		j.cannotTell(ForgejoFsck, wanted, errors.New("no repository to check"), "see whether repositories and database are the forge's")
	default:
		j.prove(ForgejoFsck, wanted, got)
	}
}

// fsckForm is a complaint about how an object is written, with the id that git
// has for it. Such an object is whole and is what its hash says: old tools wrote
// it so. What has no id ("broken links", "wrong object type in link") is of what
// an object leads to, and git goes no further there.
var fsckForm = regexp.MustCompile(`^(error|warning) in (commit|tree|blob|tag) [0-9a-f]{40,64}: [A-Za-z0-9]+: `)

// fsckOne returns how many objects git fsck finds of an odd form; an error if it
// finds anything else.
func (j *judge) fsckOne(ctx context.Context, p string, timeout time.Duration) (formal int, err error) {
	dir, err := j.tree.path(p)
	if err != nil {
		return 0, err
	}
	c, err := j.git(dir, timeout, "fsck", "--full", "--no-dangling", "--no-progress")
	if err != nil {
		return 0, err
	}
	said := &fsckLines{}
	c.Stdout, c.Stderr = said, said
	err = command.Run(ctx, c)
	said.end()
	if command.Code(err) == 1 && said.other == 0 && said.formal > 0 {
		err = nil
	}
	return said.formal, err
}

// fsckLines counts what git fsck says and keeps none of it.
type fsckLines struct {
	line          []byte
	formal, other int
}

func (l *fsckLines) Write(p []byte) (int, error) {
	for _, b := range p {
		if b == '\n' {
			l.end()
		} else if len(l.line) < 256 {
			l.line = append(l.line, b)
		}
	}
	return len(p), nil
}

func (l *fsckLines) end() {
	switch {
	case len(l.line) == 0:
	case fsckForm.Match(l.line):
		l.formal++
	case bytes.HasPrefix(l.line, []byte("notice: ")), bytes.HasPrefix(l.line, []byte("dangling ")): // an empty repository
	default:
		l.other++
	}
	l.line = l.line[:0]
}

var (
	errElsewhere = errors.New("objects or refs are elsewhere")
	errPartial   = errors.New("a part of the history is not asked for")
)

// contained looks for what leads out of the tree, and for what makes git content
// with less than all: git follows a link, an alternate or a commondir to live
// objects of this machine, and asks for nothing that a shallow or partial clone
// leaves out. Forgejo makes none of these. It returns the size of the repository.
func (j *judge) contained(ctx context.Context, p string) (size int64, err error) {
	seen := 0
	err = fs.WalkDir(j.tree.root.FS(), inTree(p), func(at string, d fs.DirEntry, err error) error {
		if err == nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if seen++; seen > maxLinkWalks && err == nil {
			err = fmt.Errorf("more than %d files in one repository", maxLinkWalks)
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := j.tree.root.Stat(at) // refuses a way out
		switch {
		case errors.Is(err, fs.ErrNotExist): // a link to nothing
			return nil
		case err != nil:
			return err
		case info.IsDir(): // by a link: it is not walked, and git goes there
			return errElsewhere
		case !info.Mode().IsRegular():
			return errNotRegular // a FIFO in place of a ref would hold git up for ever
		case info.Size() == 0:
			return nil
		}
		size += info.Size()
		switch rel := strings.TrimPrefix(at, inTree(p)+"/"); {
		case rel == "commondir", rel == "objects/info/alternates":
			return errElsewhere
		case rel == "shallow", rel == "info/grafts", strings.HasSuffix(rel, ".promisor"):
			return errPartial
		}
		return nil
	})
	return size, err
}

// wikis are the repositories beside those of the rows: whether one has a wiki is
// in no row, and what came back of it must be whole.
func (j *judge) wikis(ctx context.Context, repositories []*forgejoRepository) (out []*forgejoRepository) {
	for _, r := range repositories {
		w := &forgejoRepository{name: r.name + ".wiki", dir: strings.TrimSuffix(r.dir, ".git") + ".wiki.git", there: true}
		err := j.tree.isDir(w.dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if w.trouble = err; err == nil {
			w.size, w.trouble = j.contained(ctx, w.dir)
		}
		out = append(out, w)
	}
	return out
}
