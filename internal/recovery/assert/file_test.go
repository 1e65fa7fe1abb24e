package assert

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"edge-actions/internal/verdict"
)

func contains(s, part string) bool { return strings.Contains(s, part) }

func TestFile(t *testing.T) {
	const p = "/etc/app.conf"
	for name, tt := range map[string]struct {
		spoil func(r *restoredRig)
		file  File
		want  map[string]verdict.Verdict
		says  string
	}{
		"there":           {nil, File{}, map[string]verdict.Verdict{FilePresent: proven}, ""},
		"not there":       {func(r *restoredRig) { os.Remove(r.at(p)) }, File{}, map[string]verdict.Verdict{FilePresent: disproven}, "did not come back"},
		"a directory":     {func(r *restoredRig) { os.Remove(r.at(p)); os.Mkdir(r.at(p), 0o700) }, File{}, map[string]verdict.Verdict{FilePresent: disproven}, "not a regular file"},
		"a FIFO":          {func(r *restoredRig) { os.Remove(r.at(p)); syscall.Mkfifo(r.at(p), 0o600) }, File{}, map[string]verdict.Verdict{FilePresent: disproven}, "not a regular file"},
		"a link out":      {func(r *restoredRig) { os.Remove(r.at(p)); os.Symlink("/etc/passwd", r.at(p)) }, File{}, map[string]verdict.Verdict{FilePresent: disproven}, "leads out"},
		"a directory out": {func(r *restoredRig) { os.RemoveAll(r.at("/etc")); os.Symlink("/etc", r.at("/etc")) }, File{Path: "/etc/passwd"}, map[string]verdict.Verdict{FilePresent: disproven}, "leads out"},
		"large enough":    {nil, File{MinSize: int64(len(marker)), MaxSize: int64(len(marker))}, map[string]verdict.Verdict{FilePresent: proven, FileSize: proven}, ""},
		"too small":       {nil, File{MinSize: int64(len(marker)) + 1}, map[string]verdict.Verdict{FilePresent: proven, FileSize: disproven}, ""},
		"too large":       {nil, File{MaxSize: int64(len(marker)) - 1}, map[string]verdict.Verdict{FilePresent: proven, FileSize: disproven}, ""},
		"its hash":        {nil, File{SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(marker)))}, map[string]verdict.Verdict{FilePresent: proven, FileSHA256: proven}, ""},
		"empty":           {func(r *restoredRig) { r.write(p, "") }, File{}, map[string]verdict.Verdict{FilePresent: disproven}, "0 bytes"},
		"meant to be":     {func(r *restoredRig) { r.write(p, "") }, File{SHA256: fmt.Sprintf("%x", sha256.Sum256(nil))}, map[string]verdict.Verdict{FilePresent: proven, FileSHA256: proven}, "0 bytes"},
		"another hash":    {nil, File{SHA256: strings.Repeat("a", 64)}, map[string]verdict.Verdict{FilePresent: proven, FileSHA256: disproven}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRestored(t)
			r.write(p, marker)
			if tt.spoil != nil {
				tt.spoil(r)
			}
			if tt.file.Path == "" {
				tt.file.Path = p
			}
			expect(t, r.assert(Assertion{File: &tt.file}), tt.want, tt.says)
		})
	}
}

func TestFileValues(t *testing.T) {
	yes, no, two, four := true, false, 2.0, 4.0
	const doc = `{"server": {"port": 8080, "name": "` + marker + `", "on": true, "a.b": null, "big": 9007199254740993}, "users": [{"id": 1}, {"id": 2}, {"id": 3}], "zero": 0, "huge": 18446744073709551614, "tenth": 0.1, "hundred": 1e2}`
	for name, tt := range map[string]struct {
		at   string
		c    Condition
		want verdict.Verdict
		says string
	}{
		"a number":                     {".server.port", Condition{Equals: 8080}, proven, ""},
		"as a fraction":                {".server.port", Condition{Equals: 8080.0}, proven, ""},
		"another number":               {".server.port", Condition{Equals: 8081}, disproven, "another one: a number"},
		"nought is no string":          {".zero", Condition{Equals: "0"}, disproven, "a number"},
		"a number is no string":        {".server.port", Condition{Equals: "8080"}, disproven, "a number"},
		"a neighbour beyond a float64": {".server.big", Condition{Equals: 9007199254740992}, disproven, ""},
		"a neighbour beyond an int64":  {".huge", Condition{Equals: uint64(18446744073709551615)}, disproven, ""},
		"beyond an int64":              {".huge", Condition{Equals: uint64(18446744073709551614)}, proven, ""},
		"a tenth":                      {".tenth", Condition{Equals: 0.1}, proven, ""},
		"another tenth":                {".tenth", Condition{Equals: 0.10000000000000002}, disproven, ""},
		"a number with an exponent":    {".hundred", Condition{Equals: 100}, proven, ""},
		"a string":                     {".server.name", Condition{Equals: marker}, proven, ""},
		"another string":               {".server.name", Condition{Equals: "x"}, disproven, fmt.Sprintf("a string of %d bytes", len(marker))},
		"a boolean":                    {".server.on", Condition{Equals: true}, proven, ""},
		"a boolean is no string":       {".server.on", Condition{Equals: "true"}, disproven, ""},
		"nothing there":                {".server.nope", Condition{Equals: "x"}, disproven, "nothing"},
		"in a list":                    {".users[2].id", Condition{Equals: 3}, proven, ""},
		"beyond a list":                {".users[3].id", Condition{Exists: &yes}, disproven, "nothing"},
		"a name in a list":             {".users.id", Condition{Exists: &yes}, disproven, "nothing"},
		"null is there":                {`.server."a.b"`, Condition{Exists: &yes}, proven, "null"},
		"not there, as wanted":         {".server.nope", Condition{Exists: &no}, proven, "nothing"},
		"there, and not wanted":        {".server", Condition{Exists: &no}, disproven, "an object of 5"},
		"a list long enough":           {".users", Condition{Min: &two}, proven, "a list of 3"},
		"a list too short":             {".users", Condition{Min: &four}, disproven, "a list of 3"},
		"an object large enough":       {".server", Condition{Min: &four}, proven, "an object of 5"},
		"a number large enough":        {".server.port", Condition{Min: &four}, proven, ""},
		"a number too small":           {".users[0].id", Condition{Min: &two}, disproven, "a smaller number"},
		"a string has no least":        {".server.name", Condition{Min: &two}, disproven, "a string"},
	} {
		// JSON is YAML too, so both must find the same.
		for _, language := range []string{"json", "yaml"} {
			t.Run(name+" in "+language, func(t *testing.T) {
				r := newRestored(t)
				r.write("/a", doc)
				f := &File{Path: "/a"}
				if conditions := map[string]Condition{tt.at: tt.c}; language == "json" {
					f.JSON = conditions
				} else {
					f.YAML = conditions
				}
				expect(t, r.assert(Assertion{File: f}), map[string]verdict.Verdict{FilePresent: proven, FileValue: tt.want}, tt.says)
			})
		}
	}
}

func TestFileThatIsNoDocument(t *testing.T) {
	yes := true
	for name, text := range map[string]string{
		"not at all":                        `{"` + marker + `": ` + marker,
		"two documents":                     `{"a": "` + marker + `"} {"a": 1}`,
		"a tab":                             "a:\n\t" + marker + ": [",
		"a key twice":                       marker + ": 1\n" + marker + ": 2\n",
		"a space":                           " ",
		"a JSON key twice":                  `{"a": 1, "b": {"c": [{"d": 1, "e": 2, "d": 3}]}}`,
		"a number and a string for one key": "1.0: x\n\"1\": y\na: 1\n",
		"aliases of aliases": "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n" +
			"f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: &g [*f,*f,*f,*f,*f,*f,*f,*f,*f]\nh: [*g,*g,*g,*g,*g,*g,*g,*g,*g]\n",
	} {
		for _, f := range []*File{{Path: "/a", JSON: map[string]Condition{".a": {Exists: &yes}}}, {Path: "/a", YAML: map[string]Condition{".a": {Exists: &yes}}}} {
			r := newRestored(t)
			r.write("/a", text)
			got, said := told(r.assert(Assertion{File: f}))
			if got[FileValue] != disproven {
				t.Errorf("%s: %s", name, said)
			}
		}
	}
}

func TestYAMLKeysThatAreNoStrings(t *testing.T) {
	r := newRestored(t)
	r.write("/a", "ports:\n  80: "+marker+"\n  true: {x: 1}\n")
	yes := true
	expect(t, r.assert(Assertion{File: &File{Path: "/a", YAML: map[string]Condition{".ports.80": {Equals: marker}, ".ports.true.x": {Exists: &yes}}}}),
		map[string]verdict.Verdict{FilePresent: proven, FileValue: proven})
}
