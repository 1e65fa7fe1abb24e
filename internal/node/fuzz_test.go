package node

import (
	"encoding/json"
	"strings"
	"testing"

	"edge-actions/internal/verdict"
)

// FuzzParse: whatever a node says, it is refused or it is judged in words that
// are fit for a log; and a node that said nothing of itself proves nothing.
func FuzzParse(f *testing.F) {
	r := newRig(f)
	whole := r.document("dash", all, r.expect())
	var doc struct{ Facts map[string]fact }
	if err := json.Unmarshal(whole, &doc); err != nil {
		f.Fatal(err)
	}
	text, systemd := string(doc.Facts["text"].Out), string(doc.Facts["systemd"].Out)
	rest := map[string]string{}
	for name, x := range doc.Facts {
		rest[name] = string(x.Out)
	}
	for _, exit := range []int{0, 1, 124} {
		f.Add(whole, text, systemd, rest["tailscale"], rest["k3s"], rest["ports"], rest["secrets"], rest["sshd"], grubConfig(store), exit)
	}
	f.Add([]byte("{}"), "now=1\nesp=/boot\ndefault=x\nentry=x\nend=", "state=degraded\nfailed:\nend:\n", "{}", `{"kind":"List","items":[{}]}`, "0 open", "f 0 0 0 0 x\x00", "", "set default=0", 0)
	_, e := good(f)
	f.Fuzz(func(t *testing.T, data []byte, text, systemd, tailscale, k3s, ports, secrets, sshd, grub string, exit int) {
		judge(t, data, e)
		facts := map[string]any{}
		for name, out := range map[string]string{"text": text, "systemd": systemd, "tailscale": tailscale, "k3s": k3s, "ports": ports, "secrets": secrets, "sshd": sshd, "grub": grub, "journal-1": systemd} {
			facts[name] = map[string]any{"exit": exit, "out": []byte(out), "err": []byte(systemd)}
		}
		built, err := json.Marshal(map[string]any{"schema": Schema, "facts": facts, "complete": true})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range judge(t, built, e) {
			if c.Verdict == verdict.Proven && exit != 0 && (c.ID != Ports || exit != 124) { // a port that answered did so in time
				t.Fatalf("proven by commands that failed: %+v", c)
			}
		}
	})
}

func judge(t *testing.T, data []byte, e Expect) []verdict.Check {
	t.Helper()
	facts, err := Parse(data)
	if err != nil {
		for _, c := range verdict.ChecksOf(err) {
			fit(t, c)
			if c.ID != "probe" || c.Verdict != verdict.Unproven {
				t.Fatalf("%+v", c)
			}
		}
		return nil
	}
	checks := Judge(facts, e)
	for _, c := range checks {
		fit(t, c)
	}
	return checks
}

func fit(t *testing.T, c verdict.Check) {
	t.Helper()
	if text := c.Wanted + c.Got + c.Hint; strings.ContainsAny(text, "\n\r\x00\x1b") || len(text) > 64<<10 {
		t.Fatalf("not fit for a log: %.500q", text)
	}
}
