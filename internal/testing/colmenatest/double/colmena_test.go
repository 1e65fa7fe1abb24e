package double

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const opts = "-o StrictHostKeyChecking=accept-new -o BatchMode=yes -T"

func TestCalls(t *testing.T) {
	r := newRig(t)
	const realise = "nix-store --no-gc-warning --realise /nix/store/x-a.drv\n"
	const push = "nix-copy-closure --to --include-outputs --use-substitutes --gzip nixos@h /nix/store/y-a {" + opts + "}\n"
	const set = "ssh nixos@h " + opts + " -- sudo -H -- nix-env --profile /nix/var/nix/profiles/system --set /nix/store/y-a\n"
	activate := func(goal string) string {
		return "ssh nixos@h " + opts + " -- sudo -H -- /nix/store/y-a/bin/switch-to-configuration " + goal + "\n"
	}
	const boot = "ssh nixos@h " + opts + " -- sudo -H -- cat /proc/sys/kernel/random/boot_id\n"
	const current = "ssh nixos@h " + opts + " -- sudo -H -- readlink -e /run/current-system\n"
	const restart = "ssh nixos@h " + opts + " -- sudo -H -- reboot\n"
	for line, want := range map[string]string{
		"colmena build --on a":                                                      realise,
		"colmena apply build --on a":                                                realise,
		"colmena apply push --on a":                                                 realise + push,
		"colmena apply --on a":                                                      realise + push + set + activate("switch"),
		"colmena apply switch --on a":                                               realise + push + set + activate("switch"),
		"colmena apply boot --on a":                                                 realise + push + set + activate("boot"),
		"colmena apply test --on a":                                                 realise + push + activate("test"),
		"colmena apply dry-activate --on a":                                         realise + push + activate("dry-activate"),
		"colmena apply --reboot --on a":                                             realise + push + set + activate("boot") + boot + restart + boot + current,
		"colmena apply test --reboot --on=a":                                        realise + push + activate("test") + boot + restart + boot,
		"colmena upload-keys --on a":                                                "",
		"colmena apply upload-keys --on @t":                                         "",
		"colmena apply push --on a --no-gzip":                                       realise + strings.ReplaceAll(push, " --gzip", ""),
		"colmena apply push --on a --no-substitute --no-gzip":                       realise + strings.ReplaceAll(push, " --use-substitutes --gzip", ""),
		"colmena apply push --on a --keep-result":                                   realise + "nix-store --no-build-output --indirect --add-root DIR/.gcroots/node-a --realise /nix/store/y-a\n" + push,
		"colmena --nix-option sandbox false apply build --on a --nix-option m \"\"": "nix-store --option m  --option sandbox false --no-gc-warning --realise /nix/store/x-a.drv\n",
		"colmena apply push --on a --build-on-target --keep-result":                 "nix-copy-closure --to --include-outputs --use-substitutes --gzip nixos@h /nix/store/x-a.drv {" + opts + "}\nssh nixos@h " + opts + " -- sudo -H -- nix-store --no-gc-warning --realise /nix/store/x-a.drv\n",
	} {
		code, got := r.run(line)
		if code != 0 {
			t.Errorf("%s: exit code %d\n%s", line, code, r.stderr.String())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
}

// What a node and the environment say is on the command line of ssh, after
// the options that nothing can override.
func TestConnections(t *testing.T) {
	r := newRig(t)
	r.deployment = strings.ReplaceAll(strings.ReplaceAll(r.deployment, `"targetPort":null`, `"targetPort":2222`), `"sshOptions":[]`, `"sshOptions":["-o","StrictHostKeyChecking=yes"]`)
	all := opts + " -o StrictHostKeyChecking=yes -p 2222 -F /c"
	_, got := r.run("colmena apply test --on a", "SSH_CONFIG_FILE=/c")
	want := "nix-store --no-gc-warning --realise /nix/store/x-a.drv\n" +
		"nix-copy-closure --to --include-outputs --use-substitutes --gzip nixos@h /nix/store/y-a {" + all + "}\n" +
		"ssh nixos@h " + all + " -- sudo -H -- /nix/store/y-a/bin/switch-to-configuration test\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r.deployment = strings.ReplaceAll(r.deployment, `"nixos"`, `"root"`)
	if _, got := r.run("colmena apply test --on a"); !strings.Contains(got, " -- /nix/store/y-a/bin/switch-to-configuration test\n") || strings.Contains(got, "sudo") {
		t.Errorf("root needs no sudo:\n%s", got)
	}
	r.deployment = strings.ReplaceAll(r.deployment, `"root"`, "null")
	if _, got := r.run("colmena apply test --on a"); !strings.Contains(got, "ssh h "+opts) || !strings.Contains(got, "sudo -H") {
		t.Errorf("no user:\n%s", got)
	}
	r.write("flake.nix", "{}", 0o644)
	if _, got := r.run("colmena apply push --on a"); !strings.Contains(got, "nix --extra-experimental-features nix-command copy --no-check-sigs --substitute-on-destination --builders-use-substitutes --to ssh-ng://h?compress=true /nix/store/y-a {") {
		t.Errorf("a flake's closure goes another way:\n%s", got)
	}
}

func TestOutput(t *testing.T) {
	r := newRig(t)
	code, _ := r.run("colmena apply -f hive.nix --on a", "RUST_LOG=info")
	want := ` INFO Using configuration: DIR/hive.nix
 INFO Enumerating nodes...
 INFO Selected 1 out of 2 hosts.
    a | Evaluating a
    a | Evaluated a
    a | Building a
    a | /nix/store/y-a
    a | Built "/nix/store/y-a"
    a | Pushing system closure
    a | Pushed system closure
    a | No pre-activation keys to upload
    a | Activating system profile
    a | Activation successful
    a | No post-activation keys to upload
      | All done!
`
	if diff := cmp.Diff(want, strings.ReplaceAll(r.stderr.String(), r.dir, "DIR")); diff != "" || code != 0 || r.stdout.Len() > 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
	// The progress is not a log: it shows whatever RUST_LOG says.
	code, _ = r.run("colmena apply push --on a --no-keys --build-on-target")
	want = `    a | Evaluating a
    a | Evaluated a
    a | Building a
    a | /nix/store/y-a
    a | Built "/nix/store/y-a" on target node
      | All done!
`
	if diff := cmp.Diff(want, r.stderr.String()); diff != "" || code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
	code, _ = r.run("colmena apply boot --reboot --on a --no-keys", "FAIL=*- reboot", "CODE=255")
	want = `    a | Evaluating a
    a | Evaluated a
    a | Building a
    a | /nix/store/y-a
    a | Built "/nix/store/y-a"
    a | Pushing system closure
    a | Pushed system closure
    a | Activating system profile
    a | Will be activated next boot
    a | Rebooting
    a | no
    a | Waiting for reboot
    a | Rebooted
      | All done!
`
	if diff := cmp.Diff(want, r.stderr.String()); diff != "" || code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
}

// One node fails: the profile is set, the others go on, the exit code is 1.
func TestFailures(t *testing.T) {
	r := newRig(t)
	code, calls := r.run("colmena apply", "FAIL=ssh*y-bb/bin/switch-to-configuration switch", "CODE=4")
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"--set /nix/store/y-bb\n", "y-a/bin/switch-to-configuration switch\n"} {
		if !strings.Contains(calls, want) {
			t.Errorf("not called: %s", want)
		}
	}
	var lines []string
	for line := range strings.Lines(r.stderr.String()) {
		if strings.HasPrefix(line, "   bb | ") || strings.HasPrefix(line, "      | ") || strings.HasPrefix(line, "ERROR") || strings.HasPrefix(line, "(...)") || strings.HasPrefix(line, "Hint") {
			lines = append(lines, line)
		}
	}
	want := `(...) | Evaluating a and bb
(...) | evaluating
(...) | Evaluated a and bb
   bb | Building bb
   bb | /nix/store/y-bb
   bb | Built "/nix/store/y-bb"
   bb | Pushing system closure
   bb | Pushed system closure
   bb | No pre-activation keys to upload
   bb | Activating system profile
   bb | no
   bb | Activation failed: Child process exited with error code: 4
      | Failed: Child process exited with error code: 4
ERROR Failed to complete requested operation - Last 1 lines of logs:
ERROR  failure) Child process exited with error code: 4
ERROR Failed to deploy to bb - Last 4 lines of logs:
ERROR  created)
ERROR    state) Running
ERROR   stderr) no
ERROR  failure) Child process exited with error code: 4
ERROR -----
ERROR Operation failed with error: Child process exited with error code: 4
Hint: Backtrace available - Use ` + "`RUST_BACKTRACE=1`" + ` environment variable to display a backtrace
`
	if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for fail, want := range map[string]string{
		"nix-store*x-a.drv":     "Build failed: ",
		"nix-copy-closure*":     "Push failed: ",
		"ssh*nix-env*":          "Activation failed: ",
		"ssh*configuration *":   "Activation failed: ",
		"ssh* reboot":           "Reboot failed: ",
		"ssh*boot_id":           "Reboot failed: ",
		"ssh*/current-system":   "Reboot failed: ",
		"nix-store*--add-root*": "Failed: ",
	} {
		code, calls := r.run("colmena apply boot --reboot --keep-result --on a", "FAIL="+fail, "CODE=3")
		if code != 1 || !strings.Contains(r.stderr.String(), "    a | "+want+"Child process exited with error code: 3\n") {
			t.Errorf("%s: exit code %d\n%s", fail, code, r.stderr.String())
		}
		if last := calls[strings.LastIndex(strings.TrimSuffix(calls, "\n"), "\n")+1:]; !strings.HasPrefix(last, strings.SplitN(fail, "*", 2)[0]) {
			t.Errorf("%s: it went on with %s", fail, last)
		}
	}
	code, _ = r.run("colmena apply boot --reboot --on a", "CURRENT=/nix/store/old")
	if code != 1 || !strings.Contains(r.stderr.String(), `Reboot failed: Unexpected active profile: Profile(StorePath("/nix/store/old"))`) {
		t.Errorf("exit code %d\n%s", code, r.stderr.String())
	}
	// Without ssh on PATH.
	code, _ = r.run("colmena apply test --on a", "PATH="+filepath.Join(r.dir, "nowhere"))
	if code != 1 || !strings.Contains(r.stderr.String(), "Operation failed with error: I/O Error: No such file or directory (os error 2)\n") {
		t.Errorf("exit code %d\n%s", code, r.stderr.String())
	}
}

func TestUnknownProfile(t *testing.T) {
	r := newRig(t)
	r.deployment = strings.ReplaceAll(r.deployment, `"replaceUnknownProfiles":true`, `"replaceUnknownProfiles":false`)
	code, calls := r.run("colmena apply --on a", "CURRENT=/nix/store/unknown")
	if code != 1 || !strings.Contains(r.stderr.String(), `Activation failed: Unknown active profile: Profile(StorePath("/nix/store/unknown"))`) || strings.Contains(calls, "--set") {
		t.Errorf("exit code %d\n%s\n%s", code, r.stderr.String(), calls)
	}
	if !strings.Contains(calls, `-- sudo -H -- sh -c "readlink -e /nix/var/nix/profiles/system || readlink -e /run/current-system"`) {
		t.Errorf("%s", calls)
	}
	if code, calls := r.run("colmena apply --on a --force-replace-unknown-profiles", "CURRENT=/nix/store/unknown"); code != 0 || !strings.Contains(calls, "--set") {
		t.Errorf("exit code %d\n%s", code, r.stderr.String())
	}
}

// The flaw: nothing was selected and all is done.
func TestEmptySelection(t *testing.T) {
	r := newRig(t)
	for _, line := range []string{"colmena apply --on no-such-node", "colmena apply --on @no-such-tag", "colmena build --on no-such-node -p 0", "colmena upload-keys --on nobody"} {
		code, calls := r.run(line)
		if code != 0 || calls != "" || r.stderr.String() != "      | All done!\n" {
			t.Errorf("%s: exit code %d\n%s%s", line, code, r.stderr.String(), calls)
		}
	}
	if r.run("colmena apply --on no-such-node", "RUST_LOG=warn"); r.stderr.String() != " WARN No hosts selected (0 skipped).\n      | All done!\n" {
		t.Errorf("%s", r.stderr.String())
	}
	if code, _ := r.run("colmena apply --on no-such-node --eval-node-limit 0"); code != 101 {
		t.Errorf("exit code %d", code)
	}
	// A node without a host is passed over, too.
	r.deployment = strings.ReplaceAll(r.deployment, `"targetHost":"h"`, `"targetHost":null`)
	if code, calls := r.run("colmena apply"); code != 0 || calls != "" || r.stderr.String() != "      | All done!\n" {
		t.Errorf("exit code %d\n%s%s", code, r.stderr.String(), calls)
	}
	if code, calls := r.run("colmena build"); code != 0 || strings.Count(calls, "--realise") != 2 {
		t.Errorf("exit code %d\n%s%s", code, r.stderr.String(), calls)
	}
}

func TestCommandLines(t *testing.T) {
	r := newRig(t)
	for line, want := range map[string]int{
		"colmena":                                2,
		"colmena push":                           2, // goals are no subcommands
		"colmena switch":                         2,
		"colmena apply keys":                     2, // it was one up to 0.4.0
		"colmena apply push switch":              2,
		"colmena apply --no-such":                2,
		"colmena apply --on":                     2,
		"colmena apply --on --no-keys":           2,
		"colmena apply --on a,,b":                2,
		"colmena apply -p x":                     2,
		"colmena apply --parallel -1":            2,
		"colmena apply --eval-node-limit x":      2,
		"colmena apply --evaluator quick":        2,
		"colmena apply --no-keys=1":              2,
		"colmena --nix-option a apply":           2, // "apply" is its value, and there is no command
		"colmena build -E x":                     2,
		"colmena eval --on a":                    2,
		"colmena eval -E x file":                 2,
		"colmena -f no-such.nix apply":           2,
		"colmena --color red build":              2,
		"colmena build --on [":                   101,
		"colmena build --on @a**":                101,
		"colmena eval no-such.nix":               101,
		"colmena exec -- true":                   70,
		"colmena apply-local":                    70,
		"colmena build --evaluator streaming":    70,
		"colmena eval":                           1,
		"colmena upload-keys --no-keys":          1,
		"colmena --version":                      0,
		"colmena --help":                         0,
		"colmena build -vp0 -f hive.nix --on a":  0,
		"colmena build -p=2 --eval-node-limit=1": 0,
		"colmena build --parallel 2 -fhive.nix":  0,
		"colmena build --impure --show-trace":    0,
		"colmena --color never build --no-substitutes --no-build-on-target": 0,
	} {
		if code, _ := r.run(line); code != want {
			t.Errorf("%s: exit code %d, want %d\n%s", line, code, want, r.stderr.String())
		}
	}
	if r.run("colmena --version"); r.stdout.String() != "Colmena 0.5.0-pre\n" {
		t.Errorf("%q", r.stdout.String())
	}
	if code, _ := r.run("colmena apply", "ALLOW=false"); code != 1 || !strings.Contains(r.stderr.String(), "Hint: Filter the nodes with --on.") {
		t.Errorf("exit code %d\n%s", code, r.stderr.String())
	}
	if code, _ := r.run("colmena apply --on a", "ALLOW=false"); code != 0 {
		t.Errorf("exit code %d\n%s", code, r.stderr.String())
	}
	r.deployment = strings.ReplaceAll(r.deployment, `"keys":{}`, `"keys":{"k":{}}`)
	if code, _ := r.run("colmena apply"); code != 70 {
		t.Errorf("exit code %d: its keys were left out in silence", code)
	}
}

// The configuration is looked for upwards, and a flake comes first.
func TestConfiguration(t *testing.T) {
	r := newRig(t)
	p := func(dir string) (int, string) {
		var stdout, stderr strings.Builder
		code := (&Program{Dir: dir, Env: append([]string{"DEPLOYMENT=" + r.deployment, "RUST_LOG=info"}, r.env...), Stdout: &stdout, Stderr: &stderr}).Main("colmena", []string{"build"})
		line, _, _ := strings.Cut(stderr.String(), "\n")
		return code, strings.ReplaceAll(line, r.dir, "DIR")
	}
	if code, line := p(filepath.Join(r.dir, "bin")); code != 0 || line != " INFO Using configuration: DIR/hive.nix" {
		t.Errorf("exit code %d: %s", code, line)
	}
	r.write("flake.nix", "{}", 0o644)
	if code, line := p(filepath.Join(r.dir, "bin")); code != 0 || line != " INFO Using flake: git+file://DIR" {
		t.Errorf("exit code %d: %s", code, line)
	}
	if code, _ := r.run("colmena eval --instantiate -E x"); code != 101 {
		t.Errorf("exit code %d", code)
	}
	if code, line := p("/proc"); code != 101 || line != "ERROR Could not find `hive.nix` or `flake.nix` in \"/proc\" or any parent directory" {
		t.Errorf("exit code %d: %s", code, line)
	}
}

// However many there are, no more than -p work at the same time, and each is
// done.
func TestParallel(t *testing.T) {
	r := newRig(t)
	for _, p := range []string{"-p1", "--parallel=2", "-p 0"} {
		set := "ALONE="
		if p == "-p1" {
			set = "ALONE=yes"
		}
		code, calls := r.run("colmena apply test "+p+" --eval-node-limit 1", set)
		if code != 0 || strings.Count(calls, "\n") != 6 || strings.Contains(calls, "overlap") {
			t.Errorf("%s: exit code %d\n%s", p, code, calls)
		}
	}
}
