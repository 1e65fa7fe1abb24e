package mirror

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func id(c string) string { return strings.Repeat(c, 40) }

func TestParseRefs(t *testing.T) {
	text := id("0") + "\tHEAD\n" +
		id("1") + "\trefs/heads/main\n" +
		id("2") + "\trefs/heads/feature/x\n" +
		id("3") + "\trefs/tags/v1\n" +
		id("4") + "\trefs/tags/v1^{}\n" +
		id("5") + "\trefs/pull/1/head\n"
	for name, test := range map[string]struct {
		patterns Patterns
		want     Refs
	}{
		"heads and tags": {Patterns{"refs/heads/*", "refs/tags/*"}, Refs{"refs/heads/main": {id("1"), id("1")}, "refs/heads/feature/x": {id("2"), id("2")}, "refs/tags/v1": {id("3"), id("4")}}},
		"one":            {Patterns{"refs/heads/main"}, Refs{"refs/heads/main": {id("1"), id("1")}}},
		"none":           {Patterns{"refs/heads/mai"}, Refs{}},
		"in the middle":  {Patterns{"refs/*/x"}, Refs{"refs/heads/feature/x": {id("2"), id("2")}}},
		"all":            {Patterns{"refs/*"}, Refs{"refs/heads/main": {id("1"), id("1")}, "refs/heads/feature/x": {id("2"), id("2")}, "refs/tags/v1": {id("3"), id("4")}, "refs/pull/1/head": {id("5"), id("5")}}},
	} {
		got, err := parseRefs(text, test.patterns)
		if diff := cmp.Diff(test.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	for name, text := range map[string]string{
		"no tab":        id("1") + " refs/heads/main\n",
		"no id":         "main\trefs/heads/main\n",
		"a short id":    "1234\trefs/heads/main\n",
		"no name":       id("1") + "\t\n",
		"a page":        "<html>\n",
		"a tag's half":  id("1") + "\trefs/tags/v1^{}\n",
		"a line's half": id("1") + "\trefs/heads/ma\x1b[31min\n",
	} {
		if got, err := parseRefs(text, Patterns{"refs/*"}); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, bad := range []string{"", "main", "refs/", "refs/heads/..", "refs/heads/a b", "refs/heads/a\nb", "refs/heads/[ab]", "-x", "refs/heads/a:b"} {
		if p, wrong := ParsePatterns([]string{"refs/heads/*", bad}); p != nil || wrong != bad {
			t.Errorf("%q: %v", bad, p)
		}
	}
	for pattern, matches := range map[string]map[string]bool{
		"refs/heads/*":     {"refs/heads/main": true, "refs/heads/a/b": true, "refs/headsx/a": false, "refs/tags/a": false},
		"refs/heads/main":  {"refs/heads/main": true, "refs/heads/mainx": false, "xrefs/heads/main": false},
		"refs/*/v*.*":      {"refs/tags/v1.2": true, "refs/tags/v1": false},
		"refs/heads/a*b*c": {"refs/heads/abc": true, "refs/heads/aXbXc": true, "refs/heads/ac": false, "refs/heads/acb": false},
	} {
		for ref, want := range matches {
			if got := (Patterns{pattern}).match(ref); got != want {
				t.Errorf("%s of %s: %v", pattern, ref, got)
			}
		}
	}
	for want, p := range map[string]Patterns{"--heads --tags": {"refs/tags/*", "refs/heads/*", "refs/heads/main"}, "--heads": {"refs/heads/*"}, "": {"refs/heads/*", "refs/*"}} {
		if got := strings.Join(p.narrow(), " "); got != want {
			t.Errorf("%q: %q, wanted %q", p, got, want)
		}
	}
}

func TestParsePlace(t *testing.T) {
	for s, want := range map[string]string{
		"https://example.org/a/b.git":          "https://example.org/a/b.git",
		"https://example.org:8443/a/b":         "https://example.org:8443/a/b",
		"http://127.0.0.1:3000/a/b":            "http://127.0.0.1:3000/a/b",
		"http://[::1]:3000/a/b":                "http://[::1]:3000/a/b",
		"ssh://git@example.org/a/b.git":        "ssh://git@example.org/a/b.git",
		"git@example.org:a/b.git":              "ssh://git@example.org/a/b.git",
		"file:///srv/b.git":                    "file:///srv/b.git",
		"":                                     "",
		"/srv/b.git":                           "",
		"http://example.org/a/b":               "",
		"https://user@example.org/a/b":         "",
		"https://user:hunter2@example.org/a/b": "",
		"ssh://git:hunter2@example.org/a/b":    "",
		"ssh://-oProxyCommand=hunter2/a":       "",
		"ssh://-x@example.org/a":               "",
		"ssh://example.org/-a":                 "",
		"https://example.org/a?b=hunter2":      "",
		"https://example.org/a b":              "",
		"https://example.org":                  "",
		"https:///a":                           "",
		"file://example.org/a":                 "",
		"git://example.org/a/b":                "",
		"ext::sh -c id":                        "",
		"--upload-pack=id":                     "",
		"https://example.org/a\nb":             "",
		"https://exa%2dmple.org\x00/a":         "",
		"https://ex'ample.org/a":               "",
	} {
		p, err := ParsePlace(s)
		if (err == nil) != (want != "") || p.URL != want {
			t.Errorf("%q: %q %v", s, p.URL, err)
		}
		if err != nil && strings.Contains(s, "hunter2@") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: it shows the password: %v", s, err)
		}
	}
}

func TestSameAddress(t *testing.T) {
	for _, same := range [][2]string{
		{"https://github.com/o/r.git", "https://GitHub.com/o/r"},
		{"https://github.com/o/r.git", "git@github.com:o/r.git"},
		{"ssh://git@github.com:22/o/r", "https://github.com:443/o/r/"},
		{"http://127.0.0.1:3000/o/r.git", "http://127.0.0.1:3000/o/r"},
		{"file:///srv/r.git", "file:///srv/r"},
	} {
		if !SameAddress(same[0], same[1]) {
			t.Errorf("%q is %q", same[0], same[1])
		}
	}
	for _, other := range [][2]string{
		{"https://github.com/o/r", "https://github.com/o/r2"},
		{"https://github.com/o/r", "https://github.com/O/r"},
		{"https://github.com/o/r", "https://github.com.example.org/o/r"},
		{"http://127.0.0.1:3000/o/r", "http://127.0.0.1:3001/o/r"},
		{"", ""},
		{"nonsense", "nonsense"},
	} {
		if SameAddress(other[0], other[1]) {
			t.Errorf("%q is not %q", other[0], other[1])
		}
	}
}
