package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"edge-actions/internal/fleet"
	"edge-actions/internal/testing/lab"
	"edge-actions/internal/verdict"
)

const (
	// roundTrip is that of a host on another continent, or behind a relay.
	roundTrip = 150 * time.Millisecond
	// near and distant are for counting round trips. None would be a bad
	// measure: what both sides do while bytes are under way is only seen to cost
	// nothing where they are under way for a while.
	near, distant = 50 * time.Millisecond, 350 * time.Millisecond
	// fleetSize is how many nodes a fleet has, on so many hosts: each is a node
	// several times over. More hosts would need more of inotify than the 128
	// instances that a kernel grants by itself, seven for each.
	fleetSize, hosts = 32, 8
)

// runtime measures what depends on how far away the hosts are. The hosts are
// those of the lab, each at the end of a way whose length is changed between
// two measurements: what then takes longer are round trips, and what does not
// is the work of this machine, which is the runner and the hosts in one.
func (b *bench) runtime() (err error) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		b.notef("the rows of the runtime part are left out: its test hosts need Linux and root")
		return nil
	}
	d, err := b.distance()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	for _, part := range []func() error{d.connection, d.habit, d.fleet, d.guard} {
		if err := part(); err != nil {
			return err
		}
	}
	b.notef("all hosts run on the %d processors that this program runs on; a way holds bytes back and not TCP's own handshake, which is one more round trip for each connection", runtime.NumCPU())
	return nil
}

// distance is the lab, seen from afar.
type distance struct {
	*bench
	lab    *lab.Lab
	delay  atomic.Int64
	ways   []*far
	config string // ssh_config, for us and for ssh
}

func (b *bench) distance() (_ *distance, err error) {
	owner, err := lab.Owner()
	if err != nil {
		return nil, err
	}
	progress("bringing up %d test hosts", hosts)
	d := &distance{bench: b, config: filepath.Join(b.dir, "ssh_config")}
	if d.lab, err = lab.Up(hosts, owner); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	var config, known strings.Builder
	for _, h := range d.lab.Hosts {
		// What a node has once it was bootstrapped.
		if err := h.Put("/var/lib/sops-nix/key.txt", "AGE-SECRET-KEY-NOT-A-REAL-ONE\n"); err != nil {
			return nil, err
		}
		way, err := listenFar(h.Address+":22", &d.delay)
		if err != nil {
			return nil, err
		}
		d.ways = append(d.ways, way)
		fmt.Fprintf(&config, "Host %s\n  HostName 127.0.0.1\n  Port %d\n  HostKeyAlias %[1]s\n", h.Name, way.port())
		fmt.Fprintf(&known, "%s %s\n", h.Name, h.HostKey)
	}
	fmt.Fprintf(&config, "Host *\n  User nixos\n  IdentityFile %s\n  IdentitiesOnly yes\n  UserKnownHostsFile %s\n", d.lab.Key, d.known())
	return d, errors.Join(os.WriteFile(d.config, []byte(config.String()), 0o600), os.WriteFile(d.known(), []byte(known.String()), 0o600))
}

func (d *distance) known() string { return filepath.Join(d.dir, "known_hosts") }

func (d *distance) close() error {
	var errs []error
	for _, way := range d.ways {
		errs = append(errs, way.close())
	}
	return errors.Join(append(errs, d.lab.Down())...)
}

// away runs do at the end of a way of so many round trips, and returns how long
// it took.
func (d *distance) away(rtt time.Duration, do func() error) (float64, error) {
	if err := d.ctx.Err(); err != nil {
		return 0, err
	}
	d.delay.Store(int64(rtt / 2))
	begun := time.Now()
	err := do()
	return time.Since(begun).Seconds(), err
}

// counting runs do n times far away and n times near, in turn, after one that
// does not count.
func (d *distance) counting(n int, do func() error) (long, short spread, err error) {
	if _, err := d.away(0, do); err != nil {
		return nil, nil, err
	}
	for range n {
		for _, side := range []struct {
			rtt time.Duration
			to  *spread
		}{{distant, &long}, {near, &short}} {
			seconds, err := d.away(side.rtt, do)
			if err != nil {
				return nil, nil, err
			}
			*side.to = append(*side.to, seconds)
		}
	}
	return long, short, nil
}

// trips is how many round trips make the difference.
func trips(long, short spread) float64 {
	return (long.median() - short.median()) / (distant - near).Seconds()
}

// ofPairs is trips of each pair.
func ofPairs(long, short spread) spread {
	out := make(spread, len(long))
	for i := range long {
		out[i] = (long[i] - short[i]) / (distant - near).Seconds()
	}
	return out
}

// atMost compares round trips as whole ones.
func atMost(n, most float64) bool { return math.Round(n) <= most }

// spec is of the first n nodes.
func (d *distance) spec(n int) *fleet.Spec {
	s := &fleet.Spec{
		HostKeys: map[string][]string{}, MachineIDs: map[string]string{}, User: "nixos", IdentityFile: d.lab.Key, SSHConfig: d.config,
		Connect: 20 * time.Second, Parallel: fleetSize,
	}
	for i := range n {
		h := d.lab.Hosts[i%len(d.lab.Hosts)]
		s.Nodes = append(s.Nodes, h.Name)
		s.HostKeys[h.Name], s.MachineIDs[h.Name] = []string{h.HostKey}, h.MachineID
	}
	return s
}

// proven makes an error of checks that are not: then something else was
// measured than what is promised.
func proven(of string, checks []verdict.Check) error {
	if verdict.Of(checks) == verdict.Proven {
		return nil
	}
	var wrong []string
	for _, c := range checks {
		if c.Verdict != verdict.Proven {
			wrong = append(wrong, fmt.Sprintf("%s: %s", c.ID, c.Got))
		}
	}
	return fmt.Errorf("%s is not proven: %s", of, strings.Join(wrong, "; "))
}
