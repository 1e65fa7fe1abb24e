package runnertest

import (
	"cmp"
	"go/build"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// Token is in the environment of every step, as on a Forgejo runner. A test
// may look for it where it must not be.
const Token = "runnertest-job-token-0f1e2d3c4b5a"

// Runner is one runner in the middle of one job: what a step does to the
// environment, to PATH and to the masks meets the next one.
type Runner struct {
	// Env is the environment of the runner's daemon. All of it leaks in.
	Env map[string]string
	// Secrets are masked, and are what ${{ secrets.X }} stands for.
	Secrets map[string]string
	// Home and ToolCache outlive the job; Workspace and Temp do not.
	Home, ToolCache, Workspace, Temp string

	t     testing.TB
	root  string
	steps int
	env   map[string]string // set by earlier steps
	path  []string          // put in front of PATH by earlier steps
	log   *reporter
}

// New makes a runner with empty directories below t.TempDir.
func New(t testing.TB) *Runner {
	t.Helper()
	realtools.Interruptible()
	root, err := filepath.EvalSymlinks(t.TempDir()) // macOS: /var is a link
	if err != nil {
		t.Fatal(err)
	}
	r := &Runner{t: t, root: root, Secrets: map[string]string{}}
	r.Home = filepath.Join(root, "home")
	r.ToolCache = filepath.Join(root, "toolcache")
	r.Workspace = filepath.Join(root, "job", "workspace")
	r.Temp = filepath.Join(root, "job", "tmp")
	cache, _ := os.UserCacheDir()
	r.Env = map[string]string{
		"PATH": os.Getenv("PATH"),
		"HOME": r.Home,
		"USER": "runner",
		"LANG": "C.UTF-8",
		// So that the launcher builds from the caches of this machine.
		"GOCACHE":    cmp.Or(os.Getenv("GOCACHE"), filepath.Join(cache, "go-build")),
		"GOMODCACHE": cmp.Or(os.Getenv("GOMODCACHE"), filepath.Join(build.Default.GOPATH, "pkg", "mod")),
		// What a daemon that was started by a careless hand has lying about.
		"INPUT_LEFT_BY_THE_DAEMON": "leaked",
		"GITHUB_TOKEN":             Token,
		"FORGEJO_TOKEN":            Token,
		"ACTIONS_RUNTIME_TOKEN":    Token,
	}
	r.mkdir(r.Home, r.ToolCache)
	r.NextJob()
	return r
}

// NextJob ends the job: workspace, RUNNER_TEMP, masks and what steps have set
// are gone; home and tool cache stay.
func (r *Runner) NextJob() {
	r.t.Helper()
	if err := os.RemoveAll(filepath.Join(r.root, "job")); err != nil {
		r.t.Fatal(err)
	}
	r.mkdir(r.Workspace, r.Temp)
	r.env, r.path, r.log = map[string]string{}, nil, &reporter{}
}

// LeftBehind lists the regular files below RUNNER_TEMP, HOME and the
// workspace.
func (r *Runner) LeftBehind() []string {
	r.t.Helper()
	var out []string
	for _, root := range []string{r.Temp, r.Home, r.Workspace} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				out = append(out, path)
			}
			return err
		})
		if err != nil && !os.IsNotExist(err) {
			r.t.Fatal(err)
		}
	}
	slices.Sort(out)
	return out
}

// FilesWith lists the files, of LeftBehind and of the runner's own (outputs,
// environment, summary), that contain the secret.
func (r *Runner) FilesWith(secret string) []string {
	r.t.Helper()
	files := r.LeftBehind()
	own, err := filepath.Glob(filepath.Join(r.root, "job", "step-*", "*"))
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, path := range append(files, own...) {
		data, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		if strings.Contains(string(data), secret) {
			out = append(out, path)
		}
	}
	return out
}

// environ is the environment of one step, in the order in which one layer
// hides the other: daemon, runner, earlier steps, the step's own env.
func (r *Runner) environ(s *Step, files map[string]string) []string {
	env := maps.Clone(r.Env)
	maps.Copy(env, map[string]string{
		"CI":                 "true",
		"GITHUB_ACTIONS":     "true",
		"GITHUB_ACTOR":       "operator",
		"GITHUB_EVENT_NAME":  "push",
		"GITHUB_JOB":         "job",
		"GITHUB_REF":         "refs/heads/main",
		"GITHUB_REF_NAME":    "main",
		"GITHUB_REPOSITORY":  "operator/infra",
		"GITHUB_RUN_ATTEMPT": "1",
		"GITHUB_RUN_ID":      "1001",
		"GITHUB_RUN_NUMBER":  "7",
		"GITHUB_SERVER_URL":  "http://127.0.0.1:1",
		"GITHUB_SHA":         "0123456789abcdef0123456789abcdef01234567",
		"GITHUB_WORKFLOW":    "runnertest",
		"GITHUB_WORKSPACE":   r.Workspace,
		"RUNNER_OS":          map[string]string{"linux": "Linux", "darwin": "macOS"}[runtime.GOOS],
		"RUNNER_ARCH":        map[string]string{"amd64": "X64"}[runtime.GOARCH],
		"RUNNER_TEMP":        r.Temp,
		"RUNNER_TOOL_CACHE":  r.ToolCache,
	})
	if env["RUNNER_ARCH"] == "" {
		env["RUNNER_ARCH"] = runtime.GOARCH // "arm64" on Forgejo and act
	}
	for name, value := range r.env {
		env[name] = r.expand(value)
	}
	maps.Copy(env, s.Env)
	for name, value := range s.inputs {
		env["INPUT_"+strings.ToUpper(name)] = value
	}
	maps.Copy(env, files)
	if len(r.path) > 0 {
		env["PATH"] = strings.Join(r.path, ":") + ":" + env["PATH"]
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// expand is what the engines do to a value from GITHUB_ENV.
func (r *Runner) expand(value string) string {
	for name, secret := range r.Secrets {
		value = strings.ReplaceAll(value, "${{ secrets."+name+" }}", secret)
		value = strings.ReplaceAll(value, "${{secrets."+name+"}}", secret)
	}
	return value
}

func (r *Runner) mkdir(dirs ...string) {
	r.t.Helper()
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
}

// stepDir makes the place for the files of the next step.
func (r *Runner) stepDir() string {
	r.steps++
	dir := filepath.Join(r.root, "job", "step-"+strconv.Itoa(r.steps))
	r.mkdir(dir)
	return dir
}
