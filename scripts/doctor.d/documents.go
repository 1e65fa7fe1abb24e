package main

import (
	"cmp"
	"context"
	"os"
	"strings"

	"edge-actions/internal/contracts"
	"edge-actions/internal/recovery/assert"
)

// lookAssertions: the programs that the operator's assertions start.
func lookAssertions(_ context.Context, u *use) (out []finding) {
	in := u.a.Inputs()
	data := assert.Read(in)
	if err := in.Err(); err != nil {
		return of("", err)
	}
	list, err := assert.Parse(data)
	if data == nil || err != nil {
		return of("the assertions", err)
	}
	for _, a := range list {
		switch {
		case a.Forgejo != nil:
			out = append(out, program("git", installGit)...)
		case a.K3s != nil && a.K3s.EtcdSnapshot != "":
			out = append(out, program("etcd", "install etcd with etcdutl (https://etcd.io/docs/latest/install)")...)
			out = append(out, program("etcdutl", "install etcd with etcdutl (https://etcd.io/docs/latest/install)")...)
		case a.Command != nil && len(a.Command.Argv) > 0 && !strings.Contains(a.Command.Argv[0], "/"):
			out = append(out, program(a.Command.Argv[0], "install it, or correct the assertion "+a.Name)...)
		}
	}
	return out
}

// contracts reads the file of the contracts.
func (u *use) contracts() (*contracts.File, []finding) {
	in := u.a.Inputs()
	path := in.WorkspaceFile("contracts")
	if err := in.Err(); err != nil {
		return nil, of("", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, []finding{failed(wrong, "the contracts", err, "correct the input contracts")}
	}
	f, err := contracts.Parse(data, u.d.now)
	if err != nil {
		return nil, of("", err)
	}
	return f, nil
}

// lookContracts: what the contracts need that are looked at on the runner.
func lookContracts(ctx context.Context, u *use) (out []finding) {
	f, out := u.contracts()
	if f == nil {
		return out
	}
	for _, c := range f.Contracts {
		if c.Host != "" {
			continue
		}
		if r := c.Restic; r != nil {
			out = append(out, u.restic(ctx, cmp.Or(r.Program, "restic"))...)
			out = append(out, u.secrets("password_file of the contract "+c.Name, r.PasswordFile)...)
			out = append(out, u.secrets("repository_file of the contract "+c.Name, r.RepositoryFile)...)
		}
		if l := c.LFS; l != nil {
			out = append(out, u.remote(ctx, l.Remote, cmp.Or(l.Program, "rclone"))...)
		}
		if s := c.State; s != nil {
			out = append(out, u.offsite(ctx, s.Offsite, cmp.Or(s.Program, "rclone"))...)
			out = append(out, u.secrets("age_identity_file of the contract "+c.Name, s.IdentityFile)...)
		}
	}
	return out
}
