package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"edge-actions/internal/recovery"
	"edge-actions/internal/verdict"
)

const (
	choiceSnapshots = 10_000
	choiceTarget    = 2.0 // seconds
)

// sealedSnapshot is a snapshot as it lies in a repository.
type sealedSnapshot struct {
	Time     time.Time      `json:"time"`
	Tree     string         `json:"tree"`
	Paths    []string       `json:"paths"`
	Hostname string         `json:"hostname"`
	Username string         `json:"username"`
	Program  string         `json:"program_version,omitempty"`
	Summary  map[string]any `json:"summary,omitempty"`
}

// choice measures how long it takes to know which repository and which
// snapshot are meant, beyond what restic needs to show all snapshots.
func (b *bench) choice() (err error) {
	v, err := b.vault("choice")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, v.remove()) }()
	want, newest, err := v.manySnapshots()
	if err != nil {
		return err
	}
	client, err := v.client()
	if err != nil {
		return err
	}
	choose := func() error {
		config, err := client.Config(b.ctx)
		if err != nil {
			return err
		}
		all, err := client.Snapshots(b.ctx)
		if err != nil {
			return err
		}
		chosen, checks := recovery.Choose(all, want)
		checks = append(checks, recovery.CheckIdentity(config.ID, v.id))
		if len(all) != choiceSnapshots || chosen == nil || chosen.ID != newest || verdict.Of(checks) != verdict.Proven {
			return fmt.Errorf("wanted %.8s of %d snapshots, found %v of %d: %v", newest, choiceSnapshots, chosen, len(all), checks)
		}
		return nil
	}
	var ours, other, beyond spread
	for i := range b.longPairs() + 1 {
		a, err := b.repeated(1, choose)
		if err != nil {
			return err
		}
		alone, _, err := v.timed(v.owner("snapshots", "--json", "--no-lock"))
		if err != nil {
			return err
		}
		if i == 0 {
			continue // warms the caches
		}
		ours, other, beyond = append(ours, a[0]), append(other, alone), append(beyond, a[0]-alone)
	}
	b.add(row{fmt.Sprintf("choice among %d snapshots", choiceSnapshots), ours.seconds(), other.seconds() + " (restic snapshots)", beyond.String() + " s beyond",
		fmt.Sprintf("< %.0f s beyond", choiceTarget), beyond.median() < choiceTarget})
	return nil
}

// manySnapshots fills a repository that several hosts share, and returns which
// snapshot is wanted and its id. restic has to show all of them.
func (v *vault) manySnapshots() (want recovery.Want, newest string, err error) {
	key, err := v.master()
	if err != nil {
		return want, "", err
	}
	now := time.Now().UTC().Truncate(time.Second)
	paths := [][]string{{"/var/lib/rustdesk", "/etc/rustdesk"}, {"/srv/forgejo"}, {"/home"}}
	want = recovery.Want{Host: "edge-2", Paths: paths[0], MaxAge: 48 * time.Hour, Now: now, MinFiles: 100, Shrink: 0.5}
	for i := range choiceSnapshots {
		s := sealedSnapshot{
			Time: now.Add(-time.Duration(i) * time.Hour), Tree: strings.Repeat("a", 64), Paths: paths[i/4%3], Hostname: fmt.Sprintf("edge-%d", i%4), Username: "root", Program: "restic 0.18.1",
			Summary: map[string]any{"backup_start": now, "backup_end": now, "files_new": i, "data_added": 1000 * i, "total_files_processed": 1000 + i%10, "total_bytes_processed": 1_000_000 + i},
		}
		id, err := v.put(key, "snapshots", s)
		if err != nil {
			return want, "", err
		}
		if newest == "" && s.Hostname == want.Host && i/4%3 == 0 {
			newest = id
		}
	}
	said, err := v.restic("snapshots", "--json", "--no-lock")
	if err != nil {
		return want, "", err
	}
	var all []json.RawMessage
	if err := json.Unmarshal(said, &all); err != nil || len(all) != choiceSnapshots {
		return want, "", fmt.Errorf("wanted %d snapshots that restic shows, found %d: %w", choiceSnapshots, len(all), err)
	}
	return want, newest, nil
}
