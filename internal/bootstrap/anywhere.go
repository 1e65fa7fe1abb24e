package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/colmena"
	"edge-actions/internal/command"
	"edge-actions/internal/files"
	"edge-actions/internal/verdict"
)

// AnywhereTool is nixos-anywhere on the runner.
type AnywhereTool struct {
	// Path is the program's, SSH and SCP are OpenSSH's.
	Path, SSH, SCP string
	// Flake is FLAKE#NAME, and Dir where it is taken from.
	Flake, Dir string
	// Args are options besides, in its own words.
	Args []string
	Env  []string
}

// anywhere runs nixos-anywhere and waits for what comes back. It switches off
// the checks of host keys in front of all other options, so the ssh that it
// finds is one of ours: of two options ssh takes the first.
func (b *Bootstrap) anywhere(ctx context.Context, s *Seen, phases string) error {
	key := s.conn.HostKey()
	s.conn.Close()
	host := b.member.Target.Host
	spec := b.Deploy.Spec
	dir := filepath.Join(b.Deploy.Dir, "anywhere")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	config, err := colmena.WriteSSHConfig(dir, []colmena.Pin{{Name: spec.Nodes[0], Host: host, HostKey: key, IdentityFile: spec.IdentityFile}}, b.Deploy.UserConfig())
	if err != nil {
		return err
	}
	bin, err := b.pinnedSSH(dir, config)
	if err != nil {
		return err
	}
	args := append([]string{"--flake", b.Anywhere.Flake, "--target-host", s.User + "@" + host, "--phases", phases, "--copy-host-keys"}, b.Anywhere.Args...)
	if spec.IdentityFile != "" {
		args = append(args, "-i", spec.IdentityFile)
	}
	extra, err := b.extraFiles(dir, s)
	if err != nil {
		return err
	}
	if extra != "" {
		args = append(args, "--extra-files", extra)
	}
	b.Log.Logf("running nixos-anywhere with the phases %s", phases)
	w := b.Log.Fence("nixos-anywhere")
	err = command.Run(ctx, command.Cmd{
		Path: b.Anywhere.Path, Args: args, Dir: b.Anywhere.Dir, Env: prepend(b.Anywhere.Env, bin), Stdout: w, Stderr: w, Timeout: b.Times.Transition, Grace: 10 * time.Second,
	})
	w.Close()
	if _, unused := os.Stat(filepath.Join(bin, usedMark)); unused != nil && err == nil {
		return verdict.Refuse(Transition, "nixos-anywhere to take the ssh that holds the machine to its key", "another one: "+bin+" is first on its PATH and was not used",
			"give an anywhere_path that leaves PATH as it is; nothing that this run sent to the machine is proven to have gone to the right one")
	}
	if err != nil {
		return verdict.CannotTell(Transition, "nixos-anywhere to come to its end", err, "see what it says above; the next run goes on from what the machine shows")
	}
	return b.arrive(ctx, s.BootID)
}

// arrive waits for NixOS: nixos-anywhere is content with a machine that does
// not answer, and one that is on its way down still does.
func (b *Bootstrap) arrive(ctx context.Context, before string) error {
	end := time.Now().Add(b.Times.Boot)
	for {
		now, err := b.look(ctx, max(time.Until(end), time.Second))
		if err == nil {
			now.conn.Close()
			if now.Stage == NixOS && now.BootID != before {
				return nil
			}
			err = fmt.Errorf("it is %s, boot %s", now.Stage, now.BootID)
		} else if !passing(err) {
			return err
		}
		if time.Now().After(end) {
			return verdict.CannotTell(Transition, fmt.Sprintf("NixOS to be up within %s of its installation", b.Times.Boot), err, "see the machine's console")
		}
		select {
		case <-time.After(b.poll()):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// passing reports whether an error can come from a machine that is going down
// or coming up.
func passing(err error) bool {
	return verdict.Has(err, "unreachable", "ssh-timeout", "connection-lost", Login, "probe")
}

// usedMark is beside the ssh that was used.
const usedMark = "used"

// pinnedSSH writes ssh and scp that hold the host to its pinned key.
func (b *Bootstrap) pinnedSSH(dir, config string) (bin string, err error) {
	bin = filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return "", err
	}
	used := filepath.Join(bin, usedMark)
	if err := os.Remove(used); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	known := filepath.Join(filepath.Dir(config), "known_hosts")
	pins := "-F " + config + " -o StrictHostKeyChecking=yes -o UserKnownHostsFile=" + known + " -o GlobalKnownHostsFile=/dev/null -o UpdateHostKeys=no"
	for name, line := range map[string]string{
		"ssh": ": >" + used + "\nexec " + shell(b.Anywhere.SSH) + " " + pins + ` "$@"`,
		"scp": "exec " + shell(b.Anywhere.SCP) + " -S " + filepath.Join(bin, "ssh") + " " + pins + ` "$@"`,
	} {
		path := filepath.Join(bin, name)
		if err := files.Write(path, []byte("#!/bin/sh\n# The first of two options counts.\n"+line+"\n")); err != nil {
			return "", err
		}
		if err := os.Chmod(path, 0o700); err != nil {
			return "", err
		}
	}
	return bin, nil
}

// shell is a path as a word of sh's. Those in the job's own directory are plain,
// which colmena.WriteSSHConfig has seen to.
func shell(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// extraFiles are what the new system is to have from the old one.
func (b *Bootstrap) extraFiles(dir string, s *Seen) (string, error) {
	id := b.member.Expect.MachineID
	if id == "" && s.Stage == Bare {
		id = s.MachineID
	}
	if id == "" {
		return "", nil
	}
	extra := filepath.Join(dir, "extra")
	if err := os.MkdirAll(filepath.Join(extra, "etc"), 0o755); err != nil {
		return "", err
	}
	path := filepath.Join(extra, "etc", "machine-id")
	if err := files.Write(path, []byte(id+"\n")); err != nil {
		return "", err
	}
	return extra, os.Chmod(path, 0o444)
}

// prepend puts a directory in front of PATH.
func prepend(env []string, dir string) []string {
	out := []string{"PATH=" + dir}
	for _, kv := range env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			out[0] = "PATH=" + dir + ":" + path
			continue
		}
		out = append(out, kv)
	}
	return out
}
