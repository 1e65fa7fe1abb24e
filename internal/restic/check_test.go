package restic

import (
	"os"
	"path/filepath"
	"testing"

	"edge-actions/internal/verdict"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	p.backup("data", map[string]string{"a": "abc", "b": string(make([]byte, 100_000))})
	c := p.client()
	for _, part := range []string{"", "1/3", All} {
		if got, err := c.Check(t.Context(), part); err != nil || got.Errors != 0 || len(got.BrokenPacks) != 0 || got.RepairIndex {
			t.Errorf("%q: %+v, %v", part, got, err)
		}
	}
	// The bytes of a file are not looked at unless they are read. Data and trees
	// are in packs of their own; only the one that no tree is read from may go.
	packs, _ := filepath.Glob(filepath.Join(p.location, "data", "*", "*"))
	for _, pack := range packs {
		b, err := os.ReadFile(pack)
		if err != nil {
			t.Fatal(err)
		}
		os.Chmod(pack, 0o600)
		flipped := append([]byte{}, b...)
		flipped[20] ^= 0xff
		write(t, pack, string(flipped))
		if _, err := c.Check(t.Context(), ""); err == nil {
			got, err := c.Check(t.Context(), All)
			refused(t, err, Damaged, "contains errors")
			if got.Errors == 0 || len(got.BrokenPacks) != 1 || got.BrokenPacks[0] != filepath.Base(pack) || len(got.Messages) == 0 || got.Messages[0].Text == "" {
				t.Errorf("%+v", got)
			}
			if verdict.Of(verdict.ChecksOf(err)) != verdict.Disproven {
				t.Errorf("%v", err)
			}
			// Two parts are the whole: one of them finds it.
			_, err1 := c.Check(t.Context(), "1/2")
			_, err2 := c.Check(t.Context(), "2/2")
			if (err1 == nil) == (err2 == nil) {
				t.Errorf("%v, %v", err1, err2)
			}
			// A pack that is gone is found without reading.
			os.Remove(pack)
			got, err = c.Check(t.Context(), "")
			refused(t, err, Damaged)
			if got.Errors == 0 {
				t.Errorf("%+v", got)
			}
			return
		}
		write(t, pack, string(b))
	}
	t.Error("no pack of data among them")
}

func TestCheckThatCouldNotLook(t *testing.T) {
	summary := func(n string) string {
		return `echo '{"message_type":"summary","num_errors":` + n + `,"broken_packs":null,"suggest_repair_index":false,"suggest_prune":false}'; `
	}
	fatal := `echo '{"message_type":"exit_error","code":1,"message":"Fatal: repository contains errors"}' >&2; exit 1`
	for name, test := range map[string]struct{ version, script, id string }{
		"good":                             {"0.18.1", summary("0"), ""},
		"damaged":                          {"0.18.1", summary("3") + fatal, Damaged},
		"good, without JSON":               {"0.17.3", "echo 'no errors were found'", ""},
		"damaged, without JSON":            {"0.17.3", "echo 'Fatal: repository contains errors' >&2; exit 1", Damaged},
		"no way there, with a summary":     {"0.18.1", summary("1") + `echo '{"message_type":"exit_error","code":1,"message":"Fatal: unable to open config file: dial tcp: connection refused"}' >&2; exit 1`, Unreachable},
		"could not begin, with a summary":  {"0.18.1", summary("1") + "exit 1", Failed},
		"the words in a file's name":       {"0.18.1", summary("1") + `echo '{"message_type":"error","message":"Fatal: repository contains errors"}' >&2; exit 1`, Failed},
		"the words with another exit code": {"0.18.1", summary("1") + `echo 'Fatal: repository contains errors' >&2; exit 12`, Password},
		"errors and exit code 0":           {"0.18.1", summary("1"), Failed},
		"silence":                          {"0.18.1", "", Failed},
		"a summary that is cut":            {"0.18.1", `printf '{"message_type":"summary","num_errors":0'`, Failed},
		"locked":                           {"0.18.1", summary("1") + "exit 11", Locked},
		"a code from the future":           {"0.19.0", summary("0") + "exit 14", Failed},
	} {
		got, err := double(t, test.version, test.script).Check(t.Context(), "")
		if test.id == "" {
			if err != nil || got.Errors != 0 {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { refused(t, err, test.id) })
		if got.Errors == 0 && test.id == Damaged {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
