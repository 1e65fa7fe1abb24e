package stacks

import (
	"fmt"
	"strings"

	"edge-actions/internal/tfplan"
	"edge-actions/internal/verdict"
)

// comment renders the results for a summary and for a comment on a pull
// request: a table of the stacks, then what is lost, then the rest by stack,
// in pieces of whole resources and below what a forge takes. No value of a
// plan is in it, and no sensitive one of a drift.
func comment(results []*Result, what string, single bool) string {
	var blocks []tfplan.Block
	text := func(format string, args ...any) {
		blocks = append(blocks, tfplan.Block{Text: fmt.Sprintf(format, args...)})
	}
	text("**%s**\n\n", headline(results, what))
	if !single {
		text("| stack | verdict | %s |\n|---|---|---|\n", what)
		for _, r := range results {
			blocks = append(blocks, tfplan.Block{Text: fmt.Sprintf("| %s | %s | %s |\n", tfplan.Escape(r.Name), r.Verdict, r.words()), Kind: "stacks"})
		}
	}
	lost := false
	for _, r := range results {
		for _, b := range r.blocks() {
			if !b.Loss {
				continue
			}
			if !lost {
				lost = true
				text("\n**Deleted, replaced or forgotten**\n\n")
			}
			if !single {
				b.Text = fmt.Sprintf("- %s: %s", tfplan.Escape(r.Name), strings.TrimPrefix(b.Text, "- "))
			}
			blocks = append(blocks, b)
		}
	}
	for _, r := range results {
		first := true
		for _, b := range r.blocks() {
			if b.Loss {
				continue
			}
			// The heading goes with the first of its resources, so that it
			// never stands alone.
			if first && !single {
				b.Text = fmt.Sprintf("\n**%s**\n\n%s", tfplan.Escape(r.Name), b.Text)
			} else if first && lost {
				b.Text = "\n" + b.Text
			}
			first = false
			blocks = append(blocks, b)
		}
	}
	return tfplan.Join(blocks, tfplan.MaxMarkdown)
}

// blocks are the resources of one stack.
func (r *Result) blocks() []tfplan.Block {
	switch {
	case r.plan != nil:
		return r.plan.Blocks()
	case r.drift != nil:
		return r.drift.Blocks()
	}
	return nil
}

// words are what is said of one stack in one line.
func (r *Result) words() string {
	var parts []string
	switch {
	case r.drift != nil:
		parts = append(parts, r.drift.Headline())
	case r.Counts != nil:
		parts = append(parts, r.Counts.Headline())
	case r.Outcome != "":
		parts = append(parts, r.Outcome)
	}
	if r.FailureReason != "" {
		parts = append(parts, tfplan.Escape(r.FailureReason))
	}
	return strings.Join(parts, " ")
}

// headline is one line over all.
func headline(results []*Result, what string) string {
	if len(results) == 0 {
		return "No stack has changed."
	}
	if len(results) == 1 {
		if words := results[0].words(); words != "" {
			return words
		}
		return fmt.Sprintf("No %s: %s.", what, results[0].Verdict)
	}
	held, drifted := 0, 0
	var sum tfplan.Counts
	for _, r := range results {
		if r.Verdict == verdict.Proven {
			held++
		}
		if r.Counts != nil {
			sum = sum.Plus(*r.Counts)
		}
		if r.Drifted != nil {
			drifted += *r.Drifted
		}
	}
	s := fmt.Sprintf("%d of %d stacks proven.", held, len(results))
	switch what {
	case "plan":
		s += " " + sum.Headline()
	case "drift":
		s += fmt.Sprintf(" %d resources drifted.", drifted)
	}
	return s
}
