package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/runnertest"
)

// attacks is text that a runner would act on if it got through.
var attacks = []string{
	"::set-env name=OWNED::1",
	"::set-output name=healthy::true",
	"::add-path::/owned",
	"##[add-path]/owned",
	"_GitHubActionsFileCommandDelimeter_\nhealthy=true",
	"%0A::add-path::/owned",
	"${{ secrets.X }}",
	"\x1b]0;owned\x07\r::add-path::/owned",
}

// What a node says is data, wherever it says it: in a journal, in the name of
// a unit or of a file, in the answers of its programs.
func TestLabHostile(t *testing.T) {
	l := newLab(t, 1)
	h := l.Hosts[0]
	all := strings.Join(attacks, "\n")
	if err := h.Put("/root/attacks", all); err != nil {
		t.Fatal(err)
	}
	must(t, h, `unit='::add-path::owned.service'
printf '[Unit]\nDescription=::add-path::/owned\n[Service]\nType=oneshot\nExecStart=/bin/sh -c "cat /root/attacks; exit 3"\n' >"/run/systemd/system/$unit"
systemctl daemon-reload; systemctl start "$unit" || true
touch "/run/secrets/$(cat /root/attacks | tr / _)" "/run/secrets/a\"b'c"
chmod 644 /run/secrets/*owned* "/run/secrets/a\"b'c"`)
	s := lab.State{InstanceID: all}
	s.Tailscale.Health = append([]string{all}, attacks...)
	s.Tailscale.BackendState = all
	set(t, h, s)

	binary := filepath.Join(t.TempDir(), "node-validate")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	r := runnertest.New(t)
	r.Secrets["X"] = "the-secret-x"
	inputs := maps.Clone(labJob(t, l, h).Inputs)
	j := newJob(t)
	j.handoff(document("ocid1.instance.oc1.eu-frankfurt-1.aaaa", bareKey(h.HostKey), h.Name))
	maps.Copy(inputs, map[string]string{"handoff_path": j.Inputs["handoff_path"], "handoff_sha256": j.Inputs["handoff_sha256"]})
	res := r.Step([]string{binary}, inputs).Run()
	if res.Green() || res.Outputs["healthy"] != "false" || res.Outputs["failure_reason"] != "host-identity" {
		t.Errorf("%v\n%s", res.Outputs, res.Log)
	}
	for _, want := range []string{`"::add-path::owned.service"`, "add-path::/owned", "failed-units", "secrets", "tailnet-state", `a\"b'c`} {
		if !strings.Contains(res.RawLog, want) {
			t.Errorf("the log does not say %q:\n%s", want, res.RawLog)
		}
	}
	wantNotOwned(t, res)
}

// wantNotOwned fails if the runner did anything that the step did not mean.
func wantNotOwned(t *testing.T, res *runnertest.Result) {
	t.Helper()
	fence := regexp.MustCompile(`^edge_[0-9a-f]{32}$`)
	for _, c := range res.Honoured {
		if c.Name != "stop-commands" && !fence.MatchString(c.Name) {
			t.Errorf("the runner obeyed %+v", c)
		}
	}
	if len(res.Env) > 0 || len(res.Path) > 0 || len(res.Masks) > 0 || res.OutputsLost || res.FileError != nil {
		t.Errorf("env %v, path %v, masks %v, outputs lost %v, %v", res.Env, res.Path, res.Masks, res.OutputsLost, res.FileError)
	}
	for name, value := range res.Outputs {
		if strings.Contains(value, "owned") || !strings.Contains(string(metadata), fmt.Sprintf("outputs.%s }}", name)) {
			t.Errorf("output %s is %q", name, value)
		}
	}
	if strings.ContainsAny(strings.ReplaceAll(res.RawLog, "\r\n", "\n"), "\x1b\x07\r") || strings.Contains(res.RawLog, "the-secret-x") {
		t.Errorf("control characters or a secret reached the terminal:\n%q", res.RawLog)
	}
}
