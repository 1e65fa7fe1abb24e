package forgetest

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// The differences that the double is there for are still differences: a Gitea
// that answers like Forgejo one day would make tests of both test one.
func TestTheDoubleDiffers(t *testing.T) {
	f := New(t)
	d := f.Forgejo(t)
	r := f.Repo(t)
	token := f.Token(t, "all")
	ask := func(base, method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, base+"/api/v1"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "token "+token)
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var b strings.Builder
		if err := res.Write(&b); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b.String()
	}
	stale := `{"branch":"main","content":"YQ==","sha":"` + strings.Repeat("0", 40) + `"}`
	r.Commit(t, "main", ".gitea/workflows/w.yml", "on: workflow_dispatch\njobs: {a: {runs-on: x, steps: [{run: 'true'}]}}\n")
	dispatch := `{"ref":"main","return_run_info":true}`
	for name, test := range map[string]struct {
		method, path, body   string
		gitea, forgejo       int
		giteaHas, forgejoHas string
		giteaLacks           string
	}{
		"stale":    {method: "PUT", path: r.Path() + "/contents/README.md", body: stale, gitea: 422, forgejo: 409, giteaHas: "sha does not match", forgejoHas: "sha does not match"},
		"there":    {method: "POST", path: r.Path() + "/contents/README.md", body: stale, gitea: 422, forgejo: 422},
		"dispatch": {method: "POST", path: r.Path() + "/actions/workflows/w.yml/dispatches", body: dispatch, gitea: 204, forgejo: 201, forgejoHas: `"run_number":`},
		"version":  {method: "GET", path: "/version", gitea: 200, forgejo: 200, giteaLacks: "+gitea-", forgejoHas: "+gitea-"},
	} {
		code, text := ask(f.URL, test.method, test.path, test.body)
		if code != test.gitea || !strings.Contains(text, test.giteaHas) || test.giteaLacks != "" && strings.Contains(text, test.giteaLacks) {
			t.Errorf("%s, Gitea: %d\n%s", name, code, text)
		}
		if code, text = ask(d.URL, test.method, test.path, test.body); code != test.forgejo || !strings.Contains(text, test.forgejoHas) {
			t.Errorf("%s, Forgejo: %d\n%s", name, code, text)
		}
	}
	// The second run; it has cancelled the first.
	for _, path := range []string{"/actions/runs", "/actions/runs/2"} {
		if code, text := ask(f.URL, "GET", r.Path()+path, ""); code != 200 || strings.Contains(text, "workflow_id") {
			t.Errorf("%s, Gitea: %d\n%s", path, code, text)
		}
		if code, text := ask(d.URL, "GET", r.Path()+path, ""); code != 200 || !strings.Contains(text, `"workflow_id":"w.yml"`) || !strings.Contains(text, `"status":"waiting"`) {
			t.Errorf("%s, Forgejo: %d\n%s", path, code, text)
		}
	}
}
