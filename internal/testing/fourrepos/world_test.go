package fourrepos

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/forgetest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/testing/realtools"

	"filippo.io/age"
)

func TestMain(m *testing.M) { os.Exit(forgetest.Main(m)) }

// example is where the four repositories come from.
const example = "../../../examples/four-repos"

// world is a forge with the four repositories, one runner, one node, and the cloud
// that the node is in.
type world struct {
	t     *testing.T
	forge *forgetest.Forge
	token string // of the operator, for git
	front string // the forge, with the double of Forgejo and of its runner before it
	suite string // the actions, as a repository that act finds
	base  string // what outlives the runner's jobs
	vars  map[string]string
	env   []string
	host  *lab.Host

	mu   sync.Mutex
	runs map[int64]*run
}

func newWorld(t *testing.T) *world {
	t.Helper()
	realtools.Path(t, "act")
	l := lab.New(t, 1)
	w := &world{t: t, forge: forgetest.New(t), base: t.TempDir(), suite: t.TempDir(), host: l.Hosts[0], runs: map[int64]*run{}}
	w.token = w.forge.Token(t, "all")
	w.serve()
	for _, part := range []string{"actions", "internal", "scripts/action", "scripts/lib", "go.mod", "go.sum"} {
		if err := os.MkdirAll(filepath.Join(w.suite, filepath.Dir(part)), 0o755); err != nil {
			t.Fatal(err)
		}
		realtools.Output(t, "cp", "-R", "../../../"+part, filepath.Join(w.suite, part))
	}
	for _, dir := range []string{"state", "off", "keys"} {
		if err := os.Mkdir(filepath.Join(w.base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	home := colmenatest.Home(t)
	w.env = realtools.Environ("PATH="+colmenatest.Install(t)+":"+os.Getenv("PATH"), "XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "NIX_REMOTE=", "CHECKPOINT_DISABLE=1")
	w.keys(l)
	var node ocitest.Node
	cloud := ocitest.New(t, func(o *ocitest.World) {
		node = o.AddNode(w.host.Name, ocitest.WithPublicIP(""), ocitest.WithPrivateIP(w.host.Address))
	})
	config, err := cloud.WriteConfig(w.path("keys"))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(w.vars, map[string]string{"VERIFY": "oci", "OCI_CONFIG_FILE": config, "OCI_ENDPOINT": cloud.URL})
	if err := w.host.SetState(lab.State{InstanceID: node.InstanceID}); err != nil { // as the cloud has it
		t.Fatal(err)
	}
	w.repositories(l, node)
	return w
}

func (w *world) path(elements ...string) string {
	return filepath.Join(append([]string{w.base}, elements...)...)
}

func (w *world) write(path, text string) string {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// keys makes what the operator has once, and the variables that name it.
func (w *world) keys(l *lab.Lab) {
	w.t.Helper()
	node, err := age.GenerateX25519Identity()
	if err != nil {
		w.t.Fatal(err)
	}
	archive := w.path("keys", "archive.txt")
	realtools.Output(w.t, "age-keygen", "-o", archive)
	signing := w.path("keys", "handoff")
	realtools.Output(w.t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "handoff", "-f", signing)
	public, err := os.ReadFile(signing + ".pub")
	if err != nil {
		w.t.Fatal(err)
	}
	token := func(name string, scopes ...string) string {
		return w.write(w.path("keys", name), w.forge.Token(w.t, scopes...)+"\n")
	}
	w.vars = map[string]string{
		"RUNNER_DIR": w.path("runner"), "STATE_PATH": w.path("state", "edge.tfstate"), "OFFSITE": w.path("off"), "AGE_RECIPIENTS": strings.TrimSpace(realtools.Output(w.t, "age-keygen", "-y", archive)),
		"SIGNING_KEY": signing, "HANDOFF_DIR": w.path("handoff"), "HANDOFF_PATH": w.path("handoff", "handoff.json"), "HANDOFF_SIGNERS": strings.TrimSpace(string(public)),
		"FORGE_URL": w.front, "OWNER": forgetest.User, "INFRA_REPOSITORY": forgetest.User + "/infra", "RUNTIME_REPOSITORY": forgetest.User + "/runtime",
		"DELIVER_TOKEN_FILE": token("deliver", "write:repository"), "COMMENT_TOKEN_FILE": token("comment", "write:issue", "read:user"), "MIRROR_TOKEN_FILE": token("mirror", "read:repository"),
		"DELIVER_DIR": w.path("deliveries"), "SEEN_DIR": w.path("seen"), "CHECKS_DIR": w.path("checks"), "MIRRORS_URL": w.forge.URL + "/public",
		"IDENTITY_FILE": l.Key, "SSH_CONFIG": "none", "TAILNET": "off", "MIN_STORE_FREE_MIB": "100",
		"AGE_KEY_FILE": w.write(w.path("keys", "node.txt"), node.String()+"\n"), "AGE_RECIPIENT": node.Recipient().String(),
	}
}

// repositories makes the four on the forge, each from its directory of the example
// with its workflows where this forge looks for them, and with what is this
// world's own.
func (w *world) repositories(l *lab.Lab, node ocitest.Node) {
	w.t.Helper()
	for _, name := range []string{"infra", "secrets", "runtime", "control-plane"} {
		w.forge.API(w.t, http.MethodPost, "/user/repos", map[string]any{"name": name, "private": true, "default_branch": "main"}, nil)
		dir := w.path("work", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			w.t.Fatal(err)
		}
		realtools.Output(w.t, "cp", "-R", example+"/"+name+"/.", dir)
		if err := os.Mkdir(filepath.Join(dir, ".gitea"), 0o755); err != nil {
			w.t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "workflows"), filepath.Join(dir, ".gitea", "workflows")); err != nil {
			w.t.Fatal(err)
		}
		switch name {
		case "infra":
			w.write(filepath.Join(dir, "stack", "lab.auto.tfvars.json"), fmt.Sprintf(`{"node": {"name": %q, "instance_id": %q, "private_ip": %q, "ssh_host_key": %q}}`, node.Name, node.InstanceID, w.host.Address, w.host.HostKey))
		case "runtime":
			key, err := os.ReadFile(l.Key + ".pub")
			if err != nil {
				w.t.Fatal(err)
			}
			colmenatest.WriteHive(w.t, dir, []colmenatest.Node{{Name: w.host.Name, TargetHost: w.host.Address, AuthorizedKeys: []string{strings.TrimSpace(string(key))}, Label: "four"}})
		case "control-plane":
			contracts, err := os.ReadFile(filepath.Join(dir, "contracts.yaml"))
			if err != nil {
				w.t.Fatal(err)
			}
			w.write(filepath.Join(dir, "contracts.yaml"), strings.NewReplacer("/srv/edge/other-disk", w.path("off"), "/srv/edge", w.base).Replace(string(contracts)))
		}
		forgetest.Git(w.t, dir, "init", "--quiet", "--initial-branch=main")
		// By this act knows which repository it is; it has no password.
		forgetest.Git(w.t, dir, "remote", "add", "origin", w.remote(name, false))
		w.push(name, "main", "the beginning")
	}
}

func (w *world) remote(name string, secret bool) string {
	u, err := url.Parse(w.front)
	if err != nil {
		w.t.Error(err)
		return ""
	}
	u.Path = "/" + forgetest.User + "/" + name + ".git"
	if secret {
		u.User = url.UserPassword(forgetest.User, w.token)
	}
	return u.String()
}

// push commits all of a work tree and pushes it to a branch; the commit's id.
func (w *world) push(name, branch, message string) string {
	w.t.Helper()
	dir := w.path("work", name)
	forgetest.Git(w.t, dir, "add", "--all")
	forgetest.Git(w.t, dir, "commit", "--quiet", "--allow-empty", "--message", message)
	forgetest.Git(w.t, dir, "push", "--quiet", w.remote(name, true), "HEAD:refs/heads/"+branch)
	return forgetest.Git(w.t, dir, "rev-parse", "HEAD")
}

// act runs a workflow of a work tree as a runner would for an event.
func (w *world) act(dir, event, workflow string, args ...string) (log string, err error) {
	u, err := url.Parse(w.front)
	if err != nil {
		return "", err
	}
	all := []string{event, "--workflows", ".gitea/workflows/" + workflow, "--platform", "self-hosted=-self-hosted", "--rm", "--github-instance", u.Host,
		"--local-repository", "operator/edge-actions@v1=" + w.suite, "--env", "GITHUB_SERVER_URL=" + w.front}
	for _, kv := range w.env {
		if strings.HasPrefix(kv, "XDG_CONFIG_HOME=") || strings.HasPrefix(kv, "NIX_REMOTE=") || strings.HasPrefix(kv, "CHECKPOINT_DISABLE=") {
			all = append(all, "--env", kv)
		}
	}
	for name, value := range w.vars {
		all = append(all, "--var", name+"="+value)
	}
	cmd := exec.Command("act", append(all, args...)...)
	cmd.Dir, cmd.Env = dir, w.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// green and red run a workflow of a repository's work tree and want it to end so;
// says are words of the log.
func (w *world) green(name, event, workflow string, args []string, says ...string) string {
	w.t.Helper()
	return w.want(true, name, event, workflow, args, says)
}

func (w *world) red(name, event, workflow string, args []string, says ...string) string {
	w.t.Helper()
	return w.want(false, name, event, workflow, args, says)
}

func (w *world) want(green bool, name, event, workflow string, args, says []string) string {
	w.t.Helper()
	log, err := w.act(w.path("work", name), event, workflow, args...)
	if (err == nil) != green {
		w.t.Fatalf("%s of %s: wanted green %t, got %v\n%s", workflow, name, green, err, log)
	}
	for _, text := range says {
		if !strings.Contains(log, text) {
			w.t.Errorf("%s of %s does not say %q:\n%s", workflow, name, text, log)
		}
	}
	return log
}
