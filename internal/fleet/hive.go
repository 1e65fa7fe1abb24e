package fleet

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/colmena"
	"edge-actions/internal/nixos"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"

	"filippo.io/age"
)

// Tools are the programs that a deployment needs on the runner.
type Tools struct {
	// Rebuild says that nixos-rebuild is one of them.
	Rebuild bool

	cli                        *colmena.CLI
	path, rebuild              string
	colmenaVersion, nixVersion versions.Constraint
}

// ReadHive reads the inputs that say what is deployed and with which tools.
// What is wrong with them is recorded in in.
func ReadHive(in *action.Inputs, a *action.Action, d *Deployment) *Tools {
	cli := &colmena.CLI{
		Dir: in.WorkspaceDir("path"), Config: in.Text("config"), Impure: in.Bool("impure"), NixOptions: nixOptions(in),
		EvalTimeout: in.Duration("eval_timeout", time.Second, 24*time.Hour), BuildTimeout: in.Duration("build_timeout", time.Second, 24*time.Hour),
		Env: colmena.Environ(a.Environ()),
	}
	d.Colmena = cli
	if strings.HasPrefix(cli.Config, "-") || strings.ContainsAny(cli.Config, "\n\t ") {
		in.Wrong("config", "a file or a flake, without blanks", fmt.Sprintf("%q", cli.Config), "correct the input config")
	}
	return &Tools{cli: cli, path: in.Text("colmena_path"), rebuild: in.Text("nixos_rebuild_path"), colmenaVersion: in.Constraint("colmena_version"), nixVersion: in.Constraint("nix_version")}
}

// ReadAgeKey reads the inputs that say which age key the nodes are to have.
func ReadAgeKey(in *action.Inputs, d *Deployment) {
	d.AgeRecipient, d.ReplaceAgeKey = in.Text("age_recipient"), in.Bool("age_key_replace")
	if _, err := age.ParseX25519Recipient(d.AgeRecipient); d.AgeRecipient != "" && err != nil {
		in.Wrong("age_recipient", "a public age key (age1…)", fmt.Sprintf("%q", d.AgeRecipient), "give what age-keygen -y prints for the node's key")
	}
	file := in.KeyFile("age_key_file")
	if file == "" {
		return
	}
	text, err := KeyFile(file)
	if err == nil {
		d.AgeKey, err = nixos.ParseAgeKey(text)
	}
	if err != nil {
		in.Wrong("age_key_file", "a file with one private age key", fmt.Sprintf("%q: %v", file, err), "make one with age-keygen -o FILE, and give its recipient to .sops.yaml")
		return
	}
	if d.AgeRecipient != "" && d.AgeRecipient != d.AgeKey.Recipient() {
		in.Wrong("age_key_file", "the key of "+d.AgeRecipient, "that of "+d.AgeKey.Recipient(), "give the key of the recipient that .sops.yaml names, or correct age_recipient")
	}
}

func nixOptions(in *action.Inputs) [][2]string {
	var out [][2]string
	for _, line := range in.Lines("nix_options") {
		name, value, _ := strings.Cut(line, " ")
		if strings.HasPrefix(name, "-") || value == "" {
			in.Wrong("nix_options", "lines NAME VALUE", fmt.Sprintf("%q", line), "give the name of the option of nix.conf, without dashes")
			continue
		}
		out = append(out, [2]string{name, strings.TrimSpace(value)})
	}
	return out
}

// Find finds the programs and holds their versions against the constraints.
func (t *Tools) Find(ctx context.Context) (checks []verdict.Check, err error) {
	type tool struct {
		name, path, install string
		constraint          versions.Constraint
		found               *string
	}
	needed := []tool{
		{"colmena", t.path, "install Colmena on the runner (nix profile install nixpkgs#colmena), or set colmena_path", t.colmenaVersion, &t.cli.Path},
		{"nix-instantiate", "nix-instantiate", "install Nix on the runner (https://nixos.org/download)", t.nixVersion, new(string)},
	}
	if t.Rebuild {
		needed = append(needed, tool{"nixos-rebuild", t.rebuild, "install nixos-rebuild on the runner (nix profile install nixpkgs#nixos-rebuild), or set nixos_rebuild_path", versions.Constraint{}, &t.cli.Rebuild})
	}
	for _, need := range needed {
		found, err := exec.LookPath(need.path)
		if err == nil {
			found, err = filepath.Abs(found)
		}
		if err != nil {
			return checks, verdict.CannotTell("tool-missing", need.name+" on PATH or at its path", err, need.install)
		}
		*need.found = found
		c := verdict.Check{ID: "tool-version", Verdict: verdict.Proven, Wanted: need.name, Got: found}
		if need.name != "nixos-rebuild" { // which has no version of its own
			version, err := colmena.CheckVersion(ctx, found, need.name, t.cli.Env, need.constraint, need.install)
			if err != nil {
				return checks, err
			}
			c.Wanted, c.Got = need.name+" "+need.constraint.String(), need.name+" "+version
		}
		checks = append(checks, c)
	}
	return checks, nil
}
