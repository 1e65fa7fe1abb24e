package restic

import (
	"strings"
	"testing"
)

// The list and the snapshots are asked for at once: each waits here until the
// other has begun.
func TestSnapshotsAtOnce(t *testing.T) {
	a := strings.Repeat("a", 64)
	c := double(t, "0.18.1", `touch "$0.$1"
case $1 in
list) until [ -e "$0.snapshots" ]; do sleep 0.01; done; echo `+a+`;;
snapshots) until [ -e "$0.list" ]; do sleep 0.01; done; echo '[{"id":"`+a+`","time":"2026-11-25T00:00:00Z"}]';;
esac`)
	all, err := c.Snapshots(t.Context())
	if err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
}

// One that came after they were shown is not one that is hidden.
func TestSnapshotThatComesInBetween(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	c := double(t, "0.18.1", `case $1 in
list) printf '%s\n' `+a+` `+b+`;;
snapshots) [ ! -e "$0.shown" ] || more=',{"id":"`+b+`","time":"2026-11-25T00:00:00Z"}'
	touch "$0.shown"; echo '[{"id":"`+a+`","time":"2026-11-25T00:00:00Z"}'"$more]";;
esac`)
	all, err := c.Snapshots(t.Context())
	if err != nil || len(all) != 2 || all[1].ID != b {
		t.Errorf("%v, %v", all, err)
	}
}
