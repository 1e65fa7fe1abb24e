package ingress

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Request is what a lease is asked for with.
type Request struct {
	// NSG is the network security group that the rule goes to. It must be one
	// of the machine's.
	NSG string
	// InstanceID and Node are the machine.
	InstanceID, Node string
	// Source is the one address that is let in.
	Source netip.Addr
	// TTL is how long, at most Most.
	TTL time.Duration
	// Run is the run that asks: owner/repo#run.attempt.
	Run string
}

// Pace is how patiently a lease looks: a rule that was added or taken away
// shows up in the cloud's list some time later.
type Pace struct {
	// Pause is between two looks, 1 s if zero.
	Pause time.Duration
	// Looks is how often a rule is looked for after an answer that tells
	// nothing, 8 if zero.
	Looks int
	// Adds is how often adding is tried, 5 if zero.
	Adds int
}

func (p Pace) defaults() Pace {
	if p.Pause == 0 {
		p.Pause = time.Second
	}
	if p.Looks == 0 {
		p.Looks = 8
	}
	if p.Adds == 0 {
		p.Adds = 5
	}
	return p
}

// Keeper opens leases and closes them.
type Keeper struct {
	Cloud Cloud
	// Dir is where the runner remembers its leases, so that the next run closes
	// at once what a dead one left. It outlives the job.
	Dir  string
	Pace Pace
	Logf func(format string, args ...any)
}

// Lease is a door that was opened by this process.
type Lease struct {
	Marker  Marker
	NSG     string
	RuleID  string
	keeper  *Keeper
	record  *record
	unknown bool // whether the rule exists was never seen
}

// Open lets the source of q in, until the cloud's clock says that the lease has
// ended.
//
// What is remembered comes first, then the rule: a run that dies in between
// leaves a record without a rule, and never a rule that nobody remembers. An
// answer that was lost is not asked for again blindly: the rule is looked for by
// its nonce and taken as ours if it is there. Even with an error, a lease that
// is not nil may have left a rule and has to be closed.
func (k *Keeper) Open(ctx context.Context, q Request) (*Lease, error) {
	if q.TTL <= 0 || q.TTL > Most {
		return nil, fmt.Errorf("opening a lease: %s are not between 0 and %s", q.TTL, Most)
	}
	if n, err := k.Cloud.RuleCount(ctx, q.NSG); err != nil {
		return nil, err
	} else if n >= maxRules {
		return nil, verdict.Refuse(Full, fmt.Sprintf("room for one more rule in %s", q.NSG), fmt.Sprintf("%d rules, and it takes %d", n, maxRules),
			"take out rules that nobody needs, or give another group of the machine's in nsg_id")
	}
	now := k.Cloud.Now() // by the answer that has just come
	if now.IsZero() {
		return nil, errors.New("opening a lease: the cloud's time is not known")
	}
	l := &Lease{keeper: k, NSG: q.NSG, Marker: Marker{Nonce: newNonce(), Expires: now.Add(q.TTL).UTC().Truncate(time.Second), Node: q.Node, Run: q.Run}}
	var err error
	if l.record, err = k.remember(l.Marker, q); err != nil {
		return nil, err
	}
	rule := oci.Rule{
		Description: l.Marker.Description(), Protocol: "6", Ports: &oci.Ports{Min: SSH, Max: SSH},
		Source: netip.PrefixFrom(q.Source, q.Source.BitLen()).String(), SourceType: "CIDR_BLOCK",
	}
	return l, l.add(ctx, rule)
}

// add asks for the rule until it is there.
func (l *Lease) add(ctx context.Context, rule oci.Rule) error {
	k, pace := l.keeper, l.keeper.Pace.defaults()
	wanted := fmt.Sprintf("a rule for %s in %s until %s", rule.Source, l.NSG, stamp(l.Marker.Expires))
	var last error
	for attempt := range pace.Adds {
		if attempt > 0 {
			if err := pause(ctx, pace.Pause<<min(attempt, 4)); err != nil {
				return errors.Join(last, err)
			}
		}
		added, err := k.Cloud.AddRule(ctx, l.NSG, rule)
		if err != nil && !oci.Ambiguous(err) && !verdict.Has(err, "oci-throttled", "oci-conflict") {
			return err // a clear no
		}
		last, l.unknown = err, l.unknown || err != nil && oci.Ambiguous(err)
		looks := pace.Looks
		if err == nil {
			l.RuleID, l.unknown = added.ID, false
		} else if !oci.Ambiguous(err) {
			k.Logf("the cloud would not add the rule now (%v): trying again", verdict.Reason(err))
			looks = 1 // an earlier attempt may have come through
		} else {
			k.Logf("whether the rule was added is not known (%v): looking for it by its nonce", verdict.Reason(err))
		}
		ids, lookErr := l.find(ctx, looks)
		if len(ids) > 0 {
			l.RuleID, l.unknown = ids[0], false
			return nil
		}
		last = errors.Join(last, lookErr)
		if err == nil { // it was added and does not show up
			return verdict.CannotTell(Opened, wanted, errors.Join(fmt.Errorf("it was added as %s and is in no list", quote(added.ID)), lookErr), "run it again; the rule is taken away")
		}
	}
	return verdict.CannotTell(Opened, wanted, last, "see the health of the cloud's API, and run it again")
}

// find lists the rules that carry the nonce, up to looks times until there is
// one.
func (l *Lease) find(ctx context.Context, looks int) (ids []string, err error) {
	pace := l.keeper.Pace.defaults()
	for look := range looks {
		if look > 0 {
			if err := pause(ctx, pace.Pause); err != nil {
				return nil, err
			}
		}
		var rules []oci.Rule
		if rules, err = l.keeper.Cloud.IngressRules(ctx, l.NSG); err != nil {
			continue
		}
		if ids = carrying(rules, l.Marker.Nonce); len(ids) > 0 {
			return ids, nil
		}
	}
	return nil, err
}

// carrying are the ids of the rules with a nonce.
func carrying(rules []oci.Rule, nonce string) (ids []string) {
	for _, r := range rules {
		if m, ok := ParseMarker(r.Description); ok && m.Nonce == nonce {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// Check says that the door is open.
func (l *Lease) Check() verdict.Check {
	return verdict.Check{ID: Opened, Verdict: verdict.Proven, Wanted: "a lease for the runner's address alone", Got: fmt.Sprintf("the rule %s in %s, until %s", quote(l.RuleID), l.NSG, stamp(l.Marker.Expires))}
}

// Close takes the lease's rules away, by their ids, and looks until they were
// absent twice. The record goes only after that.
func (l *Lease) Close(ctx context.Context) verdict.Check {
	c := l.keeper.remove(ctx, l.NSG, l.Marker, l.RuleID, l.unknown)
	if c.Verdict == verdict.Proven {
		l.record.forget()
	} else {
		l.record.release()
	}
	return c
}

// remove takes the rules with a nonce away, and known besides, which the list
// may not show yet. unsure says that the rule's being there was never seen: it
// may yet appear, so it is looked for as long as for one that was lost.
func (k *Keeper) remove(ctx context.Context, nsg string, m Marker, known string, unsure bool) verdict.Check {
	pace := k.Pace.defaults()
	wanted := fmt.Sprintf("the lease %s for node %s to be gone from %s", m.Nonce[:8], quote(m.Node), nsg)
	const hint = "run ingress-sweep: it ends by itself there once it has expired"
	absent, needed, removed := 0, 2, 0
	if unsure {
		needed = max(pace.Looks, 2)
	}
	asked := map[string]bool{}
	var last error
	// It may take as many looks as adding did, and a few to be sure.
	for look := range 4*pace.Looks + needed {
		if look > 0 {
			if err := pause(ctx, pace.Pause); err != nil {
				return verdict.CannotTell(Closed, wanted, errors.Join(last, err), hint).Check
			}
		}
		rules, err := k.Cloud.IngressRules(ctx, nsg)
		if err != nil {
			last, absent = err, 0
			if !again(err) {
				break
			}
			continue
		}
		ids := carrying(rules, m.Nonce)
		if known != "" && !asked[known] && !slices.Contains(ids, known) {
			ids = append(ids, known)
		}
		if len(ids) == 0 {
			if absent++; absent >= needed {
				return verdict.Check{ID: Closed, Verdict: verdict.Proven, Wanted: wanted, Got: fmt.Sprintf("absent from %d lists in a row, %s", absent, taken(removed))}
			}
			continue
		}
		absent = 0
		// One by one: of several that are named at once, one that is gone
		// already keeps the others where they are.
		for _, id := range ids {
			err := k.Cloud.RemoveRules(ctx, nsg, id)
			if err == nil && !asked[id] {
				removed++
			}
			asked[id] = asked[id] || !again(err)
			if err != nil {
				last = err
			}
		}
		// Whatever was answered, an answer may be lost, and a list lag: what is
		// looked at again is the list.
		if verdict.Has(last, oci.BadCredentials, oci.Forbidden) {
			break
		}
	}
	if last == nil {
		last = errors.New("the list still shows it")
	}
	return verdict.CannotTell(Closed, wanted, last, hint).Check
}

func taken(n int) string {
	if n == 0 {
		return "and nothing was to be taken away"
	}
	return count(n, "rule") + " taken away"
}

// again reports whether asking once more can help.
func again(err error) bool {
	return oci.Ambiguous(err) || verdict.Has(err, "oci-throttled", "oci-conflict", "oci-unreachable", "oci-server")
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
