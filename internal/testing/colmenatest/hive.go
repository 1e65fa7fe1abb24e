package colmenatest

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/colmenatest/double"
	"edge-actions/internal/testing/lab"
)

// Node is one node of a hive. Only Name has no default.
type Node struct {
	Name       string
	HostName   string // networking.hostName; Name if empty
	TargetHost string // Name if empty, as Colmena has it
	LocalOnly  bool   // targetHost = null
	TargetUser string // "nixos" if empty
	TargetPort int    // null if 0
	Tags       []string
	SSHOptions []string

	AllowLocalDeployment bool
	BuildOnTarget        bool
	// RefuseUnknownProfiles is replaceUnknownProfiles = false.
	RefuseUnknownProfiles bool

	// AuthorizedKeys are TargetUser's; root has none of its own.
	AuthorizedKeys  []string
	PermitRootLogin string // "no" if empty
	SSHDisabled     bool
	SudoPassword    bool   // security.sudo.wheelNeedsPassword
	AgeKeyFile      string // /var/lib/sops-nix/key.txt if empty

	// The system, see nix/system.nix of package lab.
	Label     string // "2" if empty; the hosts start with "1"
	Behaviour string // "good" if empty
	Kernel    string // this machine's if empty
	// Throws has the evaluation of the system fail with this text.
	Throws string
}

// WriteHive writes dir/hive.nix with these nodes, and what it imports.
//
// The hive of a real Colmena is NixOS modules, which Colmena evaluates with
// nixpkgs. This one is plain data: each node is its `config`, evaluated
// already, with the few options that an action may ask for: deployment.*
// without keys, networking.hostName, services.openssh.enable and
// settings.PermitRootLogin, users.users.NAME.openssh.authorizedKeys.keys,
// security.sudo.wheelNeedsPassword, sops.age.keyFile and
// system.build.toplevel, which is a derivation that really builds. Every other
// option is missing, and there are no defaults, no types, no assertions, no
// `meta` but what Colmena sets itself, no `defaults`, no pkgs and no lib.
func WriteHive(t testing.TB, dir string, nodes []Node) {
	t.Helper()
	if err := writeHive(dir, nodes); err != nil {
		t.Fatalf("writing a hive: %v", err)
	}
}

func writeHive(dir string, nodes []Node) error {
	uname, err := exec.Command("uname", "-r").Output()
	if err != nil {
		return err
	}
	var out strings.Builder
	out.WriteString("# A hive for a double of Colmena: plain data, no modules.\n{\n")
	for _, n := range nodes {
		n.Kernel = cmp.Or(n.Kernel, strings.TrimSpace(string(uname)))
		n.write(&out)
	}
	out.WriteString("}\n")
	if err := writeTree(filepath.Join(dir, "nix"), lab.Nix()); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "hive.nix"), []byte(out.String()), 0o644)
}

func (n Node) write(out *strings.Builder) {
	targetHost, port := double.NixString(cmp.Or(n.TargetHost, n.Name)), "null"
	if n.LocalOnly {
		targetHost = "null"
	}
	if n.TargetPort != 0 {
		port = fmt.Sprint(n.TargetPort)
	}
	user := cmp.Or(n.TargetUser, "nixos")
	toplevel := fmt.Sprintf("import ./nix/system.nix { name = %s; label = %s; behaviour = %s; kernel = %s; }",
		double.NixString(cmp.Or(n.HostName, n.Name)), double.NixString(cmp.Or(n.Label, "2")), double.NixString(cmp.Or(n.Behaviour, "good")), double.NixString(n.Kernel))
	if n.Throws != "" {
		toplevel = "throw " + double.NixString(n.Throws)
	}
	line := func(format string, args ...any) { fmt.Fprintf(out, "    "+format+"\n", args...) }
	fmt.Fprintf(out, "  %s = {\n", double.NixString(n.Name))
	line("deployment = {")
	line("  targetHost = %s; targetUser = %s; targetPort = %s;", targetHost, double.NixString(user), port)
	line("  tags = %s; sshOptions = %s;", double.NixStrings(n.Tags), double.NixStrings(n.SSHOptions))
	line("  allowLocalDeployment = %t; buildOnTarget = %t; replaceUnknownProfiles = %t;", n.AllowLocalDeployment, n.BuildOnTarget, !n.RefuseUnknownProfiles)
	line("};")
	line("networking.hostName = %s;", double.NixString(cmp.Or(n.HostName, n.Name)))
	line("services.openssh = { enable = %t; settings.PermitRootLogin = %s; };", !n.SSHDisabled, double.NixString(cmp.Or(n.PermitRootLogin, "no")))
	line("users.users.%s.openssh.authorizedKeys.keys = %s;", double.NixString(user), double.NixStrings(n.AuthorizedKeys))
	if user != "root" {
		line("users.users.root.openssh.authorizedKeys.keys = [ ];")
	}
	line("security.sudo.wheelNeedsPassword = %t;", n.SudoPassword)
	line("sops.age.keyFile = %s;", double.NixString(cmp.Or(n.AgeKeyFile, "/var/lib/sops-nix/key.txt")))
	line("system.build.toplevel = %s;", toplevel)
	out.WriteString("  };\n")
}

// writeTree gives scripts the mode that they have on the hosts, where the same
// source then makes the same store path.
func writeTree(dir string, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(dir, path), 0o755)
		}
		data, err := fs.ReadFile(tree, path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if bytes.HasPrefix(data, []byte("#!")) {
			mode = 0o755
		}
		return os.WriteFile(filepath.Join(dir, path), data, mode)
	})
}
