package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/sopsx"
	"edge-actions/internal/testing/jobtest"
)

// rightJob has links in its checkout that lead out of it, to a file that would
// decrypt.
func rightJob(t *testing.T) *jobtest.Job {
	t.Helper()
	j := newJob(t)
	outside := t.TempDir()
	data, err := os.ReadFile(filepath.Join(j.Workspace, "secrets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		filepath.Join(outside, "secrets.yaml"): string(data), filepath.Join(j.Workspace, "empty.txt"): "# none\n", filepath.Join(j.Workspace, "object.json"): "{}",
		filepath.Join(j.Workspace, "huge.yaml"): strings.Repeat("#", sopsx.MaxFile+1), filepath.Join(j.Workspace, "bad.txt"): "a b\n",
		filepath.Join(j.Home, "no-key.txt"): "hunter3hunter3\n", filepath.Join(j.Workspace, "key.txt"): "x",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"linked": outside, "link.yaml": filepath.Join(outside, "secrets.yaml"), "up.yaml": "../secrets.yaml"} {
		if err := os.Symlink(to, filepath.Join(j.Workspace, name)); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(j.Home)
	return j.Job
}

func TestWrongInputs(t *testing.T) {
	jobtest.RefusesEach(t, rightJob, []jobtest.Wrong{
		{Input: "mode", Value: "encrypt", Wanted: "one of decrypt, check, sweep"},
		{Input: "mode", Value: "check", Wanted: "no key: check decrypts nothing", Check: "input-age_key_file"},
		{Input: "file", Value: "", Wanted: "the path of the SOPS file"},
		{Input: "file", Value: "nowhere.yaml", Wanted: "no such file"},
		{Input: "file", Value: "../secrets.yaml", Wanted: "leads out of it"},
		{Input: "file", Value: "/etc/passwd", Wanted: "leads out of it"},
		{Input: "file", Value: "linked/secrets.yaml", Wanted: "path escapes"},
		{Input: "file", Value: "link.yaml", Wanted: "path escapes"},
		{Input: "file", Value: "up.yaml", Wanted: "path escapes"},
		{Input: "file", Value: ".", Wanted: "is not a regular file"},
		{Input: "file", Value: "huge.yaml", Wanted: "has more than"},
		{Input: "format", Value: "toml", Wanted: "one of auto, yaml"},
		{Input: "keys", Value: "", Wanted: "the names to decrypt"},
		{Input: "keys", Value: "a b", Wanted: "NAME or NAME=FILE"},
		{Input: "keys", Value: `["a`, Wanted: "NAME or NAME=FILE"},
		{Input: "keys", Value: "a=../b", Wanted: "file names of letters"},
		{Input: "keys", Value: "a=b/c", Wanted: "file names of letters"},
		{Input: "keys", Value: "a=/etc/passwd", Wanted: "file names of letters"},
		{Input: "keys", Value: "a=", Wanted: "file names of letters"},
		{Input: "keys", Value: "a=.edge-actions.json", Wanted: "no dot or hyphen first"},
		{Input: "keys", Value: "a=-rf", Wanted: "no dot or hyphen first"},
		{Input: "keys", Value: `["../../escape"]`, Wanted: "write NAME=FILE"},
		{Input: "keys", Value: "../a", Wanted: "no dot or hyphen first"},
		{Input: "keys", Value: "a/b\na-b", Wanted: "one file for each name"},
		{Input: "keys", Value: "a=token\nb=Token", Wanted: "one file for each name"},
		{Input: "keys", Value: strings.Repeat("x", 101), Wanted: "file names of letters"},
		{Input: "required", Value: "a b", Wanted: "names such as k3s/token"},
		{Input: "required_from", Value: "nowhere.txt", Wanted: "no such file"},
		{Input: "required_from", Value: "linked/secrets.yaml", Wanted: "path escapes"},
		{Input: "required_from", Value: "empty.txt", Wanted: "at least one name"},
		{Input: "required_from", Value: "object.json", Wanted: "a JSON list of names"},
		{Input: "required_from", Value: "bad.txt", Wanted: "names such as k3s/token"},
		{Input: "allow_unencrypted", Value: "a b", Wanted: "names such as k3s/token"},
		{Input: "allow_unencrypted", Value: "number", Wanted: "names among keys and required"},
		{Input: "recipients", Value: "edge-1", Wanted: "age recipients"},
		{Input: "recipients", Value: "ssh-ed25519 AAAA", Wanted: "ssh-to-age"},
		{Input: "age_key_file", Value: "", Wanted: "the file with the age identity"},
		{Input: "age_key_file", Value: "key.txt", Wanted: "is not absolute"},
		{Input: "age_key_file", Value: "/nowhere", Wanted: "outside the checkout"},
		{Input: "age_key_file", Value: "~/no-key.txt", Wanted: "in line 1"},
		{Input: "keep_for", Value: "1s", Wanted: "a time from 1m0s"},
	})
}

func TestWrongInputsTogether(t *testing.T) {
	jobtest.RefusesTogether(t, rightJob(t), map[string]string{
		"mode": "x", "file": "../x", "format": "x", "keys": "a=..", "required": "a b", "required_from": "nowhere", "allow_unencrypted": "/", "recipients": "x", "age_key_file": "x", "keep_for": "x",
	})
}

func TestCheckChecksSomething(t *testing.T) {
	j := newJob(t)
	j.Inputs = map[string]string{"mode": "check", "file": "secrets.yaml"}
	r := j.Do()
	j.red(r, "input-required=disproven")
	r.Says("something to check")
}

// TestAPipeIsNoFile: it would never end.
func TestAPipeIsNoFile(t *testing.T) {
	j := newJob(t)
	mkfifo(t, filepath.Join(j.Workspace, "pipe.yaml"))
	j.Inputs["file"] = "pipe.yaml"
	r := j.Do()
	j.red(r, "input-file=disproven")
	r.Says("is not a regular file")
}
