package ingress

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Swept is what a sweep found in one network security group.
type Swept struct {
	NSG, Name string
	// Closed are leases that were seen to be gone, Open those that last or
	// could not be closed, by doors.
	Closed, Open []Door
	// Foreign are doors that are no leases. They are never touched.
	Foreign []Door
	Checks  []verdict.Check
}

// Sweep closes what no run will close: first the leases of this runner whose
// runs are dead, wherever they are, then in each of the groups every lease that
// has ended by the cloud's clock. It never touches a rule that is not a lease,
// nor a lease of a run that may be under way.
func (k *Keeper) Sweep(ctx context.Context, groups []string) ([]Swept, []verdict.Check) {
	checks := k.Orphans(ctx)
	out, more := k.Ended(ctx, groups)
	return out, append(checks, more...)
}

// Ended closes in each of the groups every lease that has ended.
func (k *Keeper) Ended(ctx context.Context, groups []string) (out []Swept, checks []verdict.Check) {
	for _, nsg := range groups {
		s, err := k.sweep(ctx, nsg)
		if err != nil {
			checks = append(checks, verdict.ChecksOf(err)...)
			continue
		}
		out = append(out, *s)
		checks = append(checks, s.Checks...)
	}
	return out, checks
}

// Orphans closes the leases of this runner whose runs are dead.
func (k *Keeper) Orphans(ctx context.Context) []verdict.Check {
	dead, _, err := k.orphans()
	checks := verdict.ChecksOf(err)
	for _, r := range dead {
		k.Logf("run %s died with a lease for %s open: closing it", r.Marker.Run, r.Marker.Node)
		// Whether its rule was ever added is not known.
		c := k.remove(ctx, r.NSG, r.Marker, "", true)
		if c.Verdict == verdict.Proven {
			r.forget()
		} else {
			// Of a group that was destroyed the cloud never says that it is gone.
			c.Hint += "; if the group itself was destroyed, remove " + r.path
			r.release()
		}
		checks = append(checks, c)
	}
	return checks
}

func (k *Keeper) sweep(ctx context.Context, nsg string) (*Swept, error) {
	g, err := k.Cloud.NSG(ctx, nsg)
	if err != nil {
		return nil, err
	}
	rules, err := k.Cloud.IngressRules(ctx, nsg)
	if err != nil {
		return nil, err
	}
	now := k.Cloud.Now() // by the answer with the rules, or a later one
	s := &Swept{NSG: nsg, Name: g.Name}
	gone := map[string]bool{} // by the nonces of the leases that have ended
	for _, r := range rules {
		m, ours := ParseMarker(r.Description)
		d := Door{Kind: "network security group", ID: nsg, Name: g.Name, Rule: r}
		switch {
		case !ours:
			if reaches(r, SSH) {
				s.Foreign = append(s.Foreign, d)
			}
			continue
		case now.IsZero():
			return nil, errors.New("sweeping: the cloud's time is not known")
		}
		d.Lease = &m
		if end, ok := Ends(m, r); !ok || now.Before(end) {
			s.Open = append(s.Open, d)
			continue
		}
		if _, asked := gone[m.Nonce]; !asked {
			k.Logf("%s, and it has ended: closing it", d)
			c := k.remove(ctx, nsg, m, r.ID, false)
			gone[m.Nonce] = c.Verdict == verdict.Proven
			s.Checks = append(s.Checks, c)
		}
		if gone[m.Nonce] {
			s.Closed = append(s.Closed, d)
		} else {
			s.Open = append(s.Open, d)
		}
	}
	return s, nil
}

// Living is the check that no run has a lease for a machine, but for the one
// with the nonce own: two of them at once would take each other's door for a
// stranger's, and the machine for theirs.
func Living(e *Exposure, now time.Time, own string) verdict.Check {
	wanted := fmt.Sprintf("no other run at work on %s", quote(e.Instance.Name))
	for _, d := range e.Doors {
		if d.Lease == nil || d.Lease.Nonce == own {
			continue
		}
		end, ok := Ends(*d.Lease, d.Rule)
		if !ok || now.Before(end) {
			return verdict.Refuse(Busy, wanted, d.String(), "wait for that run; if it is dead and was another runner's, ingress-sweep closes its door once it has ended").Check
		}
	}
	return verdict.Check{ID: Busy, Verdict: verdict.Proven, Wanted: wanted, Got: "none"}
}

// Choose picks the network security group for a lease: the one that was asked
// for, if it is one of the machine's primary interface, or the only one there.
func Choose(e *Exposure, asked string) (string, error) {
	primary, ok := e.Primary()
	if !ok {
		return "", verdict.CannotTell(Group, "the primary interface of "+quote(e.Instance.Name), errors.New("none of them is"), "see the instance in the cloud's console")
	}
	wanted := "a network security group on the primary interface of " + quote(e.Instance.Name)
	switch {
	case asked != "" && slices.Contains(primary.NSGs, asked):
		return asked, nil
	case asked != "":
		return "", verdict.Refuse(Group, wanted+": "+asked, fmt.Sprintf("%q", primary.NSGs), "attach it to the interface in the stack, or correct nsg_id")
	case len(primary.NSGs) == 1:
		return primary.NSGs[0], nil
	case len(primary.NSGs) == 0:
		return "", verdict.Refuse(Group, wanted, "none", "attach an empty one to the interface in the stack: a rule in a security list would race with tofu apply")
	}
	return "", verdict.Refuse(Group, wanted, fmt.Sprintf("%d of them: %q", len(primary.NSGs), primary.NSGs), "say in nsg_id which one the lease goes to")
}

var _ Cloud = (*oci.Client)(nil)
