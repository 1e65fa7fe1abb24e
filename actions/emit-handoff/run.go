package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/cloud"
	"edge-actions/internal/delivery"
	"edge-actions/internal/files"
	"edge-actions/internal/handoff"
	"edge-actions/internal/oci"
	"edge-actions/internal/tfstate"
	"edge-actions/internal/tofu"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

// maxOutputs bounds what is read of a stack's outputs: 10,000 nodes with a
// dozen disks each have less.
const maxOutputs = 64 << 20

// maxVerify bounds how long the cloud is asked. 10,000 nodes are some hundred
// pages, each of which takes less than a second.
const maxVerify = 10 * time.Minute

// stack says where the outputs are read.
type stack struct {
	path, workspace, dataDir, tofu string
	json                           string // a file with the outputs; the rest is then not needed
}

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	from := stack{
		path: in.WorkspaceDir("path"), workspace: in.Slug("workspace"), dataDir: in.RunnerPath("data_dir"),
		tofu: in.Text("tofu_path"), json: in.Text("outputs_json"),
	}
	mapping, mappingErr := handoff.ParseMapping(in.Text("mapping"), in.Text("output"))
	about := handoff.Context{
		Repository: a.Getenv("GITHUB_REPOSITORY"), Commit: a.Getenv("GITHUB_SHA"),
		RunID: a.Getenv("GITHUB_RUN_ID"), RunAttempt: a.Getenv("GITHUB_RUN_ATTEMPT"),
		StateLineage: in.Text("state_lineage"), StateSerial: int64(in.Int("state_serial", 1, math.MaxInt)),
		Created: time.Now(),
	}
	key, dir := in.SecretFile("signing_key"), in.RunnerPath("handoff_dir")
	client := readVerify(ctx, in, a)
	to := delivery.Read(in, a, key != "")
	if err := errors.Join(in.Err(), mappingErr); err != nil {
		return err
	}
	var signer ssh.Signer // nil: no signature was asked for
	var err error
	if key != "" {
		if signer, err = handoff.ReadSigner(key); err != nil {
			return err
		}
	}
	if dir, err = writableDir(a, dir); err != nil {
		return err
	}
	outputs, err := readOutputs(ctx, a, from, about)
	if err != nil {
		return err
	}
	doc, err := handoff.Build(outputs, mapping, about)
	if err != nil {
		return err
	}
	matrix, err := doc.Matrix()
	if err != nil {
		return err
	}
	// Before anything is written: a document that is wrong never leaves.
	if err := verify(ctx, a, client, doc); err != nil {
		return err
	}
	written, err := doc.Write(dir, signer)
	if err != nil {
		return err
	}
	publish(a, doc, written, matrix)
	return deliver(ctx, a, to, written, signer)
}

// deliver brings the handoff to the repository of the machines, if it was asked
// for.
func deliver(ctx context.Context, a *action.Action, to *delivery.Delivery, written handoff.Written, signer ssh.Signer) error {
	for _, name := range []string{"delivered", "delivered_commit", "run_id", "run_url"} {
		a.SetOutput(name, "")
	}
	if to == nil {
		return nil
	}
	document, signature, err := delivery.Signed(written)
	if err != nil {
		return err
	}
	to.Signer = signer.PublicKey()
	r := to.Deliver(ctx, document, signature)
	a.Report.Add(r.Checks...)
	a.SetOutput("delivered", string(r.Outcome))
	a.SetOutput("delivered_commit", r.Commit)
	if r.RunID > 0 {
		a.SetOutput("run_id", strconv.FormatInt(r.RunID, 10))
		a.SetOutput("run_url", r.RunURL)
	}
	return nil
}

// readVerify reads whom to ask about the nodes. It is nil if nobody is to be
// asked, and if something is wrong with the inputs.
func readVerify(ctx context.Context, in *action.Inputs, a *action.Action) *oci.Client {
	if in.OneOf("verify", "none", "oci") == "oci" {
		return cloud.Connect(ctx, in, cloud.ReadOptions(in, a))
	}
	cloud.ReadNone(in, a, "verify: oci")
	return nil
}

// verify holds the document against the cloud, if that was asked for.
func verify(ctx context.Context, a *action.Action, client *oci.Client, doc *handoff.Document) error {
	if client == nil {
		a.Logf("The handoff is not held against the cloud: verify is none.")
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, maxVerify)
	defer cancel()
	found, err := cloud.Verify(ctx, client, doc)
	if err != nil {
		a.Logf("Nothing was written: the handoff is not what the cloud has, or the cloud could not be asked.")
		return err
	}
	a.Report.Add(found)
	return nil
}

// publish turns the handoff into checks and outputs.
func publish(a *action.Action, doc *handoff.Document, w handoff.Written, matrix string) {
	c := doc.Context
	a.Report.Subject = fmt.Sprintf("%s at %.12s, state serial %d", c.Repository, c.Commit, c.StateSerial)
	count := strconv.Itoa(len(doc.Nodes))
	a.Report.Prove("outputs-clean", "outputs without secrets, unknown values and duplicates", "none in them")
	a.Report.Prove("nodes", "at least one node", count)
	a.Report.Prove("written", "a handoff on disk, whole, in the form "+handoff.SchemaName, w.Path)
	if w.SignaturePath != "" {
		a.Report.Prove("signature", "a signature on disk that verifies", w.Fingerprint)
	} else {
		a.Logf("The handoff is not signed: signing_key is not set.")
	}
	n := doc.Single()
	for name, value := range map[string]string{
		"handoff_path": w.Path, "handoff_sha256": w.SHA256, "signature_path": w.SignaturePath,
		"matrix": matrix, "node_count": count,
		"node_name": n.Name, "hostname": n.Hostname, "instance_id": n.InstanceID,
		"private_ip": n.PrivateIP, "public_ip": n.PublicIP, "region": n.Region,
		"availability_domain": n.AvailabilityDomain, "subnet_id": n.SubnetID, "ssh_host_key": n.SSHHostKey,
	} {
		a.SetOutput(name, value)
	}
}

// writableDir returns the directory to write to, which is there afterwards.
func writableDir(a *action.Action, dir string) (string, error) {
	if dir == "" {
		return a.TempDir("handoff")
	}
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = files.CheckPrivateDir(dir)
	}
	if err != nil {
		return "", verdict.Refuse("input-handoff_dir", "a directory that only the runner's user can write to", fmt.Sprintf("%q: %v", dir, err), "correct the directory or the input handoff_dir")
	}
	return dir, nil
}

// readOutputs returns what `tofu output -json` prints for the stack, from the
// file that has it or from tofu itself. It holds sensitive outputs in clear:
// it is never written or printed.
func readOutputs(ctx context.Context, a *action.Action, s stack, about handoff.Context) ([]byte, error) {
	if s.json != "" {
		return readFile(a, s.json)
	}
	path, err := exec.LookPath(s.tofu)
	if err == nil && !filepath.IsAbs(path) {
		err = fmt.Errorf("found at %q: %w", path, errors.New("not an absolute path"))
	}
	if err != nil {
		return nil, verdict.Refuse("input-tofu_path", "the tofu binary on PATH or at an absolute path", fmt.Sprintf("%q: %v", s.tofu, errors.Unwrap(err)),
			"install OpenTofu before this step (https://opentofu.org/docs/intro/install), or set tofu_path")
	}
	cli := &tofu.CLI{
		Path: path, Dir: s.path, DataDir: s.dataDir, Timeout: 5 * time.Minute,
		Env: tofu.Environ(a.Environ(), nil, map[string]string{"TF_WORKSPACE": s.workspace}),
	}
	if cli.DataDir == "" {
		cli.DataDir = filepath.Join(s.path, ".terraform")
	}
	out, err := cli.Outputs(ctx)
	if err != nil {
		return nil, verdict.CannotTell("tofu-output", "tofu output -json to end well", err, "run tofu init in path before this step, with the same data_dir and workspace")
	}
	return out, checkState(ctx, a, cli, about)
}

// checkState holds the state that the outputs were read from against the one
// that was applied. It comes after the outputs: whoever wrote the state before
// or between has counted its serial up.
func checkState(ctx context.Context, a *action.Action, cli *tofu.CLI, about handoff.Context) error {
	now, err := tfstate.Look(ctx, tfstate.Pull{Backend: "of " + cli.Dir, Pull: cli.StatePull})
	if err != nil {
		return verdict.CannotTell("tofu-output", "the state that the outputs come from", err, "look at the state with tofu state pull")
	}
	if got := int64(now.Serial); got != about.StateSerial || now.Lineage != about.StateLineage {
		found := fmt.Sprintf("serial %d, lineage %q", got, now.Lineage)
		if now.Absent {
			found = "no state"
		}
		return verdict.Refuse("state-moved", fmt.Sprintf("the state that was applied: serial %d, lineage %q", about.StateSerial, about.StateLineage), found,
			"another run wrote the state since; run the workflow again")
	}
	a.Report.Prove("state", "the outputs of the state that was applied", fmt.Sprintf("serial %d, lineage %s", now.Serial, now.Lineage))
	return nil
}

func readFile(a *action.Action, path string) ([]byte, error) {
	refuse := func(err error) error {
		return verdict.Refuse("input-outputs_json", "a file with what `tofu output -json` printed", fmt.Sprintf("%q: %v", path, err), "write it in an earlier step, or leave outputs_json empty to have it read here")
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(a.Workspace(), full)
	}
	info, err := os.Stat(full)
	if err != nil {
		return nil, refuse(errors.Unwrap(err))
	}
	if !info.Mode().IsRegular() { // a pipe or a device would never end
		return nil, refuse(errors.New("not a regular file"))
	}
	f, err := os.Open(full)
	if err != nil {
		return nil, refuse(errors.Unwrap(err))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxOutputs+1))
	if err != nil {
		return nil, refuse(err)
	}
	if len(data) > maxOutputs {
		return nil, refuse(fmt.Errorf("more than %d bytes", maxOutputs))
	}
	return data, nil
}
