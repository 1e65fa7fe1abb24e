package stack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// TestHostileTextUnderAct runs the real actions in a real engine, with a stack
// and a program that print what a runner acts on, and then looks from the next
// step whether anything came of it.
func TestHostileTextUnderAct(t *testing.T) {
	t.Parallel()
	act := realtools.Path(t, "act")
	repo, base := t.TempDir(), t.TempDir()
	for _, part := range []string{"actions", "internal", "scripts/action", "scripts/lib", "go.mod", "go.sum"} {
		if err := os.MkdirAll(filepath.Join(repo, filepath.Dir(part)), 0o755); err != nil {
			t.Fatal(err)
		}
		realtools.Output(t, "cp", "-R", "../../"+part, filepath.Join(repo, part))
	}
	key := filepath.Join(base, "key.txt")
	realtools.Output(t, "age-keygen", "-o", key)
	recipient := strings.TrimSpace(realtools.Output(t, "age-keygen", "-y", key))
	for _, dir := range []string{"state", "off"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		path = filepath.Join(repo, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write("infra/main.tf", `terraform {
  backend "local" {}
}
resource "terraform_data" "h" {
  for_each = toset(["x\n::set-output name=changes::owned\n::set-env name=OWNED::1\n::add-path::/owned\n$${{ secrets.X }}", "_GitHubActionsFileCommandDelimeter_\nchanges=owned"])
  input    = each.key
  provisioner "local-exec" {
    command = "${path.module}/hostile.sh"
  }
}
`)
	write("infra/hostile.sh", `#!/bin/sh
echo "::set-output name=outcome::owned"
echo "::set-env name=OWNED::1"
echo "::add-path::/owned"
echo "##[add-path]/owned"
printf '\r::add-path::/owned\n\377::set-env name=OWNED::1\n'
head -c 70000 /dev/zero | tr '\0' B
echo
`)
	shared := `
          path: infra
          stack: hostile
          runner_dir: ` + base + `/runner
          backend_config: path=` + base + `/state/edge.tfstate
          age_recipients: ` + recipient + `
          offsite: ` + base + `/off
`
	write("hostile.yml", `name: hostile
on: push
jobs:
  hostile:
    runs-on: self-hosted
    steps:
      - uses: actions/checkout@v4
      - id: plan
        uses: ./actions/tofu-plan-with-state-backup
        with:`+shared+`          accept_state: new
      - id: apply
        uses: ./actions/tofu-apply
        with:`+shared+`          plan_path: ${{ steps.plan.outputs.plan_path }}
          receipt_path: ${{ steps.plan.outputs.receipt_path }}
          receipt_sha256: ${{ steps.plan.outputs.receipt_sha256 }}
      - env:
          SEEN: "${{ steps.plan.outputs.changes }} ${{ steps.plan.outputs.to_add }} ${{ steps.apply.outputs.outcome }}"
        run: echo "SEEN=<$SEEN> OWNED=<${OWNED-}> PATH=<$PATH>"
`)
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "t"}} {
		realtools.Output(t, "git", append([]string{"-C", repo}, args...)...)
	}
	cmd := exec.Command(act, "push", "--workflows", "hostile.yml", "--platform", "self-hosted=-self-hosted", "--rm", "--secret", "X=the-secret-x")
	cmd.Dir = repo
	cmd.Env = realtools.Environ()
	out, err := cmd.CombinedOutput()
	log := string(out)
	if err != nil {
		t.Fatalf("act: %v\n%.20000s", err, log)
	}
	_, seen, _ := strings.Cut(log, "| SEEN=")
	seen, _, _ = strings.Cut(seen, "\n")
	if !strings.HasPrefix(seen, "<true 2 applied> OWNED=<> PATH=<") || strings.Contains(seen, "owned") {
		t.Errorf("the next step saw %s", seen)
	}
	if strings.Contains(log, "the-secret-x") {
		t.Error("a secret was expanded")
	}
	if !strings.Contains(log, "::set-env name=OWNED::1") {
		t.Error("the attack was not even printed")
	}
}
