package mirror

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/forge"
)

// maxToken bounds a token's file.
const maxToken = 16 << 10

// Read reads what the action is told. What is wrong is in the inputs; the rest
// is set when there is nothing.
func Read(in *action.Inputs, a *action.Action) *Mirror {
	m := &Mirror{Git: &Git{Environ: a.Environ()}}
	base, repository := in.Text("forge_url"), in.Text("repository")
	token, tokenFile := secret(in, a, "token_file")
	mirrorToken, mirrorFile := secret(in, a, "mirror_token_file")
	m.Git.Secrets = nonEmpty(token, mirrorToken)
	m.Repo = open(in, a, base, token, repository)
	source, mirror := in.Text("source"), in.Text("mirror")
	if source == "" && repository != "" {
		source = strings.TrimRight(base, "/") + "/" + repository + ".git"
	}
	m.Source, m.Mirror = place(in, "source", source), place(in, "mirror", mirror)
	if sameOrigin(m.Source.URL, base) {
		m.Source.TokenFile = tokenFile // and nobody else gets the forge's token
	}
	m.Mirror.TokenFile = mirrorFile
	if mirrorFile != "" && m.Mirror.URL != "" && !m.Mirror.HTTP() {
		in.Wrong("mirror_token_file", "nothing with a mirror that is not reached over https", "a file", "leave it empty")
	}
	m.Address = in.Text("push_mirror")
	if m.Address == "" {
		m.Address = mirror
	} else if _, err := ParsePlace(m.Address); err != nil {
		in.Wrong("push_mirror", "the address of a push mirror as the forge shows it, a git URL without a password", err.Error(), "correct the input push_mirror")
	}
	patterns, wrong := ParsePatterns(in.Lines("refs"))
	if wrong != "" || len(patterns) == 0 {
		in.Wrong("refs", "full names of refs, one a line, in which * stands for anything (refs/heads/*)", fmt.Sprintf("%.200q", wrong), "correct the input refs")
	}
	m.Refs = patterns
	m.MaxAge = in.Duration("max_age", time.Minute, 366*24*time.Hour)
	m.Sync, m.SyncTimeout = in.Bool("sync"), in.Duration("sync_timeout", time.Second, 2*time.Hour)
	m.Git.Timeout = in.Duration("git_timeout", time.Second, 2*time.Hour)
	m.Git.Identity, m.Git.KnownHosts = in.KeyFile("identity_file"), knownHosts(in)
	if (m.Source.SSH() || m.Mirror.SSH()) && (in.Text("identity_file") == "" || in.Text("known_hosts") == "") {
		in.Wrong("identity_file", "a key, and known_hosts with the host's key, for an ssh URL", "not both of them", "set identity_file and known_hosts; a key that the network shows proves nothing")
	}
	m.Git.Path = findGit(in)
	return m
}

func nonEmpty(list ...string) (out []string) {
	for _, s := range list {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// secret reads a token that has a file of its own, and masks it.
func secret(in *action.Inputs, a *action.Action, name string) (token, path string) {
	if path = in.KeyFile(name); path == "" {
		return "", ""
	}
	data, err := os.ReadFile(path)
	if err == nil && len(data) > maxToken {
		err = fmt.Errorf("%d bytes", len(data))
	}
	token = strings.TrimSpace(string(data))
	if err != nil || token == "" || strings.ContainsAny(token, " \t\r\n") {
		in.Wrong(name, "a file with one access token and nothing else", "something else", "write the token into it, on one line")
		return "", ""
	}
	a.Mask(token)
	return token, path
}

// open prepares the client. It is nil if something is wrong with what it needs.
func open(in *action.Inputs, a *action.Action, base, token, repository string) *forge.Repo {
	_, err := forge.CheckURL(base)
	if base != "" && err != nil {
		in.Wrong("forge_url", "the address of a forge, https://, or http:// on loopback", err.Error(), "correct the input forge_url")
	}
	owner, name, _ := strings.Cut(repository, "/")
	if nameErr := forge.CheckName(owner, name); repository != "" && nameErr != nil {
		in.Wrong("repository", "a repository as owner/name", fmt.Sprintf("%.200q", repository), "correct the input repository")
		err = nameErr
	}
	if err != nil || repository == "" || token == "" {
		return nil
	}
	client, err := forge.New(base, token, forge.Options{Logf: a.Logf})
	if err != nil {
		in.Wrong("token_file", "an access token of the forge", err.Error(), "make one in the forge (Settings, Applications)")
		return nil
	}
	repo, err := client.Repo(owner, name)
	if err != nil {
		in.Wrong("repository", "a repository as owner/name", err.Error(), "correct the input repository")
	}
	return repo
}

func place(in *action.Inputs, name, value string) Place {
	if value == "" {
		return Place{}
	}
	p, err := ParsePlace(value)
	if err != nil {
		in.Wrong(name, "a git URL, https://, ssh:// or file://, without a password", err.Error(), "correct the input "+name+"; tokens and keys are given on their own")
	}
	return p
}

// sameOrigin reports whether a git URL is on the forge itself.
func sameOrigin(git, base string) bool {
	scheme, rest, _ := strings.Cut(git, "://")
	host, _, _ := strings.Cut(rest, "/")
	u, err := forge.CheckURL(base)
	return err == nil && scheme == u.Scheme && strings.EqualFold(host, u.Host)
}

func knownHosts(in *action.Inputs) string {
	path := in.Text("known_hosts")
	if path == "" {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() || !filepath.IsAbs(path) {
		in.Wrong("known_hosts", "a file on the runner with the hosts' keys, by its absolute path", fmt.Sprintf("%.200q", path), "correct the file or the input known_hosts")
		return ""
	}
	return path
}

func findGit(in *action.Inputs) string {
	name := in.Text("git_path")
	path, err := exec.LookPath(name)
	if err != nil || !filepath.IsAbs(path) {
		in.Wrong("git_path", "git on PATH or at an absolute path", fmt.Sprintf("%.200q", name), "install it (apt install git, xcode-select --install), or set git_path")
		return ""
	}
	return path
}
