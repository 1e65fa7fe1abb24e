package delivery

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/forge"
	"edge-actions/internal/handoff"
	"edge-actions/internal/verdict"
)

var (
	repositoryForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$`)
	workflowForm   = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}\.ya?ml$`)
	branchForm     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_./-]{0,200}$`)
)

// Read reads the inputs that say where a handoff goes; nil if it goes nowhere.
// signed says whether it is signed at all. What is wrong with them is recorded in
// in. The signer is still to be set.
func Read(in *action.Inputs, a *action.Action, signed bool) *Delivery {
	target, url, tokenFile := in.Text("deliver"), in.Text("deliver_url"), in.KeyFile("deliver_token_file")
	d := &Delivery{
		Branch: in.Text("deliver_branch"), Path: in.Text("deliver_path"), Workflow: in.Text("deliver_workflow"),
		Again: in.Duration("deliver_again", time.Minute, 366*24*time.Hour), Wait: in.Duration("deliver_wait", time.Second, 24*time.Hour), Poll: 5 * time.Second,
		Journal: &Journal{Dir: in.RunnerPath("deliver_dir")}, Now: time.Now(), Logf: a.Logf,
	}
	status := in.Bool("deliver_status")
	if target == "" {
		if tokenFile != "" || d.Workflow != "" {
			in.Wrong("deliver", "the repository for which deliver_token_file or deliver_workflow is", "nothing", "set the input deliver to owner/name")
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
	if url == "" {
		url = a.Getenv("GITHUB_SERVER_URL")
	}
	client := connect(in, a, url, tokenFile)
	if client == nil {
		return d
	}
	d.Target = repository(in, client, "deliver", target)
	if status {
		d.Source = repository(in, client, "deliver_status", a.Getenv("GITHUB_REPOSITORY"))
	}
	return d
}

func connect(in *action.Inputs, a *action.Action, url, tokenFile string) *forge.Client {
	if in.Text("deliver_token_file") == "" {
		in.Wrong("deliver_token_file", "a file with a token of the forge, of the scope write:repository", "nothing", "make one in the forge (Settings, Applications) and put it into a file of mode 0600 on the runner")
	}
	if _, err := forge.CheckURL(url); err != nil {
		for _, c := range verdict.ChecksOf(err) {
			in.Wrong("deliver_url", c.Wanted, c.Got, "correct the input deliver_url")
		}
		return nil
	}
	if tokenFile == "" {
		return nil
	}
	token, err := os.ReadFile(tokenFile)
	if err != nil {
		in.Wrong("deliver_token_file", "a file that can be read", err.Error(), "correct the input deliver_token_file")
		return nil
	}
	word := strings.TrimSpace(string(token))
	a.Mask(word)
	client, err := forge.New(url, word, forge.Options{Logf: a.Logf})
	if err != nil {
		c := verdict.ChecksOf(err)[0]
		in.Wrong("deliver_token_file", c.Wanted, c.Got, c.Hint)
	}
	return client
}

func repository(in *action.Inputs, client *forge.Client, input, name string) *forge.Repo {
	if !repositoryForm.MatchString(name) {
		in.Wrong(input, "a repository as owner/name", fmt.Sprintf("%.200q", name), "correct the input "+input)
		return nil
	}
	owner, repo, _ := strings.Cut(name, "/")
	r, err := client.Repo(owner, repo)
	if err != nil {
		c := verdict.ChecksOf(err)[0]
		in.Wrong(input, c.Wanted, c.Got, c.Hint)
		return nil
	}
	return r
}

// Signed reads back what was written, for a delivery.
func Signed(w handoff.Written) (document, signature []byte, err error) {
	if document, err = os.ReadFile(w.Path); err == nil {
		signature, err = os.ReadFile(w.SignaturePath)
	}
	return document, signature, err
}
