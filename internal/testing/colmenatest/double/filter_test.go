package double

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFilter(t *testing.T) {
	nodes := []struct {
		name string
		tags []string
	}{{"edge-1", []string{"edge", "eu"}}, {"edge-2", []string{"edge"}}, {"core", nil}}
	for on, want := range map[string]string{
		"edge-1":         "edge-1",
		"edge-*":         "edge-1 edge-2",
		"core, edge-2":   "edge-2 core",
		"@edge":          "edge-1 edge-2",
		"@e[u]":          "edge-1",
		"@eu,core":       "edge-1 core",
		"edge-[!1]":      "edge-2",
		"edge-[1-2]":     "edge-1 edge-2",
		"edge-?":         "edge-1 edge-2",
		"**":             "edge-1 edge-2 core",
		"**/core":        "core",
		"edge":           "", // no glob: the whole name
		"EDGE-1":         "",
		"edge-1.":        "",
		"@core":          "",
		"edge-3":         "",
		"":               "",
		"  ":             "",
		"edge-[]1]":      "edge-1",
		"edge-[3-1]":     "",
		"edge-[!3-1]":    "edge-1 edge-2",
		`edge-\*`:        "",
		"c[o]r[e],@none": "core",
	} {
		f, err := parseFilter(on)
		if err != nil {
			t.Errorf("%q: %v", on, err)
			continue
		}
		var got []string
		for _, n := range nodes {
			if f.matches(n.name, n.tags) {
				got = append(got, n.name)
			}
		}
		if diff := cmp.Diff(want, strings.Join(got, " ")); diff != "" {
			t.Errorf("--on %q (-want +got):\n%s", on, diff)
		}
	}
	for on, want := range map[string]string{
		"edge-[":    `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 5, msg: "invalid range pattern" }`,
		"@[]":       `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 0, msg: "invalid range pattern" }`,
		"edge-[!]":  `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 5, msg: "invalid range pattern" }`,
		"ok,edge**": `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 3, msg: "recursive wildcards must form a single path component" }`,
		"**edge":    `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 2, msg: "recursive wildcards must form a single path component" }`,
		"***":       `called ` + "`Result::unwrap()` on an `Err` value" + `: PatternError { pos: 2, msg: "wildcards are either regular ` + "`*` or recursive `**`" + `" }`,
		"a,,b":      "Filter rule cannot be empty",
		",":         "Filter rule cannot be empty",
	} {
		if _, err := parseFilter(on); err == nil || err.Error() != want {
			t.Errorf("--on %q: %v, want %s", on, err, want)
		}
	}
}

func TestDescribe(t *testing.T) {
	for _, tt := range []struct {
		nodes []string
		want  string
	}{
		{nil, ""},
		{[]string{"a"}, "a"},
		{[]string{"a", "b"}, "a and b"},
		{[]string{"a", "b", "c"}, "a, b, and c"},
		{[]string{"node-one", "node-two", "node-three", "node-four", "node-five"}, "node-one, node-two, and 3 other nodes"},
		{[]string{"node-number-one", "node-number-two"}, "node-number-one, and node-number-two"},
	} {
		if got := describe(tt.nodes); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.nodes, got, tt.want)
		}
	}
}

func TestLog(t *testing.T) {
	for rustLog, want := range map[string]string{
		"":                   "ERROR e\n",
		"info":               "ERROR e\n WARN w\n INFO i\n",
		"warn":               "ERROR e\n WARN w\n",
		"OFF":                "",
		"hyper=trace":        "",
		"error,colmena=info": "ERROR e\n WARN w\n INFO i\n",
		"colmena=off,trace":  "",
	} {
		var out strings.Builder
		log := newLogger(&out, rustLog)
		log.errorf("e")
		log.warnf("w")
		log.infof("i")
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("RUST_LOG=%q (-want +got):\n%s", rustLog, diff)
		}
	}
}
