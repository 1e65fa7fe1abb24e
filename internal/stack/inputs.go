package stack

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/files"
	"edge-actions/internal/rclone"
	"edge-actions/internal/tfplan"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Config is what the inputs say that every action on a stack shares.
type Config struct {
	dir, workspace, name string
	prefix               string // the input stack
	tofuPath             string
	tofuVersion          versions.Constraint
	backendConfig        []string
	backendSettings      []string
	ociConfigFile        string
	passEnv              []string
	runnerDir            string
	recipients           []age.Recipient
	recipientNames       []string
	identities           []age.Identity
	offsite, rclonePath  string
	accept               []string
	maxShrink            int
	retainCount          int
	retainDays           int
	commandTimeout       time.Duration

	LockTimeout time.Duration

	tool *tool // once it was found
}

// ReadConfig reads the inputs that tofu-plan-with-state-backup and tofu-apply
// share. What is wrong is in in.Err.
func ReadConfig(a *action.Action, in *action.Inputs) *Config {
	c := readConfig(a, in, tfstate.Guards)
	c.maxShrink = in.Int("max_shrink_percent", 0, 100)
	c.retainCount, c.retainDays = in.Int("retain_count", 0, 100000), in.Int("retain_days", 0, 36500)
	return c
}

func readConfig(a *action.Action, in *action.Inputs, guards []string) *Config {
	c := &Config{
		dir: in.WorkspaceDir("path"), prefix: in.Slug("stack"), workspace: in.Slug("workspace"),
		tofuPath: in.Text("tofu_path"), tofuVersion: in.Constraint("tofu_version"),
		ociConfigFile: in.SecretFile("oci_config_file"), passEnv: in.Lines("pass_env"),
		runnerDir: in.RunnerPath("runner_dir"), offsite: in.Text("offsite"), rclonePath: in.Text("rclone_path"),
		accept:         in.SomeOf("accept_state", guards...),
		LockTimeout:    in.Duration("lock_timeout", 0, 6*time.Hour),
		commandTimeout: in.Duration("command_timeout", time.Second, 24*time.Hour),
	}
	c.readBackend(a, in)
	c.readKeys(a, in)
	c.readOffsite(a, in)
	for _, name := range c.passEnv {
		if !envName.MatchString(name) || strings.HasPrefix(name, "TF_CLI_ARGS") || strings.HasPrefix(name, "GITHUB_") || name == "TF_WORKSPACE" || name == "TF_DATA_DIR" {
			in.Wrong("pass_env", "names of variables that a provider needs, one a line", fmt.Sprintf("%q", name), "use the inputs of this action for what OpenTofu itself is to do")
		}
	}
	if c.ociConfigFile != "" {
		if err := checkOCI(c.ociConfigFile, a.Getenv("HOME")); err != nil {
			in.Wrong("oci_config_file", "an OCI configuration whose keys only the runner's user can read", err.Error(), "correct the file")
		}
	}
	if c.name = c.prefix; c.name == "" && c.dir != "" {
		c.name = defaultName(a, c.dir, c.workspace)
	}
	return c
}

var (
	envName    = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	backendKey = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	notSlug    = regexp.MustCompile(`[^A-Za-z0-9._-]+`)
)

// defaultName is repository, path and workspace, so that two stacks of one
// runner never share archives.
func defaultName(a *action.Action, dir, workspace string) string {
	rel, err := filepath.Rel(a.Workspace(), dir)
	if err != nil || rel == "." {
		rel = ""
	}
	repo := a.Getenv("GITHUB_REPOSITORY")
	if repo == "" {
		repo = filepath.Base(a.Workspace())
	}
	var parts []string
	for _, p := range []string{repo, rel, workspace} {
		if p = strings.Trim(notSlug.ReplaceAllString(p, "-"), "-."); p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ".")
}

// readBackend takes key=value lines and paths of files. Values are written to
// a private file later: in an argument everybody on the machine could see them.
func (c *Config) readBackend(a *action.Action, in *action.Inputs) {
	for _, line := range in.Lines("backend_config") {
		key, value, isSetting := strings.Cut(line, "=")
		if isSetting && backendKey.MatchString(strings.TrimSpace(key)) {
			value = strings.TrimSpace(value)
			if unquoted, err := strconv.Unquote(value); err == nil {
				value = unquoted
			}
			c.backendSettings = append(c.backendSettings, fmt.Sprintf("%s = %s", strings.TrimSpace(key), quoteHCL(value)))
			continue
		}
		if err := errors.Join(a.CheckLasting(line), files.CheckSecret(line)); err != nil {
			in.Wrong("backend_config", "lines of key=value, or of the absolute path of a private file on the runner", fmt.Sprintf("%q, which %v", line, err), "correct the line")
			continue
		}
		c.backendConfig = append(c.backendConfig, line)
	}
}

// quoteHCL quotes a string for HCL, in which ${ and %{ begin a template.
func quoteHCL(s string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(strconv.Quote(s))
}

func (c *Config) readKeys(a *action.Action, in *action.Inputs) {
	for _, line := range in.Lines("age_recipients") {
		r, err := parseRecipient(line)
		if err != nil {
			found := fmt.Sprintf("%q", line)
			if strings.HasPrefix(strings.ToUpper(line), "AGE-SECRET-KEY") {
				a.Mask(line)
				found = "a secret key"
			}
			in.Wrong("age_recipients", "public keys (age1… or ssh-ed25519 …), one a line", found, "take the public key: age-keygen -y KEYFILE")
			continue
		}
		c.recipients, c.recipientNames = append(c.recipients, r), append(c.recipientNames, line)
	}
	if len(c.recipients) == 0 && in.Text("age_recipients") != "" && in.Err() == nil {
		in.Wrong("age_recipients", "at least one public key", "only comments", "add the operator's public key")
	}
	if path := in.SecretFile("age_identity_file"); path != "" {
		f, err := os.Open(path)
		if err == nil {
			c.identities, err = age.ParseIdentities(f)
			f.Close()
		}
		if err != nil {
			in.Wrong("age_identity_file", "a file of age identities", "an unreadable one", "make it with age-keygen -o FILE, or leave the input empty")
		}
	}
}

func parseRecipient(line string) (age.Recipient, error) {
	if strings.HasPrefix(line, "ssh-") {
		return agessh.ParseRecipient(line)
	}
	rs, err := age.ParseRecipients(strings.NewReader(line))
	if err != nil {
		return nil, err
	}
	return rs[0], nil
}

func (c *Config) readOffsite(a *action.Action, in *action.Inputs) {
	switch {
	case c.offsite == "" || c.offsite == "none":
	case rclone.IsRemote(c.offsite):
		if _, err := rclone.Find(c.rclonePath); err != nil {
			in.Wrong("rclone_path", "rclone, because offsite is the remote "+c.offsite, fmt.Sprintf("no program %q", c.rclonePath), "install rclone (apt install rclone, brew install rclone), or copy to a directory")
		}
	default:
		err := a.CheckLasting(c.offsite)
		if err == nil {
			var info os.FileInfo
			if info, err = os.Stat(c.offsite); err == nil && !info.IsDir() {
				err = errors.New("is not a directory")
			}
		}
		if err == nil && c.runnerDir != "" && files.Inside(c.runnerDir, c.offsite) {
			err = fmt.Errorf("lies in runner_dir (%s): it would be lost with it", c.runnerDir)
		}
		if err != nil {
			// Not made on the fly: a mount that is missing must be seen.
			in.Wrong("offsite", `an existing directory on another disk or machine, an rclone remote "name:path", or "none"`, fmt.Sprintf("%q: %v", c.offsite, err), "mount it, make it, or correct the input")
		}
	}
}

// checkOCI looks at the modes of the configuration's key files.
func checkOCI(path, home string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var errs []error
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, ok := strings.Cut(lines.Text(), "=")
		if !ok || strings.TrimSpace(key) != "key_file" && strings.TrimSpace(key) != "security_token_file" {
			continue
		}
		value = strings.TrimSpace(value)
		if rest, ok := strings.CutPrefix(value, "~/"); ok {
			value = filepath.Join(home, rest)
		}
		if err := files.CheckSecret(value); err != nil {
			errs = append(errs, fmt.Errorf("%s %q %w", strings.TrimSpace(key), value, err))
		}
	}
	return errors.Join(errs...)
}

// Open finds the tools and makes the Stack. secrets is a directory for what
// must not outlive the run.
func (c *Config) Open(ctx context.Context, a *action.Action, secrets string) (*Stack, error) {
	return c.OpenAs(ctx, a, secrets, Voice{Report: a.Report, Logf: a.Logf, Fence: func(p string) io.WriteCloser { return a.Fence(p) }})
}

// OpenAs is Open with a voice of its own.
func (c *Config) OpenAs(ctx context.Context, a *action.Action, secrets string, to Voice) (*Stack, error) {
	set := map[string]string{}
	if c.ociConfigFile != "" {
		set["OCI_CONFIG_FILE"], set["OCI_CLI_CONFIG_FILE"] = c.ociConfigFile, c.ociConfigFile
	}
	env := tofu.Environ(a.Environ(), c.passEnv, set)
	if c.tool == nil { // else it was done for the stack before this one
		sweepRehearsals(ctx, a)
	}
	if err := c.findTool(ctx, a, env); err != nil {
		return nil, err
	}
	if to.Report == a.Report {
		a.Report.Subject = c.name
	}
	to.Report.Prove("tool-version", c.tofuVersion.String(), filepath.Base(c.tool.path)+" "+c.tool.version)
	dir, archives, data := Layout(c.runnerDir, c.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	backendConfig := c.backendConfig
	if len(c.backendSettings) > 0 {
		file := filepath.Join(secrets, c.name+".tfbackend")
		settings := strings.ReplaceAll(strings.Join(c.backendSettings, "\n")+"\n", stackPlace, c.name)
		if err := files.Write(file, []byte(settings)); err != nil {
			return nil, err
		}
		backendConfig = append(slices.Clone(backendConfig), file)
	}
	commit := a.Getenv("GITHUB_SHA")
	s := &Stack{
		Name: c.name, Workspace: c.workspace, BackendConfig: backendConfig, LockTimeout: c.LockTimeout, Commit: commit, Dir: dir, Checkout: a.Workspace(),
		CLI: &tofu.CLI{
			Path: c.tool.path, Version: c.tool.version, Dir: c.dir, DataDir: data, Timeout: c.commandTimeout, Env: env,
		},
		Archives: &tfstate.Archives{
			Local: tfstate.Dir{Path: archives}, Recipients: c.recipients, RecipientNames: c.recipientNames, Identities: c.identities,
			Stack: c.name, Accept: c.accept, ShrinkPercent: c.maxShrink, RetainCount: c.retainCount, RetainDays: c.retainDays,
			LockTimeout: c.LockTimeout, Logf: to.Logf,
			Run: tfstate.Run{Repository: a.Getenv("GITHUB_REPOSITORY"), Commit: commit, ID: a.Getenv("GITHUB_RUN_ID"), Attempt: a.Getenv("GITHUB_RUN_ATTEMPT"), Job: a.Getenv("GITHUB_JOB")},
		},
		Lasting: a.CheckLasting, Report: to.Report, Logf: to.Logf, Fence: to.Fence,
	}
	var err error
	if s.Archives.Offsite, err = c.openOffsite(a, to.Report); err != nil {
		return nil, err
	}
	return s, nil
}

func (c *Config) openOffsite(a *action.Action, report *verdict.Report) (tfstate.Store, error) {
	switch {
	case c.offsite == "none":
		report.Add(verdict.Check{ID: "backup-offsite", Verdict: verdict.Unproven, Wanted: "a copy off the machine", Got: "there is none", Waived: "offsite: none"})
		return nil, nil
	case rclone.IsRemote(c.offsite):
		path, err := rclone.Find(c.rclonePath)
		return &rclone.Remote{Path: path, Base: (&rclone.Remote{Base: c.offsite}).Location(c.name), Env: rclone.Environ(a.Environ()), Files: tfstate.ArchiveFiles, Timeout: c.commandTimeout}, err
	}
	return tfstate.Dir{Path: filepath.Join(c.offsite, c.name)}, nil
}

// ReadGuard reads the inputs that say what a plan must not do.
func ReadGuard(in *action.Inputs) tfplan.Guard {
	g := tfplan.Guard{
		Types: in.Lines("protected_types"), Addresses: in.Lines("protected_addresses"),
		Allow: in.Lines("allow_destroy"), MaxDestroy: in.Int("max_destroy", 0, 1000000),
	}
	if len(g.Types) == 1 && g.Types[0] == "none" {
		g.Types = nil
	}
	for name, bad := range map[string][]string{"protected_types": tfplan.BadTypes(g.Types), "protected_addresses": tfplan.BadAddresses(g.Addresses)} {
		for _, b := range bad {
			in.Wrong(name, "one type or address a line, with * for a part of a name", fmt.Sprintf("%q", b), "correct the line")
		}
	}
	return g
}
