package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/handoff"
	"edge-actions/internal/handoff/receive"
	"edge-actions/internal/verdict"
)

// maxHandoff is far more than 10,000 nodes take.
const maxHandoff = 64 << 20

var repositoryForm = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

func run(_ context.Context, a *action.Action) error {
	in := a.Inputs()
	now := time.Now()
	path := in.WorkspaceFile("handoff")
	rules := &receive.Rules{
		SHA256: in.SHA256("handoff_sha256"), Repository: in.Text("repository"), Now: now, Seen: in.RunnerPath("seen_dir"),
		MaxAge: in.Duration("max_age", time.Minute, 10*366*24*time.Hour), MaxSkew: in.Duration("max_skew", 0, time.Hour),
		Accept: in.SomeOf("accept", receive.Guards...),
	}
	if rules.Repository != "" && !repositoryForm.MatchString(rules.Repository) {
		in.Wrong("repository", "a repository as owner/name", fmt.Sprintf("%.200q", rules.Repository), "correct the input repository")
	}
	var err error
	if rules.Signers, err = receive.ParseSigners(in.Text("allowed_signers"), now); err != nil && in.Text("allowed_signers") != "" {
		in.Wrong("allowed_signers", "public SSH keys, one a line", err.Error(), "give the line of the .pub file of the stack's signing_key")
	}
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = rules.Repository
	data, signature, err := read(path)
	if err != nil {
		return err
	}
	doc, checks := rules.Check(data, signature)
	a.Report.Add(checks...)
	a.SetOutput("verdict", string(verdict.Of(checks)))
	if verdict.Of(checks) != verdict.Proven {
		return nil
	}
	matrix, err := doc.Matrix()
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		"handoff_path": path, "handoff_sha256": fmt.Sprintf("%x", sha256.Sum256(data)), "state_serial": strconv.FormatInt(doc.Context.StateSerial, 10),
		"matrix": matrix, "node_count": strconv.Itoa(len(doc.Nodes)),
	} {
		a.SetOutput(name, value)
	}
	return nil
}

func read(path string) (data, signature []byte, err error) {
	for at, into := range map[string]*[]byte{path: &data, path + handoff.SignatureSuffix: &signature} {
		info, err := os.Stat(at)
		if err == nil && (!info.Mode().IsRegular() || info.Size() > maxHandoff) {
			err = fmt.Errorf("%q is no regular file of at most %d bytes", at, maxHandoff)
		}
		if err == nil {
			*into, err = os.ReadFile(at)
		}
		if err != nil {
			return nil, nil, verdict.CannotTell(receive.Document, "a handoff with its signature beside it", err, "deliver both files; without a signature nobody vouches for it")
		}
	}
	return data, signature, nil
}
