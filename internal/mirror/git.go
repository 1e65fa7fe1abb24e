package mirror

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/command"
	"edge-actions/internal/files"
)

// Git runs git as somebody who has no configuration, no memory of passwords and
// nobody to ask: what it sees is what is given to it here.
type Git struct {
	Path string // absolute, or a name to find on PATH
	// Dir is a private directory that goes with the run.
	Dir string
	// Environ is the runner's environment, of which git gets what it needs.
	Environ []string
	// Timeout is of each command.
	Timeout time.Duration
	// Identity and KnownHosts are files for ssh. Without them there is no ssh:
	// a host that is met for the first time is not trusted.
	Identity, KnownHosts string
	// Secrets are in no error, in whatever form a server says them back.
	Secrets []string
}

// user is who logs in with a token. GitHub and Forgejo look at the token alone,
// and want some name.
const user = "x-access-token"

// remote runs a command that talks to one place.
func (g *Git) remote(ctx context.Context, at Place, stdin io.Reader, max int, args ...string) ([]byte, error) {
	set := map[string]string{"GIT_ALLOW_PROTOCOL": at.scheme()}
	switch {
	case at.SSH():
		ssh, err := g.ssh()
		if err != nil {
			return nil, err
		}
		set["GIT_SSH_COMMAND"], set["GIT_SSH_VARIANT"] = ssh, "ssh"
	case at.TokenFile != "" && at.HTTP():
		ask, err := g.askpass(at)
		if err != nil {
			return nil, err
		}
		set["GIT_ASKPASS"] = ask
	}
	return g.run(ctx, set, stdin, max, args...)
}

func (g *Git) run(ctx context.Context, set map[string]string, stdin io.Reader, max int, args ...string) ([]byte, error) {
	env := map[string]string{
		"HOME": g.Dir, // a .netrc, a .gitconfig
		// git's own lines are looked at by nobody but a person.
		"LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
		"GIT_ASKPASS": "true", "SSH_ASKPASS": "true", // says nothing
		// Where a server sends git elsewhere, the token would go along.
		"GIT_CONFIG_COUNT": "3",
		"GIT_CONFIG_KEY_0": "http.followRedirects", "GIT_CONFIG_VALUE_0": "false",
		"GIT_CONFIG_KEY_1": "credential.helper", "GIT_CONFIG_VALUE_1": "",
		"GIT_CONFIG_KEY_2": "gc.auto", "GIT_CONFIG_VALUE_2": "0",
	}
	for name, value := range set {
		env[name] = value
	}
	out, err := command.Output(ctx, command.Cmd{
		Path: g.Path, Args: args, Dir: g.Dir, Env: command.Environ(g.Environ, command.Base, env), Stdin: stdin,
		Timeout: g.Timeout, Grace: 5 * time.Second,
	}, max)
	if err != nil {
		return nil, g.hide(err)
	}
	return out, nil
}

// hide takes the secrets out of an error; its exit code stays.
func (g *Git) hide(err error) error {
	var pairs []string
	for _, s := range g.Secrets {
		pairs = append(pairs, s, "[token]", base64.StdEncoding.EncodeToString([]byte(user+":"+s)), "[token]")
	}
	hidden := strings.NewReplacer(pairs...)
	var exit *command.ExitError
	if errors.As(err, &exit) {
		clean := *exit
		clean.Stderr = hidden.Replace(exit.Stderr)
		return &clean
	}
	return errors.New(hidden.Replace(err.Error()))
}

// askpass writes the program that git asks for a name and a password. It reads
// the token's file itself, so that the token is in no argument and in no
// environment, and answers for one host only.
func (g *Git) askpass(at Place) (string, error) {
	scheme, rest, _ := strings.Cut(at.URL, "://")
	host, _, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(at.TokenFile, "'\n") {
		return "", fmt.Errorf("the path %q, which has a quote or a line break in it", at.TokenFile)
	}
	text := fmt.Sprintf(`#!/bin/sh
case $1 in
"Username for '%[1]s://%[2]s': ") echo %[3]s ;;
"Password for '%[1]s://%[3]s@%[2]s': ") cat '%[4]s' ;;
*) exit 1 ;;
esac
`, scheme, host, user, at.TokenFile)
	return g.script("askpass", text)
}

// ssh is the command with which git reaches a host: one key, hosts whose keys
// are known beforehand, and nothing of the user's own configuration, which could
// say otherwise.
func (g *Git) ssh() (string, error) {
	if g.Identity == "" || g.KnownHosts == "" {
		return "", errors.New("no identity_file or no known_hosts, which ssh needs")
	}
	for _, path := range []string{g.Identity, g.KnownHosts, g.Dir} {
		if strings.ContainsAny(path, "'\"%$\n") {
			return "", fmt.Errorf("the path %q, which ssh would read in its own way", path)
		}
	}
	config := filepath.Join(g.Dir, "ssh_config")
	if err := files.Write(config, fmt.Appendf(nil, `Host *
BatchMode yes
StrictHostKeyChecking yes
UserKnownHostsFile "%s"
GlobalKnownHostsFile /dev/null
UpdateHostKeys no
IdentitiesOnly yes
IdentityFile "%s"
IdentityAgent none
PreferredAuthentications publickey
ConnectTimeout 20
ServerAliveInterval 10
ControlMaster no
ControlPath none
`, g.KnownHosts, g.Identity)); err != nil {
		return "", err
	}
	return "ssh -F '" + config + "'", nil
}

func (g *Git) script(name, text string) (string, error) {
	path := filepath.Join(g.Dir, name)
	if err := files.Write(path, []byte(text)); err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o700)
}

// history is a repository of commits without their content.
type history struct {
	g   *Git
	dir string
}

// maxQuiet bounds what git says where it should say nothing.
const maxQuiet = 1 << 20

func (g *Git) history(ctx context.Context) (*history, error) {
	dir, err := os.MkdirTemp(g.Dir, "history-")
	if err != nil {
		return nil, err
	}
	h := &history{g, dir}
	_, err = g.run(ctx, nil, nil, maxQuiet, "init", "--quiet", "--bare", "--template=", dir)
	return h, err
}

// fetch gets the commits of some refs, under a name of ours. A server that can't
// leave out trees sends them.
func (h *history) fetch(ctx context.Context, at Place, as string, refs []string) error {
	var specs bytes.Buffer
	for i, ref := range refs {
		fmt.Fprintf(&specs, "+%s:refs/%s/%d\n", ref, as, i)
	}
	_, err := h.g.remote(ctx, at, &specs, maxQuiet, "-C", h.dir, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--filter=tree:0", "--stdin", "--", at.URL)
	return err
}

// ancestor reports whether one commit comes before the other. Both are here, so
// that git need not ask anybody for them: it could not, without a protocol.
func (h *history) ancestor(ctx context.Context, before, after string) (bool, error) {
	_, err := h.g.run(ctx, map[string]string{"GIT_ALLOW_PROTOCOL": "none"}, nil, maxQuiet, "-C", h.dir, "merge-base", "--is-ancestor", before, after)
	if command.Code(err) == 1 {
		return false, nil
	}
	return err == nil, err
}
