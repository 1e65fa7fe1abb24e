package delivery

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/forge/access"
	"edge-actions/internal/handoff"
)

var (
	workflowForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}\.ya?ml$`)
	branchForm   = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]{0,200}$`)
)

// Read reads the inputs that say where a handoff goes; nil if it goes nowhere.
// signed says whether it is signed at all. What is wrong with them is recorded in
// in. The signer is still to be set.
func Read(in *action.Inputs, a *action.Action, signed bool) *Delivery {
	target, url, tokenFile := in.Text("deliver"), in.Text("deliver_url"), in.Text("deliver_token_file")
	d := &Delivery{
		Branch: in.Text("deliver_branch"), Path: in.Text("deliver_path"), Workflow: in.Text("deliver_workflow"),
		Again: in.Duration("deliver_again", time.Minute, 366*24*time.Hour), Wait: in.Duration("deliver_wait", time.Second, 24*time.Hour), Poll: 5 * time.Second,
		Journal: &Journal{Dir: in.RunnerPath("deliver_dir")}, Now: time.Now(), Logf: a.Logf,
	}
	status := in.Bool("deliver_status")
	if target == "" {
		if url != "" || tokenFile != "" || d.Workflow != "" {
			in.Wrong("deliver", "the repository for which deliver_url, deliver_token_file or deliver_workflow is", "nothing", "set the input deliver to owner/name")
		}
		return nil
	}
	if !signed {
		in.Wrong("signing_key", "a key, because a handoff that is delivered is signed", "none", "make one with ssh-keygen -t ed25519 -N '' and set signing_key")
	}
	if d.Workflow != "" && !workflowForm.MatchString(d.Workflow) {
		in.Wrong("deliver_workflow", "the name of a workflow's file, such as deploy.yml", fmt.Sprintf("%.100q", d.Workflow), "correct the input deliver_workflow")
	}
	if !branchForm.MatchString(d.Branch) {
		in.Wrong("deliver_branch", "the name of a branch", fmt.Sprintf("%.100q", d.Branch), "correct the input deliver_branch")
	}
	if path.IsAbs(d.Path) || path.Clean(d.Path) != d.Path || strings.HasPrefix(d.Path, "..") || !strings.HasSuffix(d.Path, ".json") {
		in.Wrong("deliver_path", "the path of a .json file in the repository", fmt.Sprintf("%.200q", d.Path), "correct the input deliver_path")
	}
	client := access.Client(in, a, access.Names{URL: "deliver_url", TokenFile: "deliver_token_file", Scopes: "write:repository"})
	if client == nil {
		return d
	}
	d.Target = access.Repo(in, client, "deliver", target)
	if status {
		d.Source = access.Repo(in, client, "deliver_status", a.Getenv("GITHUB_REPOSITORY"))
	}
	return d
}

// Signed reads back what was written, for a delivery.
func Signed(w handoff.Written) (document, signature []byte, err error) {
	if document, err = os.ReadFile(w.Path); err == nil {
		signature, err = os.ReadFile(w.SignaturePath)
	}
	return document, signature, err
}
