package contracts

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/rclone"
	"edge-actions/internal/verdict"

	"github.com/bmatcuk/doublestar/v4"
	"go.yaml.in/yaml/v4"
)

// What an operator leaves out.
const (
	defaultCheckParts = 52 // a weekly run reads all of it in a year
	defaultSample     = 20
	defaultSkew       = Duration(5 * time.Minute)
)

const (
	maxFile  = 1 << 20 // far more than a person writes
	maxParts = 9999    // restic.Check's
	maxAge   = 366 * 24 * time.Hour
	// maxWaiver is how far away the end of a waiver may be: one that never ends
	// is a check that nobody makes.
	maxWaiver = 366 * 24 * time.Hour
)

var (
	nameForm    = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	hostForm    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`)
	userForm    = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	idForm      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	unitForm    = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,200}$`)
	programForm = regexp.MustCompile(`^(/[^/\x00]+)*/?[A-Za-z0-9_][A-Za-z0-9_.-]*$`)
	wrapperForm = regexp.MustCompile(`^restic-[A-Za-z0-9_.-]+$`)
	checkForm   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)
)

// Parse reads an operator's file and refuses what it does not know. Every
// problem is a refusal named "input-contracts", joined. now is what the ends
// of waivers are held against.
func Parse(data []byte, now time.Time) (*File, error) {
	f := &File{}
	p := &problems{}
	if len(data) > maxFile {
		p.wrong("", fmt.Sprintf("at most %d bytes", maxFile), fmt.Sprintf("%d", len(data)))
		return nil, p.err()
	}
	if err := yaml.Load(data, f, yaml.WithKnownFields()); err != nil {
		p.wrong("", "one YAML document with the lists contracts and waivers, and known fields only", fmt.Sprintf("%.600q", err.Error()))
		return nil, p.err()
	}
	if len(f.Contracts) == 0 {
		p.wrong("", "at least one contract", "none")
	}
	names := map[string]bool{}
	for i := range f.Contracts {
		c := &f.Contracts[i]
		if names[c.Name] {
			p.wrong(c.Name, "a name of its own for each contract", "one that is there twice")
		}
		names[c.Name] = true
		c.validate(p)
	}
	for _, w := range f.Waivers {
		w.validate(p, names, now)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	for i := range f.Contracts {
		f.Contracts[i].complete()
	}
	return f, nil
}

// problems collects everything that is wrong with a file.
type problems struct{ errs []error }

func (p *problems) wrong(name, wanted, got string) {
	if name != "" {
		wanted = fmt.Sprintf("in %.100q: %s", name, wanted)
	}
	p.errs = append(p.errs, verdict.Refuse("input-contracts", wanted, got, "correct the file of contracts; the README of backup-validate has one of each kind"))
}

func (p *problems) err() error { return errors.Join(p.errs...) }

func (c *Contract) validate(p *problems) {
	bad := func(wanted, got string) { p.wrong(c.Name, wanted, got) }
	if !nameForm.MatchString(c.Name) {
		bad("a name of lower-case letters, digits, '.', '_' and '-', at most 64", fmt.Sprintf("%.100q", c.Name))
	}
	if c.Host != "" && !hostForm.MatchString(c.Host) {
		bad("host, the name of a host", fmt.Sprintf("%.100q", c.Host))
	}
	if c.User != "" && (c.Host == "" || !userForm.MatchString(c.User)) {
		bad("user, the name of a user on host", fmt.Sprintf("%.100q", c.User))
	}
	if d := time.Duration(c.MaxAge); d < time.Minute || d > maxAge {
		bad("max_age, from 1m to 366d", d.String())
	}
	for _, u := range c.Units {
		if !unitForm.MatchString(u) || strings.HasSuffix(u, ".service") || strings.HasSuffix(u, ".timer") || u[0] == '-' {
			bad("units, names of services without .service, each with a timer of its name", fmt.Sprintf("%.100q", u))
		}
	}
	kinds := 0
	if c.Restic != nil {
		kinds++
		c.Restic.validate(c.Host, bad)
	}
	if c.LFS != nil {
		kinds++
		c.LFS.validate(bad)
	}
	if c.State != nil {
		kinds++
		c.State.validate(bad)
	}
	if kinds != 1 {
		bad("exactly one of restic, lfs, state", fmt.Sprintf("%d of them", kinds))
	}
}

// wrapped reports whether the program knows its repository by itself.
func (r *Restic) wrapped() bool { return wrapperForm.MatchString(path.Base(r.Program)) }

func (r *Restic) validate(host string, bad func(wanted, got string)) {
	program("restic.program", r.Program, bad)
	there := r.Repository != "" || r.RepositoryFile != "" || r.PasswordFile != ""
	switch {
	case r.wrapped() && there:
		bad("no repository and no password beside the wrapper "+r.Program, "some")
	case r.wrapped():
	case (r.Repository == "") == (r.RepositoryFile == ""):
		bad("restic.repository, or restic.repository_file, or a program restic-NAME that knows it", "both or none")
	case r.PasswordFile == "":
		bad("restic.password_file", "none")
	}
	if _, rest, ok := strings.Cut(r.Repository, "://"); ok && strings.Contains(strings.SplitN(rest, "/", 2)[0], "@") && strings.Contains(strings.SplitN(rest, "@", 2)[0], ":") {
		bad("restic.repository without a password in it", "one with a password; put it into a file and name that in repository_file")
	}
	for name, value := range map[string]string{"repository_file": r.RepositoryFile, "password_file": r.PasswordFile, "cacert": r.CACert} {
		file("restic."+name, value, bad)
	}
	if !idForm.MatchString(r.RepositoryID) {
		bad("restic.repository_id, 64 hex digits, as restic cat config showed it when it was made", fmt.Sprintf("%.80q", r.RepositoryID))
	}
	if r.SnapshotHost == "" && host == "" || r.SnapshotHost != "" && !hostForm.MatchString(r.SnapshotHost) {
		bad("restic.snapshot_host, the host name in the snapshots (without it, that of host)", fmt.Sprintf("%.100q", r.SnapshotHost))
	}
	if len(r.Paths) == 0 {
		bad("restic.paths, all paths of the backup", "none")
	}
	for _, v := range r.Paths {
		if !path.IsAbs(v) || path.Clean(v) != v || strings.ContainsAny(v, "*?[]\\\x00") {
			bad("restic.paths, absolute paths in their shortest form, without patterns", fmt.Sprintf("%.200q", v))
		}
	}
	if d := time.Duration(r.MaxSkew); d > time.Hour {
		bad("restic.max_skew, at most 1h", d.String())
	}
	if r.MinPercentOfMedian < 0 || r.MinPercentOfMedian > 100 {
		bad("restic.min_percent_of_median, 0 to 100", fmt.Sprint(r.MinPercentOfMedian))
	}
	if r.CheckParts < 0 || r.CheckParts > maxParts {
		bad(fmt.Sprintf("restic.check_parts, 1 to %d", maxParts), fmt.Sprint(r.CheckParts))
	}
	for _, v := range r.Exclude {
		if !path.IsAbs(v) || path.Clean(v) != v || !doublestar.ValidatePattern(v) || strings.Trim(v, "/*") == "" {
			bad("restic.exclude, absolute paths or patterns of such (**, *, ?)", fmt.Sprintf("%.200q", v))
		}
	}
}

func (l *LFS) validate(bad func(wanted, got string)) {
	program("lfs.program", l.Program, bad)
	if !rclone.IsRemote(l.Remote) {
		bad(`lfs.remote, an rclone remote "name:path"`, fmt.Sprintf("%.200q", l.Remote))
	}
	if !path.IsAbs(l.Database) || path.Clean(l.Database) != l.Database {
		bad("lfs.database, the absolute path of Forgejo's SQLite file", fmt.Sprintf("%.200q", l.Database))
	}
	if l.Sample < 0 || l.Sample > 100_000 {
		bad("lfs.sample, 1 to 100000", fmt.Sprint(l.Sample))
	}
	file("lfs.config", l.Config, bad)
}

func (s *State) validate(bad func(wanted, got string)) {
	program("state.program", s.Program, bad)
	if !nameForm.MatchString(s.Stack) {
		bad("state.stack, the input stack of tofu-plan-with-state-backup", fmt.Sprintf("%.100q", s.Stack))
	}
	for name, value := range map[string]string{"runner_dir": s.RunnerDir, "age_identity_file": s.IdentityFile} {
		if file("state."+name, value, bad); value == "" {
			bad("state."+name, "none")
		}
	}
	if !rclone.IsRemote(s.Offsite) && !path.IsAbs(s.Offsite) {
		bad("state.offsite, a directory or an rclone remote, as the input offsite of that action", fmt.Sprintf("%.200q", s.Offsite))
	}
	if s.MinResources < 0 {
		bad("state.min_resources, not negative", fmt.Sprint(s.MinResources))
	}
}

func program(field, value string, bad func(wanted, got string)) {
	if value != "" && !programForm.MatchString(value) {
		bad(field+", a name on PATH or an absolute path", fmt.Sprintf("%.200q", value))
	}
}

// file wants a path of the machine's, which may begin with the home of the user.
func file(field, value string, bad func(wanted, got string)) {
	if value != "" && !path.IsAbs(value) && !strings.HasPrefix(value, "~/") {
		bad(field+", an absolute path, or one that begins with ~/", fmt.Sprintf("%.200q", value))
	}
}

func (w *Waiver) validate(p *problems, contracts map[string]bool, now time.Time) {
	who := "waiver of " + w.Check
	if !contracts[w.Contract] {
		p.wrong(who, "contract, the name of one in this file", fmt.Sprintf("%.100q", w.Contract))
	}
	if !checkForm.MatchString(w.Check) {
		p.wrong(who, "check, the id of a check as the report shows it", fmt.Sprintf("%.100q", w.Check))
	}
	if len(strings.Fields(w.Reason)) == 0 {
		p.wrong(who, "reason, why this is accepted", "none")
	}
	if end := time.Time(w.Until); end.IsZero() || end.After(now.Add(maxWaiver)) {
		p.wrong(who, "until, its last day, at most a year from now", w.Until.String())
	}
}

// complete puts in what was left out.
func (c *Contract) complete() {
	if r := c.Restic; r != nil {
		if r.SnapshotHost == "" {
			r.SnapshotHost = c.Host
		}
		if r.CheckParts == 0 {
			r.CheckParts = defaultCheckParts
		}
		if r.MaxSkew == 0 {
			r.MaxSkew = defaultSkew
		}
	}
	if l := c.LFS; l != nil && l.Sample == 0 {
		l.Sample = defaultSample
	}
}

// Hosts are the names of the hosts that contracts are looked at on, each once.
func (f *File) Hosts() []string {
	var hosts []string
	for _, c := range f.Contracts {
		if c.Host != "" && !slices.Contains(hosts, c.Host) {
			hosts = append(hosts, c.Host)
		}
	}
	return hosts
}
