package main

import (
	"context"
	"strconv"
	"time"

	"edge-actions/internal/action"
	"edge-actions/internal/report"
	"edge-actions/internal/report/page"
	"edge-actions/internal/review"
	"edge-actions/internal/verdict"
)

func run(ctx context.Context, a *action.Action) error {
	in := a.Inputs()
	config, ledger := report.Read(in, a, time.Now().UTC())
	dir := report.ReadDir(in, a)
	comment := review.Read(in, a)
	if err := in.Err(); err != nil {
		return err
	}
	a.Report.Subject = config.Title
	b := report.New(config)
	found, notes := ledger.Read(ctx, b.Add)
	p := b.Page(found)
	p.Notes = append(p.Notes, notes...)
	a.Report.Add(p.Checks...)
	outputs(a, p)
	if dir == "" {
		var err error
		if dir, err = a.TempDir("recovery"); err != nil {
			return err
		}
	}
	written, err := page.Write(dir, p)
	if err != nil {
		return verdict.CannotTell("pages", "the pages, written", err, "correct output_dir, or look at the disk")
	}
	a.Report.Prove("pages", "the pages, written", dir)
	a.SetOutput("html_path", written.HTML)
	a.SetOutput("markdown_path", written.Markdown)
	a.SetOutput("badge_path", written.Badge)
	a.Summarize(page.Markdown(p, page.Comment))
	return comment.Show(ctx, review.Finding{Kind: "recovery", Name: config.Title, Markdown: page.Note(p), Checks: p.Checks})
}

// outputs gives out the figures of the page. What nobody has looked at has none.
func outputs(a *action.Action, p *report.Page) {
	a.SetOutput("verdict", string(p.Verdict))
	a.SetOutput("entries", strconv.FormatInt(p.Ledger.Entries, 10))
	a.SetOutput("ledger_sha256", p.Ledger.SHA256)
	n := p.Counts()
	a.SetOutput("todo", strconv.Itoa(len(p.Todo)))
	a.SetOutput("overdue", strconv.Itoa(n.Overdue))
	a.SetOutput("slower", strconv.Itoa(n.Slower))
	if !p.Looked.IsZero() || n.Open > 0 {
		a.SetOutput("open_doors", strconv.Itoa(n.Open))
	}
	if len(p.Drift) > 0 {
		a.SetOutput("drifted", strconv.Itoa(n.Drifted))
	}
	if !n.LastRestore.IsZero() {
		a.SetOutput("last_restore", n.LastRestore.UTC().Format(time.RFC3339))
	}
}
