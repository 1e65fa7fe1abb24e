package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"edge-actions/internal/evidence"
	"edge-actions/internal/signature"
	"edge-actions/internal/verdict"

	"golang.org/x/crypto/ssh"
)

const (
	ledgerEntries = 10_000
	ledgerTarget  = 2 * time.Second
	ledgerRounds  = 5
	// appendTarget is how much longer an append to a long ledger may take.
	appendTarget = 1.5
)

// ledgerEntry is what a check of a node leaves: 30 checks, 5 KB.
func ledgerEntry(n int) evidence.Entry {
	r := verdict.Report{Action: "node-validate", Subject: fmt.Sprintf("edge-%d", n%50), Started: time.Now().UTC()}
	for i := range 30 {
		r.Prove(fmt.Sprintf("unit-%d", i), "an active unit that has not failed", fmt.Sprintf("active since %d s, 0 restarts", 1000+i))
	}
	r.Finish(r.Started.Add(2 * time.Second))
	return evidence.Entry{Repository: "example/runtime", Workflow: "validate", Job: "node", RunID: fmt.Sprint(4000 + n), RunNumber: fmt.Sprint(n), Commit: strings.Repeat("0123456789", 4), Runner: "mini",
		Report: r, Outputs: map[string]string{"verdict": "proven", "report": "/home/runner/tmp/report.json", "failure_reason": ""}}
}

// evidence measures the check of a long ledger, and what an append costs on a
// short and on a long one.
func (b *bench) evidence() error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return err
	}
	open := func(name string, entries int) (*evidence.Ledger, error) {
		dir, err := b.subdir(name)
		if err != nil {
			return nil, err
		}
		l := &evidence.Ledger{Dir: dir, Signer: signer, Wait: time.Minute, Logf: progress}
		for n := range entries {
			if _, err := l.Append(b.ctx, ledgerEntry(n)); err != nil {
				return nil, err
			}
			if n%1000 == 0 && b.ctx.Err() != nil {
				return nil, b.ctx.Err()
			}
		}
		return l, nil
	}
	progress("writing a ledger of %d entries", ledgerEntries)
	short, err := open("ledger-short", 10)
	if err != nil {
		return err
	}
	long, err := open("ledger-long", ledgerEntries)
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(long.Dir, evidence.EntriesFile))
	if err != nil {
		return err
	}
	signers := []signature.Signer{{Key: signer.PublicKey()}}
	before := processor()
	took, err := b.repeated(ledgerRounds, func() error {
		s, err := evidence.Check(b.ctx, long.Dir, signers, evidence.Options{})
		if err == nil && s.Entries != ledgerEntries {
			err = fmt.Errorf("%d entries", s.Entries)
		}
		return err
	})
	if err != nil {
		return err
	}
	busy := (processor() - before) / ledgerRounds
	b.add(row{fmt.Sprintf("ledger of %d entries (%d MB) checked", ledgerEntries, info.Size()>>20), took.seconds() + took.ends(), "-", "-", "< " + ledgerTarget.String(), took.median() < ledgerTarget.Seconds()})
	// What is live while it is checked, and not what the collector has not yet
	// seen to.
	var most uint64
	if _, err := evidence.Check(b.ctx, long.Dir, signers, evidence.Options{Each: func(e *evidence.Entry) error {
		if e.Seq%1000 == 0 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		return nil
	}}); err != nil {
		return err
	}
	b.notef("checking a ledger of %d MB takes %.2f s of processor time and holds at most %.1f MB", info.Size()>>20, busy.Seconds(), float64(most)/(1<<20))

	var ofShort, ofLong spread
	for n := range 10 * b.pairs {
		for _, side := range []struct {
			l    *evidence.Ledger
			took *spread
		}{{short, &ofShort}, {long, &ofLong}} {
			one, err := b.repeated(1, func() error { _, err := side.l.Append(b.ctx, ledgerEntry(n)); return err })
			if err != nil {
				return err
			}
			*side.took = append(*side.took, one...)
		}
	}
	ratio := ofLong.median() / ofShort.median()
	b.add(row{fmt.Sprintf("an entry added after %d", ledgerEntries), fmt.Sprintf("%.1f ms", ofLong.median()*1000), fmt.Sprintf("after 10: %.1f ms", ofShort.median()*1000), fmt.Sprintf("%.2f", ratio),
		fmt.Sprintf("<= %.1f of it", appendTarget), math.Round(ratio*100) <= appendTarget*100})
	return nil
}

// processor is the time that this process was given on a processor: what the
// check takes on a machine that is busy otherwise.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
