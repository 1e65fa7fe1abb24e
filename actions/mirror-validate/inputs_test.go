package main

import (
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/testing/jobtest"
)

// right has good inputs, of a forge that need not be there.
func right(t *testing.T) *jobtest.Job {
	t.Helper()
	j := jobtest.New(t, metadata, run)
	for name, text := range map[string]string{"token": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c", "two": "one two", "open": "0f1e2d3c4b5a"} {
		mode := os.FileMode(0o600)
		if name == "open" {
			mode = 0o644
		}
		if err := os.WriteFile(filepath.Join(j.Home, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	j.Inputs["forge_url"], j.Inputs["repository"], j.Inputs["mirror"] = "http://127.0.0.1:1", "owner/name", "https://127.0.0.1:1/owner/name.git"
	j.Inputs["token_file"] = filepath.Join(j.Home, "token")
	return j
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, right, []jobtest.Wrong{
		{Input: "forge_url", Value: "", Wanted: "a value"},
		{Input: "forge_url", Value: "http://forge.example.org", Wanted: "http:// on loopback"},
		{Input: "forge_url", Value: "https://me:hunter3@forge.example.org", Wanted: "a user name or a password in it"},
		{Input: "repository", Value: "", Wanted: "a value"},
		{Input: "repository", Value: "owner", Wanted: "owner/name"},
		{Input: "repository", Value: "owner/name/more", Wanted: "owner/name"},
		{Input: "token_file", Value: "", Wanted: "a value"},
		{Input: "token_file", Value: "/nowhere", Wanted: "only the runner's user can read"},
		{Input: "token_file", Value: "token", Wanted: "is not absolute"},
		{Input: "mirror", Value: "", Wanted: "a value"},
		{Input: "mirror", Value: "ext::sh -c true", Wanted: "a git URL"},
		{Input: "mirror", Value: "http://mirror.example.org/a/b", Wanted: "anybody can listen"},
		{Input: "mirror", Value: "https://token@mirror.example.org/a/b", Wanted: "without a password"},
		{Input: "mirror", Value: "ssh://-oProxyCommand=x/a", Wanted: "a git URL"},
		{Input: "mirror", Value: "git@mirror.example.org:a/b", Wanted: "set identity_file and known_hosts", Check: "input-identity_file"},
		{Input: "push_mirror", Value: "https://me:hunter3@mirror.example.org/a", Wanted: "a user or a password in it"},
		{Input: "source", Value: "git://forge.example.org/a", Wanted: "a git URL"},
		{Input: "refs", Value: "main", Wanted: "full names of refs"},
		{Input: "refs", Value: "refs/heads/a..b", Wanted: "full names of refs"},
		{Input: "refs", Value: "# none", Wanted: "full names of refs"},
		{Input: "max_age", Value: "1d", Wanted: "with its unit"},
		{Input: "sync", Value: "yes", Wanted: "one of true, false"},
		{Input: "sync_timeout", Value: "0", Wanted: "with its unit"},
		{Input: "mirror_token_file", Value: "/nowhere", Wanted: "only the runner's user can read"},
		{Input: "identity_file", Value: "/nowhere", Wanted: "outside the checkout"},
		{Input: "known_hosts", Value: "/nowhere", Wanted: "with the hosts' keys"},
		{Input: "git_timeout", Value: "5", Wanted: "with its unit"},
		{Input: "git_path", Value: "/nowhere/git", Wanted: "git on PATH"},
	})
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, right(t), map[string]string{"forge_url": "x", "repository": "x", "token_file": "/x", "mirror": "x", "refs": "x", "sync": "x", "max_age": "x", "git_path": "/x", "known_hosts": "/x"})
}

// A token's file holds one word, is nobody else's, and is of use.
func TestTokenFiles(t *testing.T) {
	for name, set := range map[string]map[string]string{
		"two words":      {"token_file": "two"},
		"for others too": {"token_file": "open"},
		"of no use":      {"mirror_token_file": "token", "mirror": "file:///srv/mirror.git"},
	} {
		j := right(t)
		for input, value := range set {
			if input == "token_file" || input == "mirror_token_file" {
				value = filepath.Join(j.Home, value)
			}
			j.Inputs[input] = value
		}
		r := j.Do()
		want := "input-token_file"
		if name == "of no use" {
			want = "input-mirror_token_file"
		}
		if r.Code != 1 || r.Outputs["failure_reason"] != want {
			t.Errorf("%s: %q\n%s", name, r.Outputs["failure_reason"], r.Log)
		}
	}
}
