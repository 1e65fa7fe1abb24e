package recovery

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/restic"
)

var (
	idForm   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	userForm = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`)
	hostForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$`)
)

// ReadRehearsal reads the inputs that say what is restored, from where and
// into what, and where that is done: host is "" for the runner. What is wrong with
// them is recorded in in.
func ReadRehearsal(in *action.Inputs, a *action.Action) (r *Rehearsal, host, user string) {
	host, user = in.Text("run_on"), in.Text("run_as")
	switch {
	case host != "" && !hostForm.MatchString(host):
		in.Wrong("run_on", "the name of a host", fmt.Sprintf("%.100q", host), "leave it empty to restore on the runner")
	case user != "" && (host == "" || !userForm.MatchString(user)):
		in.Wrong("run_as", "the name of a user on the host run_on", fmt.Sprintf("%.100q", user), "leave it empty on the runner, and for the login on a host")
	}
	file := func(name string) string { return in.KeyFile(name) }
	scratch := func() string { return in.RunnerPath("scratch_dir") }
	if host != "" { // what is on the host is looked at there
		file = func(name string) string { return absoluteOne(in, name) }
		scratch = func() string {
			if v := in.Text("scratch_dir"); strings.HasPrefix(v, "~/") {
				return v
			}
			return absoluteOne(in, "scratch_dir")
		}
	}
	r = &Rehearsal{
		Repository: restic.Repository{
			URL: in.Text("repository"), File: file("repository_file"), PasswordFile: file("password_file"), CACert: in.Text("cacert"), Options: in.Lines("restic_options"),
		},
		Program: in.Text("restic_path"), PassEnvironment: in.SomeOf("pass_environment", "AWS_*", "B2_*", "RCLONE_*"), Timeout: max(in.Duration("timeout", time.Second, 24*time.Hour), time.Second),
		RepositoryID: in.Text("repository_id"), AllowTmpfs: in.Bool("allow_tmpfs"), LimitKiB: in.Int("limit_download_kib", 1, 1<<30), ScratchRoot: scratch(),
		Run: fmt.Sprintf("%s#%s.%s", a.Getenv("GITHUB_REPOSITORY"), a.Getenv("GITHUB_RUN_ID"), a.Getenv("GITHUB_RUN_ATTEMPT")),
	}
	a.Mask(password(r.Repository.URL))
	readRepository(in, r.Repository, restic.Wraps(r.Program))
	if _, err := r.Client(nil); err != nil && in.Err() == nil {
		in.Wrong("repository", "a repository as restic -r takes it", err.Error(), "correct the input repository")
	}
	if !idForm.MatchString(r.RepositoryID) {
		in.Wrong("repository_id", "the id of the repository, 64 hex digits", fmt.Sprintf("%.80q", r.RepositoryID), "give what restic cat config shows as id, from the day when it was made: a repository that was made anew answers as well")
	}
	r.Want = Want{
		Host: in.Text("host"), Paths: absolute(in, "paths"), ID: in.Text("snapshot_id"), MaxAge: in.Duration("max_age", time.Minute, 10*365*24*time.Hour),
		MaxSkew: in.Duration("max_skew", 0, time.Hour), Now: time.Now(), MinFiles: uint64(in.Int("min_files", 1, 1<<40)), MinBytes: uint64(in.Int("min_mib", 1, 1<<30)) << 20,
		Shrink: float64(in.Int("min_percent_of_median", 1, 100)) / 100,
	}
	if !hostForm.MatchString(r.Want.Host) {
		in.Wrong("host", "the host name of the snapshot, exactly", fmt.Sprintf("%.100q", r.Want.Host), "give it as restic snapshots shows it; a repository may be shared")
	}
	if len(r.Want.Paths) == 0 {
		in.Wrong("paths", "the absolute paths that the backup is of", "none", "give all of them, as restic snapshots shows them")
	}
	if r.Want.ID != "" && !idForm.MatchString(r.Want.ID) {
		in.Wrong("snapshot_id", "a whole id, 64 hex digits", fmt.Sprintf("%.80q", r.Want.ID), "leave it out to take the newest")
	}
	r.Include = absolute(in, "include")
	for _, p := range r.Include {
		if !slices.ContainsFunc(r.Want.Paths, func(of string) bool { return within(of, p) }) && len(r.Want.Paths) > 0 {
			in.Wrong("include", "paths below one of paths", fmt.Sprintf("%q", p), "correct the input include")
		}
	}
	return r, host, user
}

// readRepository wants one way to a repository, or none beside a wrapper.
func readRepository(in *action.Inputs, repo restic.Repository, wrapped bool) {
	both := (repo.URL == "") == (in.Text("repository_file") == "")
	switch {
	case wrapped && (repo.URL != "" || in.Text("repository_file")+in.Text("password_file") != ""):
		in.Wrong("repository", "no repository and no password beside a wrapper restic-NAME", "some", "leave repository, repository_file and password_file empty")
	case wrapped:
		return
	case both:
		in.Wrong("repository", "the repository in repository, or a file with it in repository_file", "both or neither", "set one of the two; a location with a password in it belongs into a file")
	}
	if !wrapped && in.Text("password_file") == "" {
		in.Wrong("password_file", "a file with the repository's password", "nothing", "set the input password_file")
	}
}

// ReadWaivers reads the input "waive". known are the checks that can be.
func ReadWaivers(in *action.Inputs, known []string) []string {
	ids := strings.Fields(strings.ReplaceAll(in.Text("waive"), ",", " "))
	for _, id := range ids {
		if !slices.Contains(known, id) {
			in.Wrong("waive", "some of "+strings.Join(known, ", "), fmt.Sprintf("%q", id), "correct the input waive")
		}
	}
	return ids
}

// absoluteOne reads a path of a host's.
func absoluteOne(in *action.Inputs, name string) string {
	v := in.Text(name)
	if v != "" && (!path.IsAbs(v) || path.Clean(v) != v) {
		in.Wrong(name, "an absolute path on the host", fmt.Sprintf("%.200q", v), "correct the input "+name)
		return ""
	}
	return v
}

// Waivable are the checks that a rehearsal can do without: which repository
// and snapshot it is, and whether it came back, are none of them.
func Waivable() []string { return []string{Age, Future, Size, Owners} }

// password is the one in a URL, "" if there is none.
func password(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	user, _, at := strings.Cut(rest, "@")
	_, secret, _ := strings.Cut(user, ":")
	if !at {
		return ""
	}
	return secret
}

// absolute reads lines that are absolute paths, without patterns.
func absolute(in *action.Inputs, name string) []string {
	var out []string
	for _, line := range in.Lines(name) {
		if !path.IsAbs(line) || strings.ContainsAny(line, "*?[]\\\x00") {
			in.Wrong(name, "absolute paths, one a line, without patterns", fmt.Sprintf("%.200q", line), "correct the input "+name)
			continue
		}
		out = append(out, filepath.Clean(line))
	}
	return out
}
