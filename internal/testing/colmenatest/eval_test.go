package colmenatest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program is an installed double with the environment of an action's child.
type program struct {
	t              *testing.T
	dir            string
	env            []string
	stdout, stderr bytes.Buffer
}

func withHive(t *testing.T, nodes ...Node) *program {
	t.Helper()
	p := &program{t: t, dir: t.TempDir()}
	WriteHive(t, p.dir, nodes)
	p.env = []string{"PATH=" + Install(t) + ":" + os.Getenv("PATH"), "HOME=" + Home(t), "NIX_REMOTE="}
	return p
}

func (p *program) run(args ...string) int {
	p.t.Helper()
	p.stdout.Reset()
	p.stderr.Reset()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Path = filepath.Join(strings.SplitN(strings.TrimPrefix(p.env[0], "PATH="), ":", 2)[0], args[0])
	cmd.Err = nil
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, &p.stdout, &p.stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

func (p *program) must(args ...string) {
	p.t.Helper()
	if code := p.run(args...); code != 0 {
		p.t.Fatalf("%q: exit code %d\n%s", args, code, p.stderr.String())
	}
}

// What an action may ask a hive for, answered by the real evaluator.
func TestEval(t *testing.T) {
	p := withHive(t,
		Node{Name: "edge-1", TargetHost: "198.18.9.9", Tags: []string{"edge", `a "${b}\`}, AuthorizedKeys: []string{"ssh-ed25519 AAAA"}, Kernel: "6.1"},
		Node{Name: "edge-2", HostName: "other", LocalOnly: true, TargetUser: "root", TargetPort: 2222, SSHOptions: []string{"-4"}, AllowLocalDeployment: true, BuildOnTarget: true, RefuseUnknownProfiles: true,
			PermitRootLogin: "yes", SSHDisabled: true, SudoPassword: true, AgeKeyFile: "/k", Throws: "no such module"},
	)
	for expression, want := range map[string]string{
		`{ nodes, ... }: builtins.mapAttrs (_: n: removeAttrs n.config.deployment [ "keys" "privilegeEscalationCommand" ]) nodes`: `{"edge-1":{"allowLocalDeployment":false,"buildOnTarget":false,"replaceUnknownProfiles":true,"sshOptions":[],"tags":["edge","a \"${b}\\"],"targetHost":"198.18.9.9","targetPort":null,"targetUser":"nixos"},` +
			`"edge-2":{"allowLocalDeployment":true,"buildOnTarget":true,"replaceUnknownProfiles":false,"sshOptions":["-4"],"tags":[],"targetHost":null,"targetPort":2222,"targetUser":"root"}}`,
		`{ nodes, pkgs, lib, ... }: builtins.mapAttrs (_: n: with n.config; [ networking services users.users security sops ]) nodes`: `{"edge-1":[{"hostName":"edge-1"},{"openssh":{"enable":true,"settings":{"PermitRootLogin":"no"}}},{"nixos":{"openssh":{"authorizedKeys":{"keys":["ssh-ed25519 AAAA"]}}},"root":{"openssh":{"authorizedKeys":{"keys":[]}}}},{"sudo":{"wheelNeedsPassword":false}},{"age":{"keyFile":"/var/lib/sops-nix/key.txt"}}],` +
			`"edge-2":[{"hostName":"other"},{"openssh":{"enable":false,"settings":{"PermitRootLogin":"yes"}}},{"root":{"openssh":{"authorizedKeys":{"keys":[]}}}},{"sudo":{"wheelNeedsPassword":true}},{"age":{"keyFile":"/k"}}]}`,
		// The real nodes have more, but no name.
		`{ nodes, ... }: nodes.edge-1 ? name`:                                   `false`,
		`{ nodes, ... }: builtins.attrNames nodes`:                              `["edge-1","edge-2"]`,
		`{ nodes, ... }: (builtins.tryEval nodes.edge-2.config.system).success`: `true`,
	} {
		p.must("colmena", "eval", "-E", expression)
		if diff := cmp.Diff(want+"\n", p.stdout.String()); diff != "" || p.stderr.Len() > 0 {
			t.Errorf("%s: %s(-want +got):\n%s", expression, p.stderr.String(), diff)
		}
	}
	p.must("colmena", "eval", "--instantiate", "-E", `{ nodes, ... }: nodes.edge-1.config.system.build.toplevel`)
	if got := p.stdout.String(); !strings.HasPrefix(got, "/nix/store/") || !strings.HasSuffix(got, "-nixos-system-edge-1-2.drv\n") {
		t.Errorf("%s", got)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "q.nix"), []byte("{ nodes, ... }: nodes.edge-1.config.system.build.toplevel.kernel"), 0o644); err != nil {
		t.Fatal(err)
	}
	if p.must("colmena", "eval", "q.nix"); p.stdout.String() != "\"6.1\"\n" {
		t.Errorf("%s", p.stdout.String())
	}
	for expression, want := range map[string]string{
		`{ nodes, ... }: nodes.edge-2.config.system.build.toplevel.drvPath`: "no such module",
		`{ nodes, ... }: nodes.edge-3.config`:                               "attribute 'edge-3' missing",
		`{ lib, ... }: lib.version`:                                         "this double of colmena has no lib",
		`{ nodes }: 1`:                                                      "unexpected argument",
		`nodes: {`:                                                          "syntax error",
	} {
		if code := p.run("colmena", "eval", "-E", expression); code != 1 || !strings.Contains(p.stderr.String(), want) || p.stdout.Len() > 0 {
			t.Errorf("%s: exit code %d, %q\n%s", expression, code, p.stdout.String(), p.stderr.String())
		}
	}
	// One node that can't be evaluated keeps its whole chunk from being built.
	if code := p.run("colmena", "build"); code != 1 || strings.Contains(p.stderr.String(), "Building") || !strings.Contains(p.stderr.String(), "(...) | Evaluation failed: Child process exited with error code: 1") {
		t.Errorf("exit code %d\n%s", code, p.stderr.String())
	}
	if code := p.run("colmena", "build", "--eval-node-limit", "1"); code != 1 || !strings.Contains(p.stderr.String(), `edge-1 | Built "/nix/store/`) {
		t.Errorf("exit code %d\n%s", code, p.stderr.String())
	}
	// It is what a host would build from the same source.
	p.must("colmena", "build", "--on", "@edge", "--keep-result")
	root, err := os.Readlink(filepath.Join(p.dir, ".gcroots", "node-edge-1"))
	if err != nil || !strings.Contains(p.stderr.String(), `Built "`+root+`"`) {
		t.Errorf("%v\n%s", err, p.stderr.String())
	}
	p.must("nixos-rebuild", "build", "--flake", p.dir+"#edge-1")
	if p.stdout.String() != root+"\n" {
		t.Errorf("nixos-rebuild built %s, not %s", p.stdout.String(), root)
	}
}
