package double

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// hive is a configuration, evaluated by the real nix-instantiate.
type hive struct {
	p     *Program
	log   *logger
	path  string // of hive.nix
	flake bool
	opts  nixOptions

	metaOnce func() (metaConfig, error)
}

// nixOptions are the global ones that Nix's programs get.
type nixOptions struct {
	showTrace, impure bool
	options           map[string]string
}

type metaConfig struct {
	AllowApplyAll bool    `json:"allowApplyAll"`
	MachinesFile  *string `json:"machinesFile"`
}

// deployment is config.deployment of a node.
type deployment struct {
	TargetHost             *string                    `json:"targetHost"`
	TargetUser             *string                    `json:"targetUser"`
	TargetPort             *uint16                    `json:"targetPort"`
	BuildOnTarget          bool                       `json:"buildOnTarget"`
	Tags                   []string                   `json:"tags"`
	ReplaceUnknownProfiles bool                       `json:"replaceUnknownProfiles"`
	Privilege              []string                   `json:"privilegeEscalationCommand"`
	SSHOptions             []string                   `json:"sshOptions"`
	Keys                   map[string]json.RawMessage `json:"keys"`
}

// prelude makes of a plain hive what Colmena's eval.nix makes of a real one,
// with the defaults of its options. `nodes` has what the real one has, and for
// pkgs and lib something that says why they can't be used here.
const prelude = `with builtins; let
  raw = import %s;
  names = filter (n: !(elem n [ "defaults" "meta" "network" ])) (attrNames raw);
  deploymentDefaults = name: {
    targetHost = name; targetUser = "root"; targetPort = null; tags = []; allowLocalDeployment = false; buildOnTarget = false;
    replaceUnknownProfiles = true; privilegeEscalationCommand = [ "sudo" "-H" "--" ]; sshOptions = []; keys = {};
  };
  configOf = name: raw.${name} // { deployment = deploymentDefaults name // (raw.${name}.deployment or {}); };
  selected = wanted: f: listToAttrs (map (name: { inherit name; value = f name; }) (filter (n: elem n wanted) names));
  hive = {
    nodes = selected names (name: { config = configOf name; });
    metaConfig = { allowApplyAll = true; machinesFile = null; } // (raw.meta or {});
    deploymentConfigSelected = wanted: selected wanted (name: (configOf name).deployment);
    evalSelectedDrvPaths = wanted: selected wanted (name: (configOf name).system.build.toplevel.drvPath);
    introspect = f: f { inherit (hive) nodes; pkgs = throw "this double of colmena has no pkgs"; lib = throw "this double of colmena has no lib"; };
  };
in `

// open finds the configuration: as given, or by going up from the working
// directory, where a flake.nix comes before a hive.nix.
func (p *Program) open(config string, log *logger, opts nixOptions) (*hive, error) {
	if config == "" {
		dir, err := p.cwd()
		if err != nil {
			return nil, err
		}
		for at := dir; config == ""; at = filepath.Dir(at) {
			switch {
			case isFile(filepath.Join(at, "flake.nix")):
				config = filepath.Join(at, "flake.nix")
			case isFile(filepath.Join(at, "hive.nix")):
				config = filepath.Join(at, "hive.nix")
			case at == filepath.Dir(at):
				log.errorf("Could not find `hive.nix` or `flake.nix` in %q or any parent directory", dir)
				return nil, p.panicked("src/cli.rs:263", "called `Option::unwrap()` on a `None` value")
			}
		}
	} else if !filepath.IsAbs(config) {
		dir, err := p.cwd()
		if err != nil {
			return nil, err
		}
		config = filepath.Join(dir, config)
	}
	real, err := filepath.EvalSymlinks(config)
	if err != nil {
		return nil, p.usage(fmt.Errorf("invalid value '%s' for '--config <CONFIG>': I/O Error: No such file or directory (os error 2)", config))
	}
	config = real
	h := &hive{p: p, log: log, path: config, opts: opts}
	if filepath.Base(config) == "flake.nix" {
		h.flake, h.path = true, filepath.Join(filepath.Dir(config), "hive.nix")
		if !isFile(h.path) {
			return nil, p.leftOut("flakes: put a hive.nix beside %s", config)
		}
		log.infof("Using flake: git+file://%s", filepath.Dir(config))
	} else {
		log.infof("Using configuration: %s", config)
	}
	h.metaOnce = sync.OnceValues(func() (m metaConfig, err error) {
		err = h.eval("hive.metaConfig", nil, &m)
		return m, err
	})
	return h, nil
}

func (p *Program) cwd() (string, error) {
	if p.Dir != "" {
		return p.Dir, nil
	}
	return os.Getwd()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// flags are the options for a program of Nix's that run locally; nix-store
// does not know --impure.
func (h *hive) flags(store bool) ([]string, error) {
	var args []string
	m, err := h.metaOnce()
	if err != nil {
		return nil, err
	}
	if m.MachinesFile != nil {
		args = append(args, "--option", "builders", "@"+*m.MachinesFile)
	}
	return append(args, h.plainFlags(store)...), nil
}

func (h *hive) plainFlags(store bool) []string {
	var args []string
	if h.opts.showTrace {
		args = append(args, "--show-trace")
	}
	if h.opts.impure && !store {
		args = append(args, "--impure")
	}
	for _, name := range slices.Sorted(maps.Keys(h.opts.options)) {
		args = append(args, "--option", name, h.opts.options[name])
	}
	return args
}

func (h *hive) instantiate(expression string) []string {
	return []string{"--no-gc-warning", "-E", fmt.Sprintf(prelude, h.path) + expression}
}

// eval reads the value of an expression into v. The lines of the evaluator's
// stderr are j's, if there is one.
func (h *hive) eval(expression string, j *job, v any) error {
	args := append(h.instantiate(expression), "--eval", "--json", "--strict", "--read-write-mode")
	if expression == "hive.metaConfig" {
		args = append(args, h.plainFlags(false)...)
	} else {
		flags, err := h.flags(false)
		if err != nil {
			return err
		}
		args = append(args, flags...)
	}
	cmd := h.p.command("nix-instantiate", args)
	var out string
	var err error
	if j == nil {
		out, err = h.p.output(cmd)
	} else {
		out, err = h.p.captured(j, cmd, true)
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("Nix returned invalid response: %s", out) //nolint:staticcheck // Colmena's words
	}
	return nil
}

// NixStrings is a list of strings as an expression.
func NixStrings(list []string) string {
	var out strings.Builder
	out.WriteString("[")
	for _, s := range list {
		out.WriteString(" " + NixString(s))
	}
	return out.String() + " ]"
}

// NixString is s as an expression of Nix's.
func NixString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `${`, `\${`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}

// target is a selected node.
type target struct {
	name   string
	config deployment
	host   *host // nil without a targetHost
}

// selectNodes takes the nodes that on names. That there are none is only
// worth a warning.
func (h *hive) selectNodes(on *filter, sshOnly bool) ([]*target, error) {
	h.log.infof("Enumerating nodes...")
	var all []string
	if err := h.eval("attrNames hive.nodes", nil, &all); err != nil {
		return nil, err
	}
	selected := all
	if on != nil {
		// Tags are looked up only if a rule is about them.
		tags := map[string]deployment{}
		if len(on.tags) > 0 {
			if err := h.eval("hive.deploymentConfigSelected (attrNames hive.nodes)", nil, &tags); err != nil {
				return nil, err
			}
		}
		selected = nil
		for _, name := range all {
			if on.matches(name, tags[name].Tags) {
				selected = append(selected, name)
			}
		}
	}
	configs := map[string]deployment{}
	if err := h.eval("hive.deploymentConfigSelected "+NixStrings(selected), nil, &configs); err != nil {
		return nil, err
	}
	var targets []*target
	skipped := 0
	for _, name := range selected {
		t := &target{name: name, config: configs[name]}
		if t.config.TargetHost == nil {
			skipped++
		} else {
			t.host = h.host(t.config)
		}
		if !sshOnly || t.host != nil {
			targets = append(targets, t)
		}
	}
	switch {
	case len(targets) == 0 && skipped != 0:
		h.log.warnf("No hosts selected.")
	case len(targets) == 0:
		h.log.warnf("No hosts selected (%d skipped).", skipped)
	case len(targets) == len(all):
		h.log.infof("Selected all %d nodes.", len(targets))
	case !sshOnly || skipped == 0:
		h.log.infof("Selected %d out of %d hosts.", len(targets), len(all))
	default:
		h.log.infof("Selected %d out of %d hosts (%d skipped).", len(targets), len(all), skipped)
	}
	return targets, nil
}
