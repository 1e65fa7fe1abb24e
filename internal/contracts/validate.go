package contracts

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"edge-actions/internal/verdict"
)

// Request is what is looked at in one place, and Response what was found. They
// travel to a host and back.
type Request struct {
	Contracts []Contract
	Parts     map[string]Part // by contract
	Now       time.Time       // the runner's: a host whose clock stands still has no old snapshots
	Timeout   time.Duration
}

// Response has a finding for each contract of a Request, in its order.
type Response struct {
	Findings []*Finding
}

// Serve answers a request on this machine.
func Serve(ctx context.Context, q Request, environ []string, logf func(format string, args ...any)) Response {
	p := &Place{Environ: environ, Now: q.Now, Timeout: q.Timeout, Logf: logf}
	var r Response
	for i := range q.Contracts {
		c := &q.Contracts[i]
		r.Findings = append(r.Findings, p.Judge(ctx, c, q.Parts[c.Name]))
	}
	return r
}

// commands is more than the commands that one contract takes.
const commands = 8

// Whole is more than a request can take.
func (q *Request) Whole() time.Duration {
	return min(time.Duration(len(q.Contracts)*commands)*q.Timeout+time.Minute, 24*time.Hour)
}

// Validation is one look at all contracts of a file.
type Validation struct {
	File *File
	// Rotations is a directory on the runner; it remembers which parts of a
	// repository were read.
	Rotations string
	Environ   []string
	Now       time.Time
	Timeout   time.Duration
	// Parallel is how many places are asked at once.
	Parallel int
	// Ask sends a request to a host, as a user there. The checks are of the way
	// to it.
	Ask  func(ctx context.Context, host, user string, q Request) (Response, []verdict.Check, error)
	Logf func(format string, args ...any)
}

// place is where some of the contracts are looked at.
type place struct {
	host, user string
	request    Request
	response   Response
	way        []verdict.Check
}

// Validate looks at every contract, those of one place one after the other. The
// findings are in the order of the file; the checks are those of the ways to the
// hosts. What the operator waived is marked.
func (v *Validation) Validate(ctx context.Context) ([]*Finding, []verdict.Check) {
	rotations, places, checks := v.plan()
	slots := make(chan struct{}, max(v.Parallel, 1))
	var all sync.WaitGroup
	for _, p := range places {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			v.ask(ctx, p)
		})
	}
	all.Wait()
	byName := map[string]*Finding{}
	for _, p := range places {
		checks = append(checks, p.way...)
		for _, f := range p.response.Findings {
			byName[f.Name] = f
		}
	}
	var findings []*Finding
	for i := range v.File.Contracts {
		c := &v.File.Contracts[i]
		f := byName[c.Name]
		if f == nil {
			f = &Finding{Name: c.Name}
		}
		if len(f.Checks) == 0 {
			f.Checks = verdict.About(c.Name, []verdict.Check{verdict.CannotTell("contract", "this contract to be looked at", errors.New("it was not"), "see the host's words in the log").Check})
		}
		if r := rotations[c.Name]; r != nil && f.Read > 0 && f.Read <= r.Parts {
			if err := r.mark(f.Read, v.Now); err != nil {
				f.Checks = append(f.Checks, verdict.About(c.Name, []verdict.Check{verdict.CannotTell(Checked, "which part was read, remembered in "+v.Rotations, err, "correct state_dir: without it the same part is read again").Check})...)
			}
		}
		f.Checks = waive(f.Checks, v.File.Waivers, v.Now)
		findings = append(findings, f)
	}
	return findings, checks
}

// plan says what is asked where, and which parts are read.
func (v *Validation) plan() (map[string]*rotation, []*place, []verdict.Check) {
	var places []*place
	var checks []verdict.Check
	rotations, shared, taken := map[string]*rotation{}, map[string]*rotation{}, map[string]map[int]bool{}
	for _, c := range v.File.Contracts {
		var at *place
		for _, p := range places {
			if p.host == c.Host && p.user == c.User {
				at = p
			}
		}
		if at == nil {
			at = &place{host: c.Host, user: c.User, request: Request{Parts: map[string]Part{}, Now: v.Now, Timeout: v.Timeout}}
			places = append(places, at)
		}
		at.request.Contracts = append(at.request.Contracts, c)
		if c.Restic == nil {
			continue
		}
		// Contracts that share a repository read one part each, and remember both.
		key := fmt.Sprintf("%s/%d", c.Restic.RepositoryID, c.Restic.CheckParts)
		if shared[key] == nil {
			r, err := openRotation(v.Rotations, c.Restic.RepositoryID, c.Restic.CheckParts)
			if err != nil {
				checks = append(checks, verdict.CannotTell(Checked, "to know which parts were read before", err, fmt.Sprintf("look at %s, and remove the file if it can't be mended", v.Rotations)).Check)
			}
			shared[key], taken[key] = r, map[int]bool{}
		}
		rotations[c.Name] = shared[key]
		part := shared[key].next(taken[key])
		taken[key][part.Number] = true
		at.request.Parts[c.Name] = part
	}
	return rotations, places, checks
}

func (v *Validation) ask(ctx context.Context, p *place) {
	if p.host == "" {
		p.response = Serve(ctx, p.request, v.Environ, v.Logf)
		return
	}
	var err error
	p.response, p.way, err = v.Ask(ctx, p.host, p.user, p.request)
	if err == nil {
		return
	}
	p.response = Response{}
	for _, c := range p.request.Contracts {
		p.response.Findings = append(p.response.Findings, &Finding{Name: c.Name, Checks: verdict.About(c.Name, verdict.ChecksOf(err))})
	}
}
