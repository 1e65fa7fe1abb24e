package restic

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRestore(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "abc", "dir/b": "defgh", "dir/::set-env name=X::": "", "empty/x": ""})
	out := filepath.Join(p.dir, "out")
	var last Progress
	got, err := p.client().Restore(t.Context(), id, out, RestoreOptions{Verify: true, Progress: func(now Progress) { last = now }})
	if err != nil {
		t.Fatal(err)
	}
	// Directories are counted too.
	want := RestoreSummary{Files: 7, FilesRestored: 7, Bytes: 8, BytesRestored: 8}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if b, err := os.ReadFile(filepath.Join(out, "data", "dir", "b")); err != nil || string(b) != "defgh" {
		t.Errorf("%q, %v", b, err)
	}
	if last.FilesRestored > last.Files || last.Files > want.Files {
		t.Errorf("%+v", last)
	}

	// A part of it.
	got, err = p.client().Restore(t.Context(), id, filepath.Join(p.dir, "part"), RestoreOptions{Include: []string{"/data/a", "/data/dir/b"}, Verify: true, LimitDownloadKiB: 10_000})
	if err != nil || got.Bytes != 8 {
		t.Errorf("%+v, %v", got, err)
	}
	if names := tree(t, filepath.Join(p.dir, "part", "data")); len(names) != 4 { // data, a, dir, b
		t.Errorf("%q", names)
	}

	// What is there already is not restored, and so was not proven.
	got, err = p.client().Restore(t.Context(), id, out, RestoreOptions{Verify: true})
	refused(t, err, Failed, "skipped")
	if got.FilesSkipped == 0 {
		t.Errorf("%+v", got)
	}

	// Exit code 0, a summary, and nothing in it.
	got, err = p.client().Restore(t.Context(), id, filepath.Join(p.dir, "none"), RestoreOptions{Include: []string{"/nonexistent"}, Verify: true})
	refused(t, err, Failed, "nothing that was restored")
	if diff := cmp.Diff(RestoreSummary{}, got); diff != "" {
		t.Error(diff)
	}

	_, err = p.client().Restore(t.Context(), anywhere, filepath.Join(p.dir, "unknown"), RestoreOptions{Verify: true})
	refused(t, err, Failed, "failed to find snapshot")
}

func TestRestoreOfADamagedRepository(t *testing.T) {
	t.Parallel()
	p := newRepository(t)
	id := p.backup("data", map[string]string{"a": "abc", "dir/b": "defgh"})
	damage(t, p.location)
	got, err := p.client().Restore(t.Context(), id, filepath.Join(p.dir, "out"), RestoreOptions{Verify: true})
	refused(t, err, Failed)
	t.Logf("%+v", got)
}

// Exit code, summary and messages have to agree: each of them alone lies.
func TestRestoreAgreesWithItself(t *testing.T) {
	whole := `echo '{"message_type":"summary","total_files":5,"files_restored":5,"total_bytes":3,"bytes_restored":3}'` + "\n"
	message := `echo '{"message_type":"error","error":{"message":"write /x: no space left on device"},"during":"restore","item":"/x"}' >&2` + "\n"
	for name, test := range map[string]struct {
		script string
		id     string
	}{
		"all agree":             {`echo '{"message_type":"status","percent_done":0.5}'; ` + whole, ""},
		"zero bytes":            {`echo '{"message_type":"summary","total_files":1,"files_restored":1}'`, ""},
		"a warning":             {`echo 'Warning: x' >&2; ` + whole, ""},
		"the code":              {whole + "exit 1", Failed},
		"a message":             {message + whole, Failed},
		"a message on stdout":   {strings.TrimSuffix(message, " >&2\n") + "\n" + whole, Failed},
		"no summary":            {`echo '{"message_type":"status","percent_done":1}'`, Failed},
		"nothing":               {"", Failed},
		"no counts":             {`echo '{"message_type":"summary"}'`, Failed},
		"a file too few":        {`echo '{"message_type":"summary","total_files":5,"files_restored":4,"total_bytes":3,"bytes_restored":3}'`, Failed},
		"a file too many":       {`echo '{"message_type":"summary","total_files":5,"files_restored":6,"total_bytes":3,"bytes_restored":3}'`, Failed},
		"a byte too few":        {`echo '{"message_type":"summary","total_files":5,"files_restored":5,"total_bytes":3,"bytes_restored":2}'`, Failed},
		"a file skipped":        {`echo '{"message_type":"summary","total_files":4,"files_restored":4,"files_skipped":1}'`, Failed},
		"a summary that is cut": {`printf '{"message_type":"summary","total_files":5,"files_restored":5'`, Failed},
		"words":                 {whole + "echo hello", Failed},
	} {
		_, err := double(t, "0.18.1", test.script).Restore(t.Context(), anywhere, "/t", RestoreOptions{Verify: true})
		if test.id == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { refused(t, err, test.id) })
	}
	_, err := double(t, "0.18.1", "").Restore(t.Context(), anywhere, "/t", RestoreOptions{})
	refused(t, err, Failed, "no summary")
	var seen []Progress
	_, err = double(t, "0.18.1", `echo '{"message_type":"status","total_files":5,"files_restored":1,"total_bytes":3,"bytes_restored":2}'; `+whole).
		Restore(t.Context(), anywhere, "/t", RestoreOptions{Progress: func(p Progress) { seen = append(seen, p) }})
	if diff := cmp.Diff([]Progress{{Files: 5, FilesRestored: 1, Bytes: 3, BytesRestored: 2}}, seen); diff != "" || err != nil {
		t.Error(diff, err)
	}
	// However many messages there are, the first ones are kept and all are counted.
	got, err := double(t, "0.18.1", `i=0; while [ $i -lt 500 ]; do `+strings.TrimSpace(message)+`; i=$((i+1)); done; exit 1`).Restore(t.Context(), anywhere, "/t", RestoreOptions{})
	if got.Errors != 500 || len(got.Messages) != maxMessages || err == nil {
		t.Errorf("%d, %d, %v", got.Errors, len(got.Messages), err)
	}
	if errors.Is(err, errStopped) {
		t.Error(err)
	}
}
