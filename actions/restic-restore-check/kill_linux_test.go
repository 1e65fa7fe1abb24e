package main

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/testing/realtools"
)

// The runner is killed in each phase. The next run removes what the scratch
// holds, and neither the repository nor the live data has changed.
func TestKilledInEveryPhase(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "restic-restore-check")
	realtools.Output(t, "go", "build", "-o", binary, ".")
	j := newJob(t)
	large := make([]byte, 8<<20) // some seconds at the limit below
	rand.Read(large)
	must(t, os.WriteFile(filepath.Join(j.data, "data", "large"), large, 0o600))
	j.backup()
	before := digest(t, j.repo) + digest(t, j.data)
	killed, dirty := 0, 0
	for _, at := range []struct{ log, file string }{
		{log: "restoring"},
		{file: "edge-actions-rehearsal-*"},
		{file: "edge-actions-rehearsal-*/lock"},
		{file: "edge-actions-rehearsal-*/.edge-actions-rehearsal.json"},
		{file: "edge-actions-rehearsal-*/restored"},
		{file: "edge-actions-rehearsal-*/restored" + j.data + "/data/large"},
		{file: "edge-actions-rehearsal-*/restored" + j.data + "/link"},
	} {
		j.Inputs["limit_download_kib"] = "4096"
		s := j.step(binary)
		s.Start()
		if at.log != "" {
			s.KillAt(at.log)
			killed++
		} else if _, ok := s.TryKillOnFile(filepath.Join(j.Inputs["scratch_dir"], at.file)); ok {
			killed++
		}
		if left, _ := filepath.Glob(filepath.Join(j.Inputs["scratch_dir"], "*")); len(left) > 0 {
			dirty++
		}
		delete(j.Inputs, "limit_download_kib")
		r := j.Do()
		r.Want("")
		j.clean(r)
		if after := digest(t, j.repo) + digest(t, j.data); after != before {
			t.Fatalf("%v: repository or live data changed", at)
		}
	}
	if killed < 5 || dirty < 4 {
		t.Errorf("killed at %d points, %d with something left", killed, dirty)
	}
}
