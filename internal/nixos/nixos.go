// Package nixos changes what a NixOS host runs, so that every way out leads to
// a host that can be reached: a system is activated first and becomes the boot
// default last, a guard on the host goes back to the previous system unless it
// is told in time that all is well, and a reboot in the middle is a rollback.
// It refuses to activate where another activation is under way, where the host
// is not on its committed system, and to call anything converged that it did
// not see.
package nixos

import (
	_ "embed" // the scripts that run on the host
	"fmt"
	"regexp"
	"time"
)

//go:embed begin.sh
var beginScript string

//go:embed guard.sh
var guardScript string

//go:embed status.sh
var statusScript string

// Outcome says what became of a host.
type Outcome string

// The outcomes of a deployment.
const (
	// Unchanged: the system was live and the boot default already.
	Unchanged Outcome = "unchanged"
	// Converged: the system is live, healthy and the boot default. For the
	// goal "boot" it is the boot default only.
	Converged Outcome = "converged"
	// RolledBack: the host is on its previous system.
	RolledBack Outcome = "rolled-back"
	// LiveNotCommitted: the host runs another system than it would boot.
	LiveNotCommitted Outcome = "live-not-committed"
	// Unreachable: nobody could see what the host runs.
	Unreachable Outcome = "unreachable"
	// Refused: nothing was activated, since something did not hold before.
	Refused Outcome = "refused"
	// NotTouched: an earlier host of the fleet was not healthy.
	NotTouched Outcome = "not-touched"
)

// State is what a host is on.
type State struct {
	BootID string
	// Current is the store path of the live system, Profile of the committed
	// one, which the boot loader boots.
	Current, Profile string
	// Generation is the number of the committed generation; 0 if unknown.
	Generation int
}

// Goal says when the system is to be live.
type Goal string

// The goals of a deployment, in Colmena's words.
const (
	Switch Goal = "switch" // now, and at each boot
	Boot   Goal = "boot"   // at the next boot
)

// Times bound an activation. Defaults fills in what is zero.
type Times struct {
	// Confirm is how long after its begin the host rolls back unless the
	// activation was confirmed. 5 minutes.
	Confirm time.Duration
	// Activate is how long switch-to-configuration may take. 3 minutes, and
	// less than Confirm.
	Activate time.Duration
	// Recover is how long the host may take to be back after a rollback, with
	// a reboot if it needs one. 10 minutes: a K3s can take 90 s to stop.
	Recover time.Duration
	// Pause is the time between two looks at the health. 2 seconds.
	Pause time.Duration
}

// Defaults returns t with its zero values filled in.
func (t Times) Defaults() Times {
	if t.Confirm <= 0 {
		t.Confirm = 5 * time.Minute
	}
	if t.Activate <= 0 || t.Activate >= t.Confirm {
		t.Activate = min(3*time.Minute, t.Confirm*3/4)
	}
	if t.Recover <= 0 {
		t.Recover = 10 * time.Minute
	}
	if t.Pause <= 0 {
		t.Pause = 2 * time.Second
	}
	return t
}

var systemPath = regexp.MustCompile(`^/nix/store/[0-9a-z]{32}-[A-Za-z0-9+._?=-]{1,200}$`)

// CheckSystemPath returns an error unless path can be the store path of a
// system.
func CheckSystemPath(path string) error {
	if !systemPath.MatchString(path) {
		return fmt.Errorf("%q is no store path of a system (/nix/store/…-nixos-system-…)", path)
	}
	return nil
}
