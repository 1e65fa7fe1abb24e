package bootstrap

import (
	"strings"
	"testing"
	"time"

	"edge-actions/internal/fleet"
	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"

	"github.com/google/go-cmp/cmp"
)

// Each method with each stage: whether it may go on, and what it would do.
func TestMethodsAndStages(t *testing.T) {
	const (
		clock  = "set the clock"
		deploy = "deploy the hive's system"
		proof  = "prove that it came back"
		reboot = "reboot it"
	)
	for name, tt := range map[string]struct {
		method Method
		stage  Stage
		fit    verdict.Verdict
		steps  []string
	}{
		"infect a bare one":         {Infect, Bare, verdict.Proven, []string{"run nixos-infect (sha256 abcdef012345…)", reboot, clock, deploy}},
		"infect one at work":        {Infect, Infecting, verdict.Proven, []string{"wait for the nixos-infect", reboot, clock, deploy}},
		"infect a pending one":      {Infect, Pending, verdict.Proven, []string{"check what nixos-infect left", reboot, clock, deploy}},
		"infect an installer":       {Infect, Installer, verdict.Disproven, nil},
		"infect NixOS":              {Infect, NixOS, verdict.Proven, []string{clock, deploy}},
		"anywhere on a bare one":    {Anywhere, Bare, verdict.Proven, []string{"run nixos-anywhere, which WIPES", proof, clock, deploy}},
		"anywhere on an installer":  {Anywhere, Installer, verdict.Proven, []string{"go on with nixos-anywhere from its installer, which WIPES", proof, clock, deploy}},
		"anywhere on one at work":   {Anywhere, Infecting, verdict.Disproven, nil},
		"anywhere on a pending one": {Anywhere, Pending, verdict.Disproven, nil},
		"anywhere on NixOS":         {Anywhere, NixOS, verdict.Proven, []string{clock, deploy}},
		"adopt a bare one":          {Adopt, Bare, verdict.Disproven, nil},
		"adopt one at work":         {Adopt, Infecting, verdict.Disproven, nil},
		"adopt a pending one":       {Adopt, Pending, verdict.Disproven, nil},
		"adopt an installer":        {Adopt, Installer, verdict.Disproven, nil},
		"adopt NixOS":               {Adopt, NixOS, verdict.Proven, []string{clock, deploy}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &Bootstrap{Method: tt.method, Infect: InfectScript{SHA256: "abcdef0123456789"}, MaxSkew: time.Second, Deploy: &fleet.Deployment{}}
			s := &Seen{Stage: tt.stage, conn: &sshx.Conn{}}
			checks := b.judge(s)
			if last := checks[len(checks)-1]; last.ID != Fit || last.Verdict != tt.fit || last.Verdict != verdict.Proven && last.Hint == "" {
				t.Errorf("%+v", last)
			}
			if tt.fit != verdict.Proven {
				return
			}
			steps := b.steps(s)
			if len(steps) != len(tt.steps) {
				t.Fatalf("%q, want %q", steps, tt.steps)
			}
			for i, step := range steps {
				if !strings.HasPrefix(step, tt.steps[i]) {
					t.Errorf("%q, want %q", step, tt.steps[i])
				}
			}
		})
	}
	t.Run("what was seen decides too", func(t *testing.T) {
		b := &Bootstrap{Method: Adopt, Deploy: &fleet.Deployment{}}
		s := &Seen{Stage: NixOS, conn: &sshx.Conn{}, checks: []verdict.Check{{ID: "esp", Verdict: verdict.Disproven}}}
		if checks := b.judge(s); verdict.Of(checks) != verdict.Disproven {
			t.Errorf("%+v", checks)
		}
	})
	t.Run("only what is asked for", func(t *testing.T) {
		b := &Bootstrap{Method: Adopt, Deploy: &fleet.Deployment{}}
		if steps := b.steps(&Seen{Stage: NixOS}); len(steps) != 1 {
			t.Errorf("%q", steps)
		}
	})
}

// How far a machine is, from what the probe read.
func TestStages(t *testing.T) {
	for name, tt := range map[string]struct {
		way   string
		units []string
		want  Stage
	}{
		"nothing":                             {"", nil, Bare},
		"NixOS":                               {"nixos", nil, NixOS},
		"marked":                              {"nixos lustrate", nil, Pending},
		"marked, and the unit ended well":     {"nixos lustrate", []string{infectUnit + "=inactive"}, Pending},
		"an installer":                        {"installer nixos", nil, Installer},
		"nixos-infect at work":                {"", []string{infectUnit + "=active"}, Infecting},
		"it starts":                           {"", []string{infectUnit + "=activating"}, Infecting},
		"it ends":                             {"", []string{infectUnit + "=deactivating"}, Infecting},
		"it wrote its marks and is at work":   {"nixos lustrate", []string{infectUnit + "=active"}, Infecting},
		"it failed":                           {"", []string{infectUnit + "=failed"}, Bare},
		"it failed after it wrote its marks":  {"nixos lustrate", []string{infectUnit + "=failed"}, Bare},
		"a node's failed unit of an old time": {"nixos", []string{infectUnit + "=failed"}, NixOS},
		"another unit is at work":             {"", []string{"k3s.service=active"}, Bare},
	} {
		t.Run(name, func(t *testing.T) {
			s := &Seen{facts: facts(t, tt.way, tt.units...)}
			if err := s.read(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Stage); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
