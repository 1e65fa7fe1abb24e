package stacks_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/files"
)

// slow takes a moment in the middle of an apply.
const slow = `
resource "terraform_data" "a" {
  input = "x"
}
resource "terraform_data" "b" {
  depends_on = [terraform_data.a]
  provisioner "local-exec" { command = "sleep 1" }
}
`

// A cancel on a Forgejo runner is SIGKILL of the whole step, with several
// stacks at work. The next run finds what was begun and goes on.
func TestKilledInTheMiddle(t *testing.T) {
	for name, at := range map[string]struct{ action, line string }{
		"the first was planned":   {"plan", "net: proven"},
		"two are being planned":   {"plan", "db tofu | "},
		"the first is applied":    {"apply", "net tofu | terraform_data.b: Creating..."},
		"two are being applied":   {"apply", "app tofu | terraform_data.b: Creating..."},
		"the first was collected": {"apply", "net: proven"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, four)
			if at.action == "plan" {
				r.applied() // a plan that is killed at a state that is not there yet leaves one of 0 bytes
			}
			for stack := range four {
				r.config(stack, slow)
			}
			if at.action == "plan" {
				s := r.step("tofu-plan-with-state-backup", fresh)
				s.Start()
				s.KillAt(at.line)
			} else {
				plan := r.plan(fresh)
				r.wantGreen(plan)
				s := r.step("tofu-apply", map[string]string{"receipts": plan.Outputs["stacks"]})
				s.Start()
				s.KillAt(at.line)
			}
			// The next run plans and applies. What still runs holds its lock.
			plan := r.plan(fresh)
			r.wantGreen(plan)
			apply := r.apply(plan)
			r.wantGreen(apply)
			if begun := strings.HasPrefix(at.line, "app tofu"); begun && !strings.Contains(apply.Log, "app: apply-earlier") {
				t.Errorf("the apply that was begun was not taken up:\n%s", apply.Log)
			}
			plan = r.plan()
			r.wantGreen(plan)
			if plan.Outputs["changes"] != "false" {
				t.Errorf("something is left to do:\n%s", plan.Log)
			}
			for stack := range four {
				if !strings.Contains(r.readState(stack), `"b"`) {
					t.Errorf("the state of %s is not whole", stack)
				}
				if here, off := r.archives(stack); here == 0 || off == 0 {
					t.Errorf("%s has %d and %d archives", stack, here, off)
				}
			}
			for _, root := range []string{r.off, filepath.Join(r.Home, ".local")} {
				filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
					if err == nil && strings.HasPrefix(e.Name(), files.TempPrefix) {
						t.Errorf("left half-way: %s", path)
					}
					return err
				})
			}
		})
	}
}
