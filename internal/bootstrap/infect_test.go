package bootstrap

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the machine answers is systemd's and ours first; what nixos-infect and
// all that it downloads say comes last, and must not pass for either.
func TestWhatNixosInfectSays(t *testing.T) {
	const active, failed, gone = "ActiveState=active\nSubState=running\nResult=success\nExecMainStatus=0\n", "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=2\n", "ActiveState=inactive\nSubState=dead\nResult=success\nExecMainStatus=0\n"
	const cursor = "s=0a1b;i=2f;b=11;m=1;t=6;x=7"
	for name, tt := range map[string]struct {
		out, state, lines, next string
	}{
		"at work":                          {active + "--\n--\nfetching\n-- cursor: " + cursor + "\n", "running", "fetching\n", cursor},
		"nothing new":                      {active + "--\n--\n", "running", "", "before"},
		"only a cursor":                    {active + "--\n--\n-- cursor: " + cursor + "\n", "running", "", cursor},
		"its end":                          {gone + "--\ndone\n--\nbye\n-- cursor: " + cursor + "\n", "done", "bye\n", cursor},
		"its end, and it still has a unit": {active + "--\ndone\n--\n", "done", "", "before"},
		"a failure":                        {failed + "--\n--\n", `it failed: "exit-code", exit code "2"`, "", "before"},
		"gone without a mark":              {gone + "--\n--\n", "rebooted", "", "before"},
		"it says that it is done":          {active + "--\n--\n--\ndone\n--\n", "running", "--\ndone\n--\n", "before"},
		"it says that it failed":           {active + "--\n--\nActiveState=failed\nResult=x\n--\n", "running", "ActiveState=failed\nResult=x\n--\n", "before"},
		"it names a cursor":                {active + "--\n--\n-- cursor: s=evil\nmore\n-- cursor: " + cursor + "\n", "running", "-- cursor: s=evil\nmore\n", cursor},
		"only it names a cursor":           {active + "--\n--\n-- cursor: s=evil\nmore\n", "running", "-- cursor: s=evil\nmore\n", "before"},
		"in the middle of a line":          {active + "--\n--\nsee -- cursor: s=evil\n", "running", "see -- cursor: s=evil\n", "before"},
		"a cursor that is none":            {active + "--\n--\nx\n-- cursor: $(reboot)\n", "running", "x\n-- cursor: $(reboot)\n", "before"},
		"hostile":                          {active + "--\n--\n::set-env name=A::b\x1b[2J\xff\n-- cursor: " + cursor + "\n", "running", "::set-env name=A::b\x1b[2J\xff\n", cursor},
	} {
		t.Run(name, func(t *testing.T) {
			state, lines, next, err := readInfect(tt.out, "before")
			if err != nil || state != tt.state || lines != tt.lines || next != tt.next {
				t.Errorf("%q, %q, %q, %v", state, lines, next, err)
			}
		})
	}
	for name, out := range map[string]string{
		"nothing": "", "cut in the state": "ActiveState=act", "cut after the state": active + "--\n", "cut in the mark": active + "--\ndo", "no state": "--\n--\n", "another program's": "command not found\n--\n--\nx\n",
	} {
		t.Run(name, func(t *testing.T) {
			if state, _, _, err := readInfect(out, ""); err == nil {
				t.Errorf("it is taken for %q", state)
			}
		})
	}
}

// script runs one of the scripts in each shell that a machine may have as sh.
func script(t *testing.T, text string, do func(t *testing.T, run func(stdin string, env []string, args ...string) (string, error))) {
	path := write(t, filepath.Join(t.TempDir(), "script"), text)
	for _, shell := range []string{"dash", "bash"} {
		t.Run(shell, func(t *testing.T) {
			do(t, func(stdin string, env []string, args ...string) (string, error) {
				argv := append([]string{path}, args...)
				if shell == "bash" {
					argv = append([]string{"--posix"}, argv...)
				}
				cmd := exec.Command(shell, argv...)
				cmd.Env = append(os.Environ(), env...)
				cmd.Stdin = strings.NewReader(stdin)
				out, err := cmd.CombinedOutput()
				return string(out), err
			})
		})
	}
}

const ourKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJiUu4BdRhmxmLcmYUY8BTy9Djb0A4SW5hHwIxPUzBxd"

// The boot that can't be taken back is not asked for unless all that must
// survive it does.
func TestFinish(t *testing.T) {
	const system = "nix/store/0-nixos-system"
	machine := func(t *testing.T) string {
		root := t.TempDir()
		for path, text := range map[string]string{
			"etc/NIXOS": "", "etc/NIXOS_LUSTRATE": "etc/nixos\netc/resolv.conf\n", "etc/machine-id": "0123\n", "var/lib/edge-actions/infect/done": "",
			"etc/ssh/ssh_host_ed25519_key": "k", "etc/ssh/ssh_host_ed25519_key.pub": "p", "etc/ssh/ssh_host_rsa_key": "k", "etc/ssh/ssh_host_dsa_key": "",
			system + "/init": "", system + "/etc/ssh/authorized_keys.d/root": "# the operator's\n" + ourKey + " operator@home\n",
		} {
			write(t, filepath.Join(root, path), text)
		}
		link(t, "system-1-link", filepath.Join(root, "nix/var/nix/profiles/system"))
		link(t, filepath.Join(root, system), filepath.Join(root, "nix/var/nix/profiles/system-1-link"))
		return root
	}
	const kept = "etc/ssh/ssh_host_ed25519_key\netc/ssh/ssh_host_ed25519_key.pub\netc/ssh/ssh_host_rsa_key\netc/ssh/ssh_host_rsa_key.pub\netc/machine-id\n"
	script(t, finishScript, func(t *testing.T, run func(string, []string, ...string) (string, error)) {
		for name, tt := range map[string]struct {
			change func(t *testing.T, root string)
			list   string // what is kept
			says   string // why not
		}{
			"all is there": {list: "etc/nixos\netc/resolv.conf\n" + kept},
			"the last line has no end": {change: func(t *testing.T, root string) { write(t, root+"/etc/NIXOS_LUSTRATE", "etc/nixos\netc/resolv.conf") },
				list: "etc/nixos\netc/resolv.conf\n" + kept},
			"the keys are kept": {change: func(t *testing.T, root string) { write(t, root+"/etc/NIXOS_LUSTRATE", "/etc/ssh/\n/etc/machine-id\n") }, list: "/etc/ssh/\n/etc/machine-id\n"},
			"all of etc is":     {change: func(t *testing.T, root string) { write(t, root+"/etc/NIXOS_LUSTRATE", "etc\n") }, list: "etc\n"},
			"a name that is only alike": {change: func(t *testing.T, root string) {
				write(t, root+"/etc/NIXOS_LUSTRATE", "old/etc/ssh\netc/machine-id.bak\n")
			},
				list: "old/etc/ssh\netc/machine-id.bak\n" + kept},
			"no machine id":   {change: func(t *testing.T, root string) { write(t, root+"/etc/machine-id", "") }, list: "etc/nixos\netc/resolv.conf\n" + strings.TrimSuffix(kept, "etc/machine-id\n")},
			"it did not end":  {change: func(t *testing.T, root string) { remove(t, root+"/var/lib/edge-actions/infect/done") }, says: "was not seen to come to its end"},
			"nothing is kept": {change: func(t *testing.T, root string) { write(t, root+"/etc/NIXOS_LUSTRATE", "") }, says: "nothing would be kept"},
			"no list":         {change: func(t *testing.T, root string) { remove(t, root+"/etc/NIXOS_LUSTRATE") }, says: "nothing would be kept"},
			"no mark":         {change: func(t *testing.T, root string) { remove(t, root+"/etc/NIXOS") }, says: "/etc/NIXOS is not there"},
			"no system":       {change: func(t *testing.T, root string) { remove(t, filepath.Join(root, system, "init")) }, says: "leads to no system"},
			"no host key": {change: func(t *testing.T, root string) {
				for _, name := range []string{"ed25519", "rsa"} {
					write(t, root+"/etc/ssh/ssh_host_"+name+"_key", "")
				}
			}, says: "no host key"},
			"another's key":                     {change: func(t *testing.T, root string) { keys(t, root, system, strings.ToLower(ourKey)+"\n") }, says: "does not let us in as root"},
			"our key, with a command before it": {change: func(t *testing.T, root string) { keys(t, root, system, `from="10.0.0.0/8" `+ourKey+"\n") }, list: "etc/nixos\netc/resolv.conf\n" + kept},
			"our key, commented out":            {change: func(t *testing.T, root string) { keys(t, root, system, " # "+ourKey+"\n") }, says: "does not let us in as root"},
			"no keys at all": {change: func(t *testing.T, root string) {
				remove(t, filepath.Join(root, system, "etc/ssh/authorized_keys.d/root"))
			}, says: "does not let us in as root"},
		} {
			t.Run(name, func(t *testing.T) {
				root := machine(t)
				if tt.change != nil {
					tt.change(t, root)
				}
				before, _ := os.ReadFile(root + "/etc/NIXOS_LUSTRATE")
				out, err := run("", nil, ourKey, root)
				if tt.says != "" {
					contains(t, out, tt.says)
					after, _ := os.ReadFile(root + "/etc/NIXOS_LUSTRATE")
					if err == nil || string(after) != string(before) {
						t.Errorf("%v: %s", err, after)
					}
					return
				}
				if err != nil || out != tt.list {
					t.Errorf("%v\n%s", err, out)
				}
				if again, err := run("", nil, ourKey, root); err != nil || again != out {
					t.Errorf("once more: %v\n%s", err, again)
				}
			})
		}
		t.Run("a machine that asked for no key", func(t *testing.T) {
			root := machine(t)
			remove(t, filepath.Join(root, system, "etc/ssh/authorized_keys.d/root"))
			if out, err := run("", nil, "", root); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	})
}

func keys(t *testing.T, root, system, text string) {
	write(t, filepath.Join(root, system, "etc/ssh/authorized_keys.d/root"), text)
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// What arrives is run as a whole or not at all, in a unit, and leaves its mark
// only after its end.
func TestInfectIsStarted(t *testing.T) {
	script(t, infectScript, func(t *testing.T, run func(string, []string, ...string) (string, error)) {
		for name, tt := range map[string]struct {
			content, sent string
			code          int
			done          bool
			says          string
		}{
			"it ends well":          {content: "echo \"$NIX_CHANNEL, $NO_REBOOT, $HOME, $USER, $(pwd)\"\n", done: true, says: "nixos 25.11; $(x), 1, /root, root, /\n"},
			"it ends with an error": {content: "exit 7\n", code: 7},
			"it was cut":            {content: "true\nreboot\n", sent: "true\n", code: 1, says: "not " + fmt.Sprintf("%x", sha256.Sum256([]byte("true\nreboot\n")))},
			"nothing arrived":       {content: "true\n", sent: "\x00", code: 1, says: "the script that arrived"},
			"it was changed":        {content: "true\n", sent: "reboot\n", code: 1, says: "the script that arrived"},
		} {
			t.Run(name, func(t *testing.T) {
				root, bin := t.TempDir(), t.TempDir()
				for _, fake := range []struct{ name, text string }{
					{"systemctl", "#!/bin/sh\necho \"$@\" >>" + root + "/systemctl\n"},
					// Runs what it is given as its unit would.
					{"systemd-run", "#!/bin/sh\necho \"$@\" >" + root + "/unit\nwhile [ \"$1\" != -- ]; do shift; done\nshift\nexec \"$@\"\n"},
					{"reboot", "#!/bin/sh\n: >" + root + "/rebooted\n"},
				} {
					write(t, filepath.Join(bin, fake.name), fake.text)
				}
				done := write(t, root+"/var/lib/edge-actions/infect/done", "an earlier one's")
				sent := tt.content
				if tt.sent != "" {
					sent = strings.Trim(tt.sent, "\x00")
				}
				out, err := run(sent, []string{"PATH=" + bin + ":" + os.Getenv("PATH")}, infectUnit, fmt.Sprintf("%x", sha256.Sum256([]byte(tt.content))), root, "NO_REBOOT=1", "NIX_CHANNEL=nixos 25.11; $(x)")
				code := 0
				if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
					code = exit.ExitCode()
				}
				contains(t, out, tt.says)
				_, statErr := os.Stat(done)
				if code != tt.code || (statErr == nil) != tt.done {
					t.Errorf("exit code %d, the mark: %v\n%s", code, statErr, out)
				}
				if _, err := os.Stat(root + "/rebooted"); err == nil {
					t.Error("it was run")
				}
				unit, err := os.ReadFile(root + "/unit")
				if (err == nil) != (tt.sent == "") {
					t.Errorf("the unit: %v", err)
				}
				if tt.sent == "" {
					contains(t, string(unit), "--unit="+infectUnit, "--service-type=exec")
					if info, err := os.Stat(root + "/var/lib/edge-actions/infect/script"); err != nil || info.Mode().Perm() != 0o600 {
						t.Errorf("%v, %v", info, err)
					}
				}
			})
		}
	})
}
