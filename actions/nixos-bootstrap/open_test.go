package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/bootstrap"
	"edge-actions/internal/ingress"
	"edge-actions/internal/testing/colmenatest"
	"edge-actions/internal/testing/jobtest"
	"edge-actions/internal/testing/ocitest"
)

// Whatever happens while the door is open, it is shut, that counts, and what
// happened is said. The machine's address is loopback's, which answers: so the
// last proof fails, and nothing is called closed.
func TestWhateverHappensWhileItIsOpen(t *testing.T) {
	tools := colmenatest.Install(t)
	const answers = "public-ssh-closed=disproven"
	for name, tt := range map[string]struct {
		closing time.Duration
		do      func(ctx context.Context, cancel func()) error
		want    []string
	}{
		"all is well":        {closing, func(context.Context, func()) error { return nil }, nil},
		"an error":           {closing, func(context.Context, func()) error { return errors.New("the work went wrong") }, []string{"run=unproven"}},
		"a panic":            {closing, func(context.Context, func()) error { panic("a defect") }, []string{"panic=unproven"}},
		"a cancel":           {closing, func(ctx context.Context, cancel func()) error { cancel(); <-ctx.Done(); return ctx.Err() }, []string{"run=unproven"}},
		"its time is up":     {5*time.Minute - time.Second, func(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }, []string{"ingress-expired=unproven", "run=unproven"}},
		"and nobody said so": {5*time.Minute - time.Second, func(ctx context.Context, _ func()) error { <-ctx.Done(); return nil }, []string{"ingress-expired=unproven"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var node ocitest.Node
			cloud := ocitest.New(t, func(w *ocitest.World) { node = w.AddNode("edge-1", ocitest.WithPublicIP("127.0.0.1")) })
			leases := func() (n int) {
				for _, r := range cloud.World().NSG(node.NSGID).Rules {
					if _, ok := ingress.ParseMarker(r.Description); ok {
						n++
					}
				}
				return n
			}
			open := 0
			j := jobtest.New(t, metadata, func(ctx context.Context, a *action.Action) error {
				ctx, cancel := context.WithCancel(ctx)
				defer cancel()
				return through(ctx, a, tt.closing, func(ctx context.Context, _ *action.Action, _ *bootstrap.Job, _ string) error {
					open = leases()
					return tt.do(ctx, cancel)
				})
			})
			right := rightJob(t)
			j.Inputs, j.Workspace = right.Inputs, right.Workspace
			config, err := cloud.WriteConfig(j.Home)
			if err != nil {
				t.Fatal(err)
			}
			j.Env = []string{"PATH=" + tools + ":" + os.Getenv("PATH"), "NIX_REMOTE="}
			for input, value := range map[string]string{
				"instance_id": node.InstanceID, "oci_config_file": config, "oci_endpoint": cloud.URL, "lease_ttl": "5m", "source": "198.51.100.7", "poll": "100ms", "runner_dir": filepath.Join(j.Home, "state"),
				"colmena_path": filepath.Join(tools, "colmena"), "nixos_rebuild_path": filepath.Join(tools, "nixos-rebuild"),
			} {
				j.Inputs[input] = value
			}
			r := j.Do()
			r.Want("", append(tt.want, answers)...)
			r.Says("ingress-lease-closed", "1 rule taken away")
			if open != 1 || leases() != 0 || r.Outputs["public_ssh"] != "open" {
				t.Errorf("%d leases while it was open, %d afterwards; %v", open, leases(), r.Outputs)
			}
			if strings.Contains(strings.Join(r.Not(), " "), "ingress-lease-closed") {
				t.Errorf("%q", r.Not())
			}
		})
	}
}
