package colmena

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/verdict"
	"edge-actions/internal/versions"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"
)

const operator = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3gkhBWT6wQFNOTWVb0Ks9ZTMoSBVG9jmo2xpRTmNrL"

func hostKey(t *testing.T, line string) ssh.PublicKey {
	t.Helper()
	key, err := sshx.ParseHostKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// output is written to by a child's stdout and stderr at once.
type output struct {
	mu sync.Mutex
	b  strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// cli is the double of Colmena, with a hive.
func cli(t *testing.T, nodes ...colmenatest.Node) (*CLI, *output) {
	t.Helper()
	dir, log := t.TempDir(), &output{}
	colmenatest.WriteHive(t, dir, nodes)
	return &CLI{
		Path: filepath.Join(colmenatest.Install(t), "colmena"), Dir: dir, Log: log, EvalTimeout: time.Minute, BuildTimeout: time.Minute,
		Env: Environ([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + colmenatest.Home(t), "NIX_REMOTE=", "GITHUB_TOKEN=hunter2"}),
	}, log
}

func TestEval(t *testing.T) {
	c, _ := cli(t, colmenatest.Node{Name: "edge-1", TargetHost: "edge-1.lab", TargetPort: 2222, Tags: []string{"edge"}, AuthorizedKeys: []string{operator}, AgeKeyFile: "/persist/key.txt"},
		colmenatest.Node{Name: "edge-2", LocalOnly: true, SSHDisabled: true, HostName: "other"}, colmenatest.Node{Name: "broken", Throws: "no such option"})
	got, err := c.Eval(t.Context(), []string{"edge-1", "edge-2"})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range got {
		if !strings.HasPrefix(f.System, "/nix/store/") || !strings.HasSuffix(f.System, "-nixos-system-"+f.HostName+"-2") {
			t.Errorf("%s: %q", name, f.System)
		}
		f.System = ""
		got[name] = f
	}
	want := map[string]Facts{
		"edge-1": {TargetHost: "edge-1.lab", TargetUser: "nixos", TargetPort: 2222, Tags: []string{"edge"}, HostName: "edge-1", SSH: true, Keys: map[string][]string{"nixos": {operator}, "root": {}}, AgeKeyFile: "/persist/key.txt"},
		"edge-2": {TargetUser: "nixos", Tags: []string{}, HostName: "other", Keys: map[string][]string{"nixos": {}, "root": {}}, AgeKeyFile: "/var/lib/sops-nix/key.txt"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, test := range map[string]struct {
		names []string
		id    string
		words string
	}{
		"a mistyped name":  {[]string{"edge-1", "egde-2"}, "selection", `["broken" "edge-1" "edge-2"]`},
		"no name":          {nil, "selection", "the names of nodes"},
		"a broken node":    {[]string{"broken"}, "evaluation", "no such option"},
		"a pattern":        {[]string{"edge-*"}, "run", "no pattern"},
		"a tag":            {[]string{"@edge"}, "run", "no @tag"},
		"several in one":   {[]string{"edge-1,edge-2"}, "run", "is no name"},
		"out of the quote": {[]string{"''+throw''"}, "run", "is no name"},
		"an option":        {[]string{"-x"}, "run", "is no name"},
	} {
		if _, err := c.Eval(t.Context(), test.names); verdict.Reason(err) != test.id || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// An empty selection is green with Colmena itself.
	if err := c.Push(t.Context(), nil, 1); err == nil {
		t.Error("it pushed to nobody")
	}
}

func TestCheckVersion(t *testing.T) {
	dir := t.TempDir()
	for said, want := range map[string]string{
		"colmena 0.5.0-pre": "", "colmena 0.4.0": "", "nix (Nix) 2.28.3": "", "colmena 0.3.2": "0.3.2", "colmena": "unreadable version", "": "unreadable version",
	} {
		path := filepath.Join(dir, "tool")
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+said+"'\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		c, err := versions.ParseConstraint(">= 0.4")
		if err != nil {
			t.Fatal(err)
		}
		_, err = CheckVersion(t.Context(), path, "colmena", []string{}, c, "install it")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", said, err)
		}
	}
}

func TestWriteSSHConfig(t *testing.T) {
	dir := t.TempDir()
	include := filepath.Join(dir, "mine")
	if err := os.WriteFile(include, []byte("Host edge-1.lab\n  HostName 192.0.2.1\n  Port 2222\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, err := WriteSSHConfig(dir, []Pin{{Name: "edge-1", Host: "edge-1.lab", HostKey: hostKey(t, operator), IdentityFile: "/home/me/key"}}, include)
	if err != nil {
		t.Fatal(err)
	}
	// What ssh itself makes of it.
	got := realtools.Output(t, "ssh", "-G", "-F", path, "edge-1.lab")
	for _, want := range []string{
		"hostname 192.0.2.1\n", "port 2222\n", "hostkeyalias edge-actions-edge-1\n", "userknownhostsfile " + dir + "/known_hosts\n", "globalknownhostsfile /dev/null\n",
		"hostkeyalgorithms ssh-ed25519\n", "identityfile /home/me/key\n", "identitiesonly yes\n", "connecttimeout 20\n", "serveraliveinterval 15\n", "updatehostkeys false\n", "batchmode yes\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("ssh does not see %q", want)
		}
	}
	if out := realtools.Output(t, "ssh-keygen", "-F", "edge-actions-edge-1", "-f", filepath.Join(dir, "known_hosts")); !strings.Contains(out, strings.Fields(operator)[1]) {
		t.Errorf("%s", out)
	}
	for name, pin := range map[string]Pin{
		"a blank in the host": {Name: "a", Host: "b c", HostKey: hostKey(t, operator)}, "a line in the name": {Name: "a\nHost *", Host: "b", HostKey: hostKey(t, operator)},
		"a quote in the file": {Name: "a", Host: "b", HostKey: hostKey(t, operator), IdentityFile: `/x"y`},
	} {
		if _, err := WriteSSHConfig(dir, []Pin{pin}, ""); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := WriteSSHConfig(filepath.Join(dir, "a b"), nil, ""); err == nil {
		t.Error("a path with a blank, which NIX_SSHOPTS would split")
	}
}

// The key that is pinned is the one that counts, although Colmena tells ssh to
// accept what it does not know.
func TestLabPush(t *testing.T) {
	l := lab.New(t, 1)
	h := l.Hosts[0]
	c, log := cli(t, colmenatest.Node{Name: "edge-1", TargetHost: h.Address})
	pin := func(key string) {
		t.Helper()
		var err error
		if c.SSHConfig, err = WriteSSHConfig(t.TempDir(), []Pin{{Name: "edge-1", Host: h.Address, HostKey: hostKey(t, key), IdentityFile: l.Key}}, ""); err != nil {
			t.Fatal(err)
		}
	}
	pin(operator)
	if err := c.Push(t.Context(), []string{"edge-1"}, 1); verdict.Reason(err) != "push" || !strings.Contains(log.String(), "Host key verification failed") {
		t.Fatalf("%v\n%s", err, log)
	}
	pin(h.HostKey)
	if err := c.Push(t.Context(), []string{"edge-1"}, 1); err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	facts, err := c.Eval(t.Context(), []string{"edge-1"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := h.Run("test -x " + facts["edge-1"].System + "/bin/switch-to-configuration && readlink /run/current-system"); err != nil || out == facts["edge-1"].System {
		t.Errorf("%v: live is %s", err, out)
	}
	if strings.Contains(log.String(), "hunter2") {
		t.Error("a token reached Colmena")
	}
}
