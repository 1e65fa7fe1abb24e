package restic

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"edge-actions/internal/verdict"
)

// RestoreOptions say what is restored, and how.
type RestoreOptions struct {
	// Include are restic's patterns; without any, all is restored. A pattern
	// that matches nothing restores nothing, with exit code 0.
	Include []string
	// Verify reads what was written and compares it with the snapshot.
	Verify bool
	// LimitDownloadKiB is KiB a second, 0 for no limit.
	LimitDownloadKiB int
	// Progress is called about once a second, if it is not nil.
	Progress func(Progress)
}

// Progress is how far a restore is.
type Progress struct {
	Files, FilesRestored, Bytes, BytesRestored uint64
}

// RestoreSummary is what restic says that it restored.
type RestoreSummary struct {
	// Files counts directories and links too.
	Files, FilesRestored, FilesSkipped uint64
	Bytes, BytesRestored, BytesSkipped uint64
	// Errors is how many errors were reported, Messages the first of them.
	Errors   int
	Messages []Message
}

// restoreMessage is a line of restic's: "status" and "summary".
type restoreMessage struct {
	Type          string `json:"message_type"`
	TotalFiles    uint64 `json:"total_files"`
	FilesRestored uint64 `json:"files_restored"`
	FilesSkipped  uint64 `json:"files_skipped"`
	TotalBytes    uint64 `json:"total_bytes"`
	BytesRestored uint64 `json:"bytes_restored"`
	BytesSkipped  uint64 `json:"bytes_skipped"`
}

// Restore writes a snapshot below target, an absolute path that is not the
// root. It is good only if the exit code, the summary and the absence of error
// messages agree: with a full disk the summary counts all files as restored,
// and with nothing to restore there is a summary without counts. The summary
// comes with an error too, as far as there is one.
func (c *Client) Restore(ctx context.Context, id, target string, o RestoreOptions) (RestoreSummary, error) {
	args := []string{"restore", id, "--target=" + target}
	for _, pattern := range o.Include {
		if pattern == "" || strings.HasPrefix(pattern, "!") {
			return RestoreSummary{}, fmt.Errorf("restoring snapshot %.8s: wanted a pattern of what to include, found %q", id, pattern)
		}
		args = append(args, "--include="+pattern)
	}
	if o.Verify {
		args = append(args, "--verify")
	}
	if o.LimitDownloadKiB > 0 {
		args = append(args, fmt.Sprintf("--limit-download=%d", o.LimitDownloadKiB))
	}
	var end *restoreMessage
	said := &stderr{}
	err := c.ask(ctx, said, func(r io.Reader) error {
		return lines(r, func(line []byte) error {
			var m restoreMessage
			if err := json.Unmarshal(line, &m); err != nil {
				return unreadable("the progress of a restore", err)
			}
			switch {
			case m.Type == "summary":
				end = &m
			case m.Type == "error", m.Type == "exit_error": // on stdout before 0.18
				fmt.Fprintf(said, "%s\n", line)
			case m.Type == "status" && o.Progress != nil:
				o.Progress(Progress{Files: m.TotalFiles, FilesRestored: m.FilesRestored, Bytes: m.TotalBytes, BytesRestored: m.BytesRestored})
			}
			return nil
		})
	}, args...)
	summary := RestoreSummary{}
	if end != nil {
		summary = RestoreSummary{
			Files: end.TotalFiles, FilesRestored: end.FilesRestored, FilesSkipped: end.FilesSkipped,
			Bytes: end.TotalBytes, BytesRestored: end.BytesRestored, BytesSkipped: end.BytesSkipped,
		}
	}
	summary.Messages, summary.Errors = said.found()
	if err != nil {
		return summary, err
	}
	return summary, summary.judge(id, end != nil, len(o.Include) > 0, said)
}

func (s RestoreSummary) judge(id string, ended, part bool, said *stderr) error {
	found := ""
	switch {
	case !ended:
		found = "no summary"
	case s.Errors > 0:
		found = fmt.Sprintf("%d errors: %q", s.Errors, said.words())
	case s.Files == 0:
		found = "nothing that was restored"
	// Of a part, the directories above it count as restored and not as a part of
	// the total (0.18).
	case s.FilesRestored < s.Files || s.FilesRestored > s.Files && !part || s.BytesRestored != s.Bytes || s.FilesSkipped > 0:
		found = fmt.Sprintf("%d of %d files with %d of %d bytes, %d skipped", s.FilesRestored, s.Files, s.BytesRestored, s.Bytes, s.FilesSkipped)
	default:
		return nil
	}
	return verdict.CannotTell(Failed, fmt.Sprintf("a whole restore of snapshot %.8s", id), fmt.Errorf("%s", found), "look at the patterns, and whether the directory was empty before")
}
