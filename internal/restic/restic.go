// Package restic reads backup repositories with the restic command line, on
// this machine: where a host's is meant, the whole program runs there (package
// agent). It knows a fixed set of subcommands and flags, all
// of which leave the repository as it is, its locks included, and a gate that
// lets nothing else pass. It refuses to believe an exit code alone: an answer
// counts when it is whole, and about what was asked.
package restic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"
)

// The ids of the refusals of this package. All are unproven but Version,
// NoRepository, Password and Damaged: those were looked at and do not hold.
const (
	// Missing: there is no restic where it was looked for.
	Missing = "restic-missing"
	// Version: it is older than 0.17.1, whose exit codes can be told apart.
	Version = "restic-version"
	// NoRepository: there is no repository at the location (exit code 10).
	NoRepository = "restic-repository"
	// Password: it does not open the repository (exit code 12).
	Password = "restic-password"
	// Locked: somebody holds the repository (exit code 11).
	Locked = "restic-locked"
	// Unreachable: the repository's server could not be talked to.
	Unreachable = "restic-unreachable"
	// Timeout: restic did not end before the deadline.
	Timeout = "restic-timeout"
	// Damaged: a check ran to its end and found errors.
	Damaged = "restic-damaged"
	// Failed: anything else, an answer that can't be read among it.
	Failed = "restic-failed"
)

// Oldest is the first restic that says a wrong password apart (12).
const Oldest = "0.17.1"

const install = "install restic " + Oldest + " or newer (NixOS: pkgs.restic; brew install restic), or give its path"

// Repository says where a repository is and how it is opened. Secrets are in
// files: a location with a password in it too, though one in URL is kept out of
// arguments and messages. The zero Repository is for a wrapper that knows
// (NixOS' restic-NAME).
type Repository struct {
	URL          string // as after -r: a path, "sftp:…", "rest:https://…", "s3:…"
	File         string // instead of URL, a file with the location in it
	PasswordFile string
	// CACert and TLSClientCert are PEM files for a rest server.
	CACert, TLSClientCert string
	// Options are backend options, "sftp.command=…" without -o.
	Options []string
}

// String names the repository for people, without a password.
func (r Repository) String() string {
	switch {
	case r.URL != "":
		return redact(r.URL)
	case r.File != "":
		return "the repository in " + r.File
	}
	return "the repository of the wrapper"
}

var option = regexp.MustCompile(`^[a-z0-9]+\.[a-z0-9-]+=`)

func (r Repository) check(wrapper bool) error {
	var errs []error
	for name, path := range map[string]string{"repository file": r.File, "password file": r.PasswordFile, "CA certificate": r.CACert, "client certificate": r.TLSClientCert} {
		if path != "" && !strings.HasPrefix(path, "/") {
			errs = append(errs, fmt.Errorf("wanted an absolute path for the %s, found %q", name, path))
		}
	}
	for _, o := range r.Options {
		if !option.MatchString(o) {
			errs = append(errs, fmt.Errorf("wanted a restic option of the form backend.name=value, found %q", o))
		}
	}
	switch there := r.URL != "" || r.File != "" || r.PasswordFile != ""; {
	case wrapper && there:
		// A location beside the wrapper's own is an error of restic's, or, worse,
		// another repository with the wrapper's password.
		errs = append(errs, errors.New("a restic-NAME wrapper knows its repository: give no location and no password file with it"))
	case wrapper:
	case (r.URL == "") == (r.File == ""):
		errs = append(errs, errors.New("wanted either a repository or a file with its location, found both or none"))
	case r.PasswordFile == "":
		errs = append(errs, errors.New("wanted a file with the repository's password, found none"))
	}
	return errors.Join(errs...)
}

// environ is what says to restic which repository is meant. Not by arguments,
// which everybody on a machine can read.
func (r Repository) environ() map[string]string {
	env := map[string]string{}
	for name, value := range map[string]string{"RESTIC_REPOSITORY": r.URL, "RESTIC_REPOSITORY_FILE": r.File, "RESTIC_PASSWORD_FILE": r.PasswordFile} {
		if value != "" {
			env[name] = value
		}
	}
	return env
}

// Options are the bounds of a Client's commands.
type Options struct {
	// Timeout is for each command; it must be set. restic itself tries to reach
	// a server for a quarter of an hour.
	Timeout time.Duration
	// Grace is for restic to end after it was told to, 10 s if zero.
	Grace time.Duration
	// CacheDir is where restic keeps what it has read, below a directory of the
	// caller's; without it nothing is kept. What comes from a cache is no
	// evidence of what a server has: give a fresh one for a proof.
	CacheDir string
}

// Client asks one repository. Its methods may be called concurrently.
type Client struct {
	runner  Local
	repo    Repository
	options Options
	known   *known
}

// known is what was found out about restic, once for a client and its copies.
type known struct {
	mu      sync.Mutex
	version string
}

// New returns a client that runs restic as runner says.
func New(runner Local, repo Repository, o Options) (*Client, error) {
	if o.Timeout <= 0 {
		return nil, errors.New("asking a restic repository: a timeout is required")
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.CacheDir != "" && !strings.HasPrefix(o.CacheDir, "/") {
		return nil, fmt.Errorf("wanted an absolute path for restic's cache, found %q", o.CacheDir)
	}
	if err := repo.check(runner.wrapper()); err != nil {
		return nil, err
	}
	return &Client{runner: runner, repo: repo, options: o, known: &known{}}, nil
}

// WithTimeout returns a client for longer or shorter commands.
func (c *Client) WithTimeout(d time.Duration) *Client {
	other := *c
	other.options.Timeout = d
	return &other
}

// Repository is the one that the client asks.
func (c *Client) Repository() Repository { return c.repo }

// Version returns restic's version, or a refusal if it is too old. Every other
// method asks for it first.
func (c *Client) Version(ctx context.Context) (string, error) {
	c.known.mu.Lock()
	defer c.known.mu.Unlock()
	if c.known.version != "" {
		return c.known.version, nil
	}
	out, err := c.output(ctx, 64<<10, "version", "--json")
	if err != nil {
		return "", err
	}
	version := parseVersion(out)
	constraint, err := versions.ParseConstraint(">= " + Oldest)
	if err != nil {
		return "", err
	}
	if err := constraint.Check("restic", version, install); err != nil {
		if r := (*verdict.Refusal)(nil); errors.As(err, &r) {
			r.ID = Version
		}
		return "", err
	}
	c.known.version = version
	return version, nil
}

// parseVersion reads both forms: before 0.17 there is no JSON.
func parseVersion(out []byte) string {
	var said struct{ Version string }
	if json.Unmarshal(out, &said) == nil {
		return said.Version
	}
	words := strings.Fields(string(out))
	if len(words) > 1 && words[0] == "restic" {
		return words[1]
	}
	return fmt.Sprintf("%.100q", out)
}

// ask runs a subcommand on the repository, and passes its output to read as it
// comes. What read returns ends restic; without an error it has to read all.
func (c *Client) ask(ctx context.Context, stderr *stderr, read func(io.Reader) error, args ...string) error {
	if _, err := c.Version(ctx); err != nil {
		return err
	}
	flags := []string{"--json", "--no-lock"}
	if c.options.CacheDir == "" {
		flags = append(flags, "--no-cache")
	} else {
		flags = append(flags, "--cache-dir="+c.options.CacheDir)
	}
	if c.repo.CACert != "" {
		flags = append(flags, "--cacert="+c.repo.CACert)
	}
	if c.repo.TLSClientCert != "" {
		flags = append(flags, "--tls-client-cert="+c.repo.TLSClientCert)
	}
	for _, o := range c.repo.Options {
		flags = append(flags, "--option="+o)
	}
	return c.stream(ctx, stderr, read, append(args, flags...)...)
}

var errStopped = errors.New("the reader stopped")

func (c *Client) stream(ctx context.Context, stderr *stderr, read func(io.Reader) error, args ...string) error {
	if err := gate(args); err != nil {
		return err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pr, pw := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := c.runner.run(running, call{args: args, env: c.repo.environ(), stdout: pw, stderr: stderr, timeout: c.options.Timeout, grace: c.options.Grace})
		pw.CloseWithError(err)
		ended <- err
	}()
	unread := read(pr)
	if unread == nil {
		_, unread = io.Copy(io.Discard, pr) // what comes after the answer is not looked at, but restic's end is
	} else {
		cancel(errStopped)
		pr.CloseWithError(errStopped)
	}
	err := <-ended
	if err != nil && !errors.Is(err, errStopped) {
		// How restic ended explains why its output could not be read, and not
		// the other way round.
		return c.failed(ctx, args[0], err, stderr)
	}
	return unread
}

// output is stream for a short answer.
func (c *Client) output(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	var out []byte
	err := c.stream(ctx, &stderr{}, readAll(&out, limit), args...)
	return out, err
}

func (c *Client) answer(ctx context.Context, limit int64, args ...string) ([]byte, error) {
	var out []byte
	err := c.ask(ctx, &stderr{}, readAll(&out, limit), args...)
	return out, err
}

func readAll(out *[]byte, limit int64) func(io.Reader) error {
	return func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, limit+1))
		if err == nil && int64(len(b)) > limit {
			err = unreadable("an answer of at most %d bytes", limit, "more")
		}
		*out = b
		return err
	}
}
