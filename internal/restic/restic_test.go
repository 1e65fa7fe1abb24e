package restic

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

func TestVersion(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	got, err := p.client().Version(t.Context())
	if err != nil || !strings.HasPrefix(got, "0.") {
		t.Errorf("%q, %v", got, err)
	}
	for version, want := range map[string]string{"0.17.1": "", "0.19.0": "", "1.0.0": "", "0.17.0": Version, "0.14.0": Version, "soon": Version, "": Version} {
		c := double(t, version, "echo '[]'")
		if _, err := c.Version(t.Context()); verdict.Reason(err) != want {
			t.Errorf("version %q: %v", version, err)
		}
		// No other method asks an old restic.
		if _, err := c.Locks(t.Context()); want != "" && verdict.Reason(err) != want {
			t.Errorf("version %q: Locks: %v", version, err)
		}
	}
	if got := parseVersion([]byte("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n")); got != "0.14.0" {
		t.Errorf("the words of an old one: %q", got)
	}
	c := newClient(t, Local{Path: "/nowhere/restic", Env: []string{}}, p.repository(), Options{Timeout: generous})
	_, err = c.Config(t.Context())
	refused(t, err, Missing, "/nowhere/restic", "install")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	p, other := newRepository(t), newPlace(t)
	other.owner("init") // those of newRepository are one, copied
	first, err := p.client().Config(t.Context())
	if err != nil || first.Version != 2 {
		t.Fatalf("%+v, %v", first, err)
	}
	if second, err := other.client().Config(t.Context()); err != nil || second.ID == first.ID {
		t.Errorf("two repositories with one id: %+v, %v", second, err)
	}
	// By a file with the location in it.
	c := newClient(t, Local{Env: Environ(p.env)}, Repository{File: write(t, filepath.Join(p.dir, "location"), p.location+"\n"), PasswordFile: p.password}, Options{Timeout: generous})
	if again, err := c.Config(t.Context()); err != nil || again != first {
		t.Errorf("%+v, %v", again, err)
	}
	for name, script := range map[string]string{
		"nothing": "", "words": "echo hello", "no id": `echo '{"version":2}'`, "no version": `echo '{"id":"` + anywhere + `"}'`, "cut": `printf '{"version":2,"id":"` + anywhere + `'`,
		"endless": `echo '{"version":2,"id":"` + anywhere + `"}'; head -c 100000 /dev/zero | tr '\0' ' '`,
	} {
		if got, err := double(t, "0.18.1", script).Config(t.Context()); verdict.Reason(err) != Failed {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Each kind of failure has an id that a workflow can branch on.
func TestKindsOfFailure(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	client := func(r Repository) *Client {
		return newClient(t, Local{Env: Environ(p.env)}, r, Options{Timeout: generous})
	}
	_, err := client(Repository{URL: filepath.Join(p.dir, "nothing"), PasswordFile: p.password}).Snapshots(t.Context())
	refused(t, err, NoRepository, "nothing")
	if verdict.Of(verdict.ChecksOf(err)) != verdict.Disproven {
		t.Errorf("%v", err)
	}
	_, err = client(Repository{URL: p.location, PasswordFile: write(t, filepath.Join(p.dir, "wrong"), "wrong")}).Snapshots(t.Context())
	refused(t, err, Password)
	_, err = client(Repository{URL: p.location, PasswordFile: write(t, filepath.Join(p.dir, "empty"), "\n")}).Snapshots(t.Context())
	refused(t, err, Password, "empty password")
	_, err = client(Repository{URL: p.location, PasswordFile: filepath.Join(p.dir, "gone")}).Snapshots(t.Context())
	refused(t, err, Failed, "gone")

	for script, want := range map[string]string{
		"exit 10": NoRepository, "exit 11": Locked, "exit 12": Password, "exit 1": Failed, "exit 2": Failed, "exit 3": Failed, "exit 99": Failed, "kill -9 $$": Failed, "exit 127": Missing,
		`echo 'Fatal: unable to open repository: dial tcp 192.0.2.1:443: connect: no route to host' >&2; exit 1`:                                     Unreachable,
		`echo '{"message_type":"exit_error","code":1,"message":"Fatal: unable to start the sftp session, error: EOF"}' >&2; exit 1`:                  Unreachable,
		`echo '{"message_type":"exit_error","code":1,"message":"Fatal: server response unexpected: unexpected HTTP response (502)"}' >&2; exit 1`:    Unreachable,
		`echo '{"message_type":"exit_error","code":1,"message":"Fatal: server response unexpected: unexpected HTTP response (401): x"}' >&2; exit 1`: Failed,
	} {
		_, err := double(t, "0.18.1", script).Config(t.Context())
		refused(t, err, want)
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v", err)
		}
		if unproven := verdict.Of(verdict.ChecksOf(err)) == verdict.Unproven; unproven == (want == NoRepository || want == Password) {
			t.Errorf("%s: unproven is %v", want, unproven)
		}
	}
}

func TestForeignTextInErrors(t *testing.T) {
	script := `printf '::add-path::/evil\n\033[2Jhttp://u:p@ss@h/ \n' >&2; printf '{"message_type":"exit_error","message":"::set-env name=A::b\\nrest:https://user:hunter2@host/x"}\n' >&2; exit 1`
	_, err := double(t, "0.18.1", script).Config(t.Context())
	refused(t, err, Failed, "::add-path", "::set-env", "http://u:***@h/", "rest:https://user:***@host/x")
	for _, secret := range []string{"hunter2", "p@ss"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%s in %v", secret, err)
		}
	}
	// However much it says.
	_, err = double(t, "0.18.1", "head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1").Config(t.Context())
	refused(t, err, Failed)
	if len(err.Error()) > 3000 {
		t.Errorf("%d bytes of error", len(err.Error()))
	}
}

func TestRepositoryName(t *testing.T) {
	for url, want := range map[string]string{
		"/var/backup": "/var/backup", "sftp:user@host:/x": "sftp:user@host:/x", "rest:https://host/": "rest:https://host/",
		"rest:https://user:hunter2@host:8000/": "rest:https://user:***@host:8000/", "rest:https://user:hunt:er2@2@host/": "rest:https://user:***@host/",
	} {
		if got := (Repository{URL: url}).String(); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}

func TestWhatIsNoRepository(t *testing.T) {
	local, wrapper := Local{Env: []string{}}, Local{Path: "/run/current-system/sw/bin/restic-edge"}
	for name, test := range map[string]struct {
		runner Local
		repo   Repository
		ok     bool
	}{
		"a path":                     {local, Repository{URL: "/x", PasswordFile: "/p"}, true},
		"a file":                     {local, Repository{File: "/x", PasswordFile: "/p", CACert: "/c", Options: []string{"sftp.command=ssh -p 22 h -s sftp"}}, true},
		"nothing":                    {local, Repository{}, false},
		"both":                       {local, Repository{URL: "/x", File: "/y", PasswordFile: "/p"}, false},
		"no password":                {local, Repository{URL: "/x"}, false},
		"a relative password file":   {local, Repository{URL: "/x", PasswordFile: "p"}, false},
		"an option that is a flag":   {local, Repository{URL: "/x", PasswordFile: "/p", Options: []string{"--delete"}}, false},
		"a wrapper":                  {wrapper, Repository{}, true},
		"a wrapper and its location": {wrapper, Repository{URL: "/x"}, false},
		"a wrapper and a password":   {wrapper, Repository{PasswordFile: "/x"}, false},
	} {
		if _, err := New(test.runner, test.repo, Options{Timeout: generous}); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(local, Repository{URL: "/x", PasswordFile: "/p"}, Options{}); err == nil {
		t.Error("no timeout and no error")
	}
	if _, err := New(local, Repository{URL: "/x", PasswordFile: "/p"}, Options{Timeout: 1, CacheDir: "cache"}); err == nil {
		t.Error("a relative cache and no error")
	}
}

// What restic sees of the job, and what everybody on the machine sees of restic.
func TestWhatResticSees(t *testing.T) {
	log := filepath.Join(t.TempDir(), "seen")
	c := double(t, "0.18.1", `{ printf 'arg %s\n' "$@"; env; } >>'`+log+`'; case $1 in list|snapshots) echo '[]';; esac; exit 0`)
	from := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/h", "SSH_AUTH_SOCK=/s", "RESTIC_HOST=hunter2", "RESTIC_PASSWORD=hunter2", "RESTIC_REPOSITORY=hunter2", "RESTIC_PASSWORD_COMMAND=hunter2",
		"AWS_SECRET_ACCESS_KEY=asked", "B2_ACCOUNT_KEY=hunter2", "RCLONE_CONFIG_PASS=hunter2", "GITHUB_TOKEN=hunter2", "INPUT_X=hunter2", "ACTIONS_RUNTIME_TOKEN=hunter2",
	}
	if env := strings.Join(Environ(from, "AWS_*", "RESTIC_*"), "\n"); strings.Contains(env, "hunter2") {
		t.Errorf("picked:\n%s", env)
	}
	local := c.runner
	// A caller who passes on everything must not pass on restic's own either.
	for _, env := range [][]string{Environ(from, "AWS_*", "RESTIC_*"), append(Environ(from, "AWS_*"), "RESTIC_HOST=hunter2", "RESTIC_PASSWORD=hunter2")} {
		local.Env = env
		c := newClient(t, local, c.repo, Options{Timeout: generous, CacheDir: "/c"})
		c.Config(t.Context())
		c.Locks(t.Context())
		c.Snapshots(t.Context())
		c.Ls(t.Context(), anywhere, func(Node) error { return nil })
		c.RestoreSize(t.Context(), anywhere)
		c.Restore(t.Context(), anywhere, "/t", RestoreOptions{Include: []string{"/x"}, Verify: true, LimitDownloadKiB: 5})
		c.Check(t.Context(), "3/52")
	}
	data, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	seen := string(data)
	for _, subcommand := range []string{"cat", "list", "snapshots", "ls", "stats", "restore", "check"} {
		if !strings.Contains(seen, "arg "+subcommand+"\n") {
			t.Errorf("restic %s was not run", subcommand)
		}
	}
	for line := range strings.Lines(seen) {
		line = strings.TrimSpace(line)
		switch {
		case line == "RESTIC_REPOSITORY=rest:http://user:hunter2@127.0.0.1:1/": // its own
		case strings.Contains(line, "hunter2"):
			t.Errorf("restic saw %s", line)
		}
	}
	for _, want := range []string{"AWS_SECRET_ACCESS_KEY=asked\n", "SSH_AUTH_SOCK=/s\n", "HOME=/h\n", "RESTIC_PASSWORD_FILE=" + c.repo.PasswordFile + "\n", "arg --cache-dir=/c\n", "RESTIC_PROGRESS_FPS=1\n"} {
		if !strings.Contains(seen, want) {
			t.Errorf("restic did not see %s", want)
		}
	}
	if n, m := strings.Count(seen, "arg --no-lock\n"), strings.Count(seen, "arg --json\n"); n != m || n == 0 {
		t.Errorf("%d of %d commands without a lock", n, m)
	}
}

// No command of this package leaves a trace in the repository, not even for a
// moment: a lock that comes and goes changes the time of its directory.
func TestNothingIsWritten(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "a", "b/c": "c"})
	before := tree(t, p.location)
	c := p.client()
	_, err1 := c.Config(t.Context())
	_, err2 := c.Locks(t.Context())
	_, err3 := c.Snapshots(t.Context())
	err4 := c.Ls(t.Context(), id, func(Node) error { return nil })
	_, err5 := c.RestoreSize(t.Context(), id)
	_, err6 := c.Restore(t.Context(), id, filepath.Join(p.dir, "out"), RestoreOptions{Verify: true})
	_, err7 := c.Check(t.Context(), All)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, p.location)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(p.dir, ".cache")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a cache in HOME: %v", err)
	}
	// With a cache, it is where it was asked for.
	c = newClient(t, Local{Env: Environ(p.env)}, p.repository(), Options{Timeout: generous, CacheDir: filepath.Join(p.dir, "cache")})
	if err := c.Ls(t.Context(), id, func(Node) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if names := tree(t, filepath.Join(p.dir, "cache")); len(names) < 3 {
		t.Errorf("the cache holds %q", names)
	}
}

// tree is every path below dir, with its time.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			all = append(all, path+" "+info.ModTime().String())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// A wrapper brings the repository along, as NixOS' restic-NAME does.
func TestWrapper(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "abc"})
	wrap := func(name string, lines ...string) *Client {
		lines = append(lines, "export RESTIC_REPOSITORY='"+p.location+"' RESTIC_PASSWORD_FILE='"+p.password+"'")
		path, _ := recording(t, p.dir, name, lines...)
		return newClient(t, Local{Path: path, Env: Environ(p.env)}, Repository{}, Options{Timeout: generous})
	}
	c := wrap("restic-edge")
	everything(t, c, id, filepath.Join(p.dir, "out of the wrapper"))
	// What it may bring along too would hide all snapshots, with exit code 0.
	_, err := wrap("restic-other", "export RESTIC_HOST=other").Snapshots(t.Context())
	refused(t, err, Failed, "1 that restic does not show")
}

// A nice restic is the same one, further behind.
func TestNice(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "abc"})
	log := filepath.Join(p.dir, "niceness")
	path, _ := recording(t, p.dir, "restic", "nice >'"+log+"'")
	c := newClient(t, Local{Path: path, Env: Environ(p.env), Nice: true}, p.repository(), Options{Timeout: generous})
	everything(t, c, id, filepath.Join(p.dir, "out"))
	if b, err := os.ReadFile(log); err != nil || strings.TrimSpace(string(b)) != "10" {
		t.Errorf("%q %v", b, err)
	}
	_, err := newClient(t, Local{Path: "/nowhere/restic", Env: Environ(p.env), Nice: true}, p.repository(), Options{Timeout: generous}).Config(t.Context())
	refused(t, err, Missing)
}
