// Package colmena drives Colmena, which evaluates and builds a hive's systems
// and copies them to their hosts, and nixos-rebuild for a host's first deploy.
// It never has Colmena activate anything: that sets the profile first, has no
// deadline and no way back (zhaofengli/colmena#38, #315). It refuses a
// selection that is not exactly the nodes that were asked for; Colmena itself
// only warns of an empty one and ends with 0.
package colmena

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"
)

// CLI is Colmena with the hive that it works on.
type CLI struct {
	Path string // of colmena
	// Rebuild is the path of nixos-rebuild; only Bootstrap needs it.
	Rebuild string
	// Dir is where the hive is, and Config its file as -f takes it: "" finds
	// flake.nix or hive.nix there.
	Dir, Config string
	// SSHConfig is the file that pins the hosts' keys; WriteSSHConfig makes it.
	// It is not needed for Eval.
	SSHConfig string
	Impure    bool
	// NixOptions are names and values for --nix-option.
	NixOptions [][2]string
	// BuildOnTarget has each host build its own system.
	BuildOnTarget bool
	Env           []string // as Environ makes it
	// Log takes what the tools print; foreign text.
	Log io.Writer
	// EvalTimeout and BuildTimeout bound Eval, and Push and Bootstrap.
	EvalTimeout, BuildTimeout time.Duration
}

// Environ picks what Colmena and its children may see: what the tools need to
// find themselves, Nix' own settings, the agent.
func Environ(from []string) []string {
	allow := append(slices.Clone(command.Base), "SSH_AUTH_SOCK", "NIX_PATH", "NIX_CONFIG", "NIX_REMOTE", "NIX_PROFILES", "NIX_CONF_DIR", "NIX_USER_CONF_FILES", "NIX_STATE_DIR", "XDG_*")
	// Unset, Colmena's messages are hidden but for errors.
	return command.Environ(from, allow, map[string]string{"RUST_LOG": "info"})
}

// version is at the end of "colmena 0.5.0-pre" and "nix (Nix) 2.28.3".
var version = regexp.MustCompile(`\b([0-9]+\.[0-9]+(\.[0-9]+)?)`)

// CheckVersion returns the version of a tool that prints it with --version, or
// a refusal named "tool-version" unless it satisfies the constraint.
func CheckVersion(ctx context.Context, path, name string, env []string, c versions.Constraint, install string) (string, error) {
	out, err := command.Output(ctx, command.Cmd{Path: path, Args: []string{"--version"}, Env: env, Timeout: 30 * time.Second, Grace: time.Second}, 64<<10)
	if err != nil {
		return "", verdict.CannotTell("tool-version", fmt.Sprintf("%s %s", name, c), err, install)
	}
	// A pre-release is held to the version that it leads to.
	found := version.FindString(string(out))
	if found == "" {
		found = fmt.Sprintf("%.100s", out)
	}
	return found, c.Check(name, found, install)
}

// Facts are what the hive says of one node.
type Facts struct {
	TargetHost string   `json:"target_host"` // "" if the node has none
	TargetUser string   `json:"target_user"` // "" is the runner's own user
	TargetPort int      `json:"target_port"` // 0 is ssh's own choice
	Tags       []string `json:"tags"`
	HostName   string   `json:"host_name"`
	System     string   `json:"system"` // the store path of its system, built or not
	SSH        bool     `json:"ssh"`    // services.openssh.enable
	// Keys are the authorized keys of the users "root" and TargetUser.
	Keys map[string][]string `json:"keys"`
	// AgeKeyFile is where sops-nix looks for its key; "" without sops-nix.
	AgeKeyFile string `json:"age_key_file"`
}

// expression is a function of the hive, as Colmena's eval takes it. It needs
// nothing but builtins. Names come in as JSON.
const expression = `{ nodes, ... }:
let
  wanted = builtins.fromJSON ''%s'';
  text = x: if x == null then "" else toString x;
  keys = users: user:
    if user == "" || !(builtins.hasAttr user users) then [ ]
    else
      let k = users.${user}.openssh.authorizedKeys; in
      (k.keys or [ ]) ++ (map builtins.readFile (k.keyFiles or [ ]));
  facts = name:
    let
      c = nodes.${name}.config;
      user = text (c.deployment.targetUser or null);
    in {
      target_host = text (c.deployment.targetHost or null);
      target_user = user;
      target_port = let p = c.deployment.targetPort or null; in if p == null then 0 else p;
      tags = c.deployment.tags or [ ];
      host_name = text (c.networking.hostName or null);
      system = builtins.unsafeDiscardStringContext c.system.build.toplevel.outPath;
      ssh = c.services.openssh.enable or false;
      keys = builtins.listToAttrs (map (u: { name = u; value = keys c.users.users u; }) [ user "root" ]);
      age_key_file = text (c.sops.age.keyFile or null);
    };
in {
  nodes = builtins.attrNames nodes;
  facts = builtins.listToAttrs (map (name: { inherit name; value = facts name; })
    (builtins.filter (name: builtins.hasAttr name nodes) wanted));
}
`

// nodeName is a name that Colmena takes for itself and not for a pattern, a
// list or a tag.
var nodeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// CheckName returns an error for a name that Colmena would take for more than
// one node.
func CheckName(name string) error {
	if !nodeName.MatchString(name) {
		return fmt.Errorf("%q is no name of a node (letters, digits, '.', '_' and '-'; no pattern, no @tag)", name)
	}
	return nil
}

// maxEval bounds the answer: a thousand nodes have less.
const maxEval = 32 << 20

// Eval evaluates the hive for the named nodes. Unless all of them are in it,
// that is a refusal named "selection".
func (c *CLI) Eval(ctx context.Context, names []string) (map[string]Facts, error) {
	if len(names) == 0 {
		return nil, verdict.Refuse("selection", "the names of nodes", "none", "set the input nodes")
	}
	for _, name := range names {
		if err := CheckName(name); err != nil {
			return nil, err
		}
	}
	list, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	out, err := command.Output(ctx, command.Cmd{
		Path: c.Path, Args: c.args("eval", "-E", fmt.Sprintf(expression, list)), Dir: c.Dir, Env: c.Env, Stderr: c.Log,
		Timeout: c.EvalTimeout, Grace: 10 * time.Second,
	}, maxEval)
	if err != nil {
		return nil, verdict.CannotTell("evaluation", "a hive that evaluates", err, "see what Nix says above; run colmena eval in the checkout")
	}
	var hive struct {
		Nodes []string         `json:"nodes"`
		Facts map[string]Facts `json:"facts"`
	}
	if err := json.Unmarshal(out, &hive); err != nil {
		return nil, verdict.CannotTell("evaluation", "the hive's facts as JSON", fmt.Errorf("%.300q: %w", out, err), "see what Colmena says above")
	}
	var missing []string
	for _, name := range names {
		if _, ok := hive.Facts[name]; !ok {
			missing = append(missing, strconv.Quote(name))
		}
	}
	if len(missing) > 0 {
		return nil, verdict.Refuse("selection", fmt.Sprintf("the nodes %q in the hive", names), fmt.Sprintf("none of the name %s; the hive has %.2000q", strings.Join(missing, ", "), hive.Nodes),
			"correct the input nodes, or the hive")
	}
	return hive.Facts, nil
}

// Push builds the systems of the named nodes and copies them there. Nothing is
// activated.
func (c *CLI) Push(ctx context.Context, names []string, parallel int) error {
	err := c.apply(ctx, names, parallel, "apply", "push")
	if err != nil {
		return verdict.CannotTell("push", "the systems built and on their hosts", err, "see what Colmena says above; nothing was activated")
	}
	return nil
}

// UploadKeys uploads the keys of deployment.keys to the named nodes.
func (c *CLI) UploadKeys(ctx context.Context, names []string, parallel int) error {
	err := c.apply(ctx, names, parallel, "upload-keys")
	if err != nil {
		return verdict.CannotTell("upload-keys", "the keys of deployment.keys on their hosts", err, "see what Colmena says above; no system was activated")
	}
	return nil
}

func (c *CLI) apply(ctx context.Context, names []string, parallel int, words ...string) error {
	if len(names) == 0 || c.SSHConfig == "" {
		return errors.New("running colmena: neither nodes nor pinned host keys may be missing") // it would take that for all is well
	}
	args := append(words, "--on", strings.Join(names, ","), "--parallel", strconv.Itoa(parallel))
	if c.BuildOnTarget && words[0] == "apply" {
		args = append(args, "--build-on-target")
	}
	return c.run(ctx, c.Path, c.args(args...), map[string]string{"SSH_CONFIG_FILE": c.SSHConfig})
}

// args puts the global flags in front.
func (c *CLI) args(words ...string) []string {
	args := []string{"--color", "never"}
	if c.Config != "" {
		args = append(args, "--config", c.Config)
	}
	if c.Impure {
		args = append(args, "--impure")
	}
	for _, o := range c.NixOptions {
		args = append(args, "--nix-option", o[0], o[1])
	}
	return append(args, words...)
}

func (c *CLI) run(ctx context.Context, path string, args []string, set map[string]string) error {
	env := slices.Clone(c.Env)
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return command.Run(ctx, command.Cmd{Path: path, Args: args, Dir: c.Dir, Env: env, Stdout: c.Log, Stderr: c.Log, Timeout: c.BuildTimeout, Grace: 10 * time.Second})
}

// Bootstrap has nixos-rebuild build a node's system on the host and switch to
// it, with the boot loader installed anew: the way of a host's first deploy,
// which has no system of ours to go back to. node is an output of the flake's
// nixosConfigurations, login is "user@host".
func (c *CLI) Bootstrap(ctx context.Context, node, login string) error {
	if c.SSHConfig == "" {
		return errors.New("running nixos-rebuild: the host's key must be pinned")
	}
	args := []string{"switch", "--flake", ".#" + node, "--target-host", login, "--build-host", login, "--install-bootloader"}
	if !strings.HasPrefix(login, "root@") {
		args = append(args, "--use-remote-sudo")
	}
	for _, o := range c.NixOptions {
		args = append(args, "--option", o[0], o[1])
	}
	err := c.run(ctx, c.Rebuild, args, map[string]string{"NIX_SSHOPTS": "-F " + c.SSHConfig})
	if err != nil {
		return verdict.CannotTell("bootstrap", "nixos-rebuild to switch the host to its first system", err, "see what nixos-rebuild says above, and look at the host before it is rebooted")
	}
	return nil
}
