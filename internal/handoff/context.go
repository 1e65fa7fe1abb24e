package handoff

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

var (
	repository = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)
	commit     = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
	decimal    = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)
	lineage    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{7,63}$`)
)

// context judges where the handoff comes from.
func (b *builder) context(c Context) {
	const runner = "run it on a runner that sets this variable"
	const apply = "pass the output of the step that applied the stack"
	for _, f := range []struct {
		id, name, value, wanted, hint string
		ok                            bool
	}{
		{"context", "GITHUB_REPOSITORY", c.Repository, "owner/name", runner, ownerName(c.Repository)},
		{"context", "GITHUB_SHA", c.Commit, "a full commit hash in lower-case hex", runner, commit.MatchString(c.Commit)},
		{"context", "GITHUB_RUN_ID", c.RunID, "a positive whole number", runner, decimal.MatchString(c.RunID)},
		{"context", "GITHUB_RUN_ATTEMPT", c.RunAttempt, "a positive whole number", runner, c.RunAttempt == "" || decimal.MatchString(c.RunAttempt)},
		{"input-state_lineage", "state_lineage", c.StateLineage, "the state's lineage, 8 to 64 letters, digits and hyphens", apply, lineage.MatchString(c.StateLineage)},
		{"input-state_serial", "state_serial", strconv.FormatInt(c.StateSerial, 10), "the state's serial, 1 or more", apply, c.StateSerial >= 1},
		{"context", "created", c.Created.Format(time.RFC3339), "a time in the years 2000 to 9999", "correct the clock", c.Created.Year() >= 2000 && c.Created.Year() <= 9999},
	} {
		if !f.ok {
			b.refuse(f.id, f.name+": "+f.wanted, quote(f.value), f.hint)
		}
	}
}

// ownerName reports whether it can be a repository, of which each half has at
// most a hundred characters.
func ownerName(s string) bool {
	owner, name, _ := strings.Cut(s, "/")
	return len(owner) <= 100 && len(name) <= 100 && repository.MatchString(s)
}
