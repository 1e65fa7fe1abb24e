package double

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rig runs a double with children that only write down how they were called.
type rig struct {
	t              *testing.T
	dir            string
	env            []string
	stdout, stderr strings.Builder
	deployment     string // of every node, as JSON
}

// A child answers what the double must read, and fails if its command line
// matches $FAIL, with the exit code $CODE.
const child = `#!/bin/sh
me=${0##*/}
case $me in
nix-instantiate)
	for a; do case $a in 'with builtins'*) expression=${a##*
in } ;; esac; done
	case $expression in
	hive.metaConfig) echo "{\"allowApplyAll\":${ALLOW:-true},\"machinesFile\":null}" ;;
	'attrNames hive.nodes') echo '["a","bb"]' ;;
	'hive.deploymentConfigSelected [ "a" ]') echo "{\"a\":$DEPLOYMENT}" ;;
	hive.deploymentConfigSelected*) echo "{\"a\":$DEPLOYMENT,\"bb\":$DEPLOYMENT}" ;;
	'hive.evalSelectedDrvPaths [ "a" ]') echo '{"a":"/nix/store/x-a.drv"}' ;;
	'hive.evalSelectedDrvPaths [ "bb" ]') echo '{"bb":"/nix/store/x-bb.drv"}' ;;
	hive.evalSelectedDrvPaths*) echo 'evaluating' >&2; echo '{"a":"/nix/store/x-a.drv","bb":"/nix/store/x-bb.drv"}' ;;
	*toplevel*) echo /nix/store/x-a.drv ;;
	*) echo "{}" ;;
	esac
	exit 0 ;;
esac
{ printf '%s' "$me"; for a; do printf ' %s' "$a"; done; [ "$me" = ssh ] || [ -z "$NIX_SSHOPTS" ] || printf ' {%s}' "$NIX_SSHOPTS"; echo; } >>"$CALLS"
case "$me $*" in
*--realise*) last=${*#*--realise /nix/store/*-}; echo /nix/store/y-${last%%.drv*} ;;
*boot_id) [ -e "$CALLS.boot" ] && echo two || echo one; : >"$CALLS.boot" ;;
*readlink*) echo "${CURRENT:-/nix/store/y-a}" ;;
esac
[ -z "$ALONE" ] || { mkdir "$CALLS.alone" 2>/dev/null || echo overlap >>"$CALLS"; sleep 0.05; rmdir "$CALLS.alone" 2>/dev/null; }
case "$me $*" in $FAIL) echo "no" >&2; exit "$CODE" ;; esac
exit 0
`

func newRig(t *testing.T) *rig {
	r := &rig{t: t, dir: t.TempDir()}
	bin := filepath.Join(r.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ssh", "nix", "nix-copy-closure", "nix-store", "nix-instantiate"} {
		if err := os.Symlink("../child", filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	r.write("child", child, 0o755)
	r.write("hive.nix", "{}", 0o644)
	r.env = []string{"PATH=" + bin + ":/usr/bin:/bin", "CALLS=" + filepath.Join(r.dir, "calls"), "FAIL=none"}
	r.deployment = `{"targetHost":"h","targetUser":"nixos","targetPort":null,"tags":["t"],"buildOnTarget":false,"replaceUnknownProfiles":true,"privilegeEscalationCommand":["sudo","-H","--"],"sshOptions":[],"keys":{}}`
	return r
}

func (r *rig) write(name, text string, mode os.FileMode) {
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

// run returns the exit code and the children's command lines.
func (r *rig) run(line string, set ...string) (int, string) {
	r.t.Helper()
	r.stdout.Reset()
	r.stderr.Reset()
	os.Remove(filepath.Join(r.dir, "calls"))
	os.Remove(filepath.Join(r.dir, "calls.boot"))
	words := strings.Fields(line)
	for i, word := range words {
		words[i] = strings.ReplaceAll(word, `""`, "")
	}
	p := &Program{Dir: r.dir, Env: append(append([]string{"DEPLOYMENT=" + r.deployment}, r.env...), set...), Stdout: &r.stdout, Stderr: &r.stderr}
	code := p.Main(words[0], words[1:])
	calls, err := os.ReadFile(filepath.Join(r.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return code, strings.ReplaceAll(string(calls), r.dir, "DIR")
}
