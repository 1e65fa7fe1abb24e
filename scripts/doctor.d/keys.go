package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"edge-actions/internal/cloud"
	"edge-actions/internal/files"
	"edge-actions/internal/oci"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

// secret reads a file that nobody else may read. "" is none.
func (u *use) secret(name, path string) (data []byte, out []finding) {
	if path == "" {
		return nil, nil
	}
	what := name + " " + path
	full := u.home(path)
	err := files.CheckSecret(full)
	switch {
	case !filepath.IsAbs(full):
		return nil, []finding{{status: wrong, what: what, found: "a relative path", fix: "give an absolute one, outside the checkout"}}
	case files.Inside(cmp.Or(u.d.getenv("GITHUB_WORKSPACE"), u.d.dir), full):
		return nil, []finding{{status: wrong, what: what, found: "it in the checkout", fix: "keep it elsewhere on the runner: what a job runs looks around there"}}
	case errors.Is(err, os.ErrNotExist):
		return nil, []finding{failed(missing, what, err, "put it there, with chmod 600")}
	case err != nil:
		fix := "correct the file: it must be one that only the runner's user can read (chmod 600)"
		return nil, []finding{failed(wrong, what, err, fix)}
	}
	if data, err = os.ReadFile(full); err != nil {
		return nil, []finding{failed(wrong, what, files.WithoutPath(err), "make it readable for the runner's user, and for nobody else")}
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, []finding{{status: wrong, what: what, found: "an empty file", fix: "put into it what belongs there"}}
	}
	return data, []finding{{status: ok, what: what, found: "for its owner alone"}}
}

func (u *use) secrets(name string, path string) []finding {
	_, out := u.secret(name, path)
	return out
}

func lookSecret(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding { return u.secrets(input, u.a.Inputs().Text(input)) }
}

func lookSecrets(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) (out []finding) {
		for _, path := range u.a.Inputs().Lines(input) {
			out = append(out, u.secrets(input, path)...)
		}
		return out
	}
}

func lookSSHKey(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding { return u.sshKey(input, u.a.Inputs().Text(input)) }
}

// sshKey: a private key that opens without anybody to ask for a passphrase.
func (u *use) sshKey(name, path string) []finding {
	data, out := u.secret(name, path)
	if data == nil {
		return out
	}
	what := name + " " + path
	_, err := ssh.ParseRawPrivateKey(data)
	if encrypted := (*ssh.PassphraseMissingError)(nil); errors.As(err, &encrypted) {
		return []finding{{status: wrong, what: what, found: "a key with a passphrase", fix: "nobody is there to type it: make one for the runner alone (ssh-keygen -t ed25519 -N '' -f FILE)"}}
	}
	if err != nil {
		return []finding{failed(wrong, what, fmt.Errorf("no private SSH key: %w", err), "give the private half, as ssh-keygen wrote it (not the .pub)")}
	}
	return []finding{{status: ok, what: what, found: "a private SSH key without a passphrase, for its owner alone"}}
}

func lookAgeKey(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding {
		path := u.a.Inputs().Text(input)
		data, out := u.secret(input, path)
		if data == nil {
			return out
		}
		what := input + " " + path
		if _, err := age.ParseIdentities(bytes.NewReader(data)); err != nil {
			return []finding{{status: wrong, what: what, found: "no age identity in it", fix: "give what age-keygen -o FILE wrote, without a passphrase"}}
		}
		return []finding{{status: ok, what: what, found: "an age identity, for its owner alone"}}
	}
}

// lookOCI: the profile with its key, read as for a request that nobody makes.
func lookOCI(ctx context.Context, u *use) []finding {
	in := u.a.Inputs()
	if _, asks := u.action.Input("oci_auth"); !asks {
		return u.secrets("oci_config_file", in.Text("oci_config_file"))
	}
	o := cloud.ReadOptions(in, u.a)
	if err := in.Err(); err != nil {
		return of("", err)
	}
	what := fmt.Sprintf("Oracle's configuration %s", o.ConfigFile)
	if _, err := os.Stat(o.ConfigFile); errors.Is(err, os.ErrNotExist) {
		return []finding{failed(missing, what, files.WithoutPath(err), "make it (oci setup config), or give oci_config_file")}
	}
	if _, err := oci.New(ctx, o); err != nil {
		return of(what, err)
	}
	return []finding{{status: ok, what: what, found: "a profile with its key"}}
}

func lookReadable(input string) func(context.Context, *use) []finding {
	return func(_ context.Context, u *use) []finding {
		return u.readable(input, u.a.Inputs().Text(input), "correct the input "+input+", or the file's mode")
	}
}

func (u *use) readable(name, path, fix string) []finding {
	if path == "" {
		return nil
	}
	what := name + " " + path
	f, err := os.Open(u.home(path))
	if err == nil {
		defer f.Close()
		info, statErr := f.Stat()
		if err = statErr; err == nil && !info.Mode().IsRegular() {
			err = errors.New("something that is not a regular file")
		}
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return []finding{failed(missing, what, files.WithoutPath(err), fix)}
	case err != nil:
		return []finding{failed(wrong, what, files.WithoutPath(err), fix)}
	}
	return []finding{{status: ok, what: what, found: "a file that can be read"}}
}

func lookHandoff(_ context.Context, u *use) []finding {
	return u.readable("handoff_path", u.a.Inputs().Text("handoff_path"), "run the workflow that ends in emit-handoff first, with handoff_dir on this runner")
}

// home puts the home directory in place of a leading ~.
func (u *use) home(path string) string {
	if rest, is := strings.CutPrefix(path, "~/"); is && u.d.getenv("HOME") != "" {
		return filepath.Join(u.d.getenv("HOME"), rest)
	}
	return path
}
