package evidence

import (
	"errors"
	"fmt"

	"edge-actions/internal/signature"
)

// walk joins the lines of a ledger: each is to be the one after the one before.
type walk struct {
	*snapshot
	witness *Mark
	each    func(*Entry) error

	summary  Summary
	previous string // the digest of the line before
	before   line   // the line before
	wrong    *Finding
	// missed is an entry that was skipped: if it comes later, the lines were
	// put into another order, and else it is gone.
	missed  int64
	setBack *Finding
	tooLong *Finding // ends the reading
	// rest is the length of what has no newline at the end, from restAt on, and
	// next the number of that line.
	rest, restAt, next int64
}

// take adds the next line. Its error is that of the caller's function.
func (w *walk) take(it judged) error {
	if w.wrong != nil {
		if it.entry != nil && w.missed > 0 && it.entry.Seq == w.missed {
			w.wrong = find(Reordered, w.wrong.Line, w.wrong.Offset, "the entry that belongs here, %d, is line %d", w.missed, it.number)
			w.missed = 0
		}
		return nil
	}
	if w.wrong = w.join(it); w.wrong != nil {
		return nil
	}
	e := it.entry
	w.previous, w.before = it.sum, line{number: it.number, offset: it.offset}
	if w.summary.Entries == 0 {
		w.summary.FirstTime = e.Time
	}
	w.summary.Entries, w.summary.Last, w.summary.LastTime = e.Seq, Mark{e.Seq, it.sum}, e.Time
	if w.headErr == nil && e.Seq > w.head.Seq {
		w.summary.Ahead++
	}
	if w.witness != nil && w.witness.Seq == e.Seq && w.witness.SHA256 != it.sum {
		w.setBack = find(SetBack, it.number, it.offset, "it is signed, and another one than was seen before")
	}
	if w.each != nil {
		return w.each(e)
	}
	return nil
}

// join returns what is wrong with the next line.
func (w *walk) join(it judged) *Finding {
	if it.wrong != nil {
		return it.wrong
	}
	wanted := w.summary.Entries + 1
	wrong := func(kind Kind, format string, args ...any) *Finding {
		return find(kind, it.number, it.offset, format, args...)
	}
	switch e := it.entry; {
	case e.Seq > wanted:
		w.missed = wanted
		if e.Seq == wanted+1 {
			return wrong(Cut, "it is entry %d, and entry %d is missing", e.Seq, wanted)
		}
		return wrong(Cut, "it is entry %d, and the entries %d to %d are missing", e.Seq, wanted, e.Seq-1)
	case e.Seq < wanted:
		return wrong(Repeated, "it is entry %d again", e.Seq)
	case e.Previous != w.previous && wanted == 1:
		return wrong(Cut, "it says that there is one before it")
	case e.Previous != w.previous:
		// Both are signed: one of them is of a ledger that went on otherwise.
		return find(Edited, w.before.number, w.before.offset, "the line after it was written after another one")
	case w.headErr == nil && e.Seq == w.head.Seq && (it.sum != w.head.SHA256 || it.offset != w.head.Offset || it.offset+int64(len(it.text)) != w.head.Size):
		return wrong(Edited, "it is not the line that the head names")
	}
	return nil
}

// judge says what is wrong with the whole, when all lines were taken.
func (w *walk) judge() error {
	var errs []error
	add := func(f *Finding) {
		if f != nil {
			errs = append(errs, f)
		}
	}
	if w.wrong == nil {
		w.wrong = w.tooLong
	}
	if w.wrong == nil {
		w.wrong = w.end()
	}
	add(w.wrong)
	add(w.headFinding())
	if w.setBack == nil && w.witness != nil && w.witness.Seq > w.summary.Entries && w.wrong == nil {
		w.setBack = find(SetBack, 0, 0, "it ends with entry %d, and entry %d was seen before", w.summary.Entries, w.witness.Seq)
	}
	add(w.setBack)
	if len(errs) == 0 && w.summary.Entries == 0 {
		add(find(Empty, 0, 0, "no entry"))
	}
	return errors.Join(errs...)
}

// end holds the end of the file against the head.
func (w *walk) end() *Finding {
	if w.headErr != nil {
		if w.rest > 0 {
			return find(Edited, w.next, w.restAt, "it has no end, and no head says whether it had one")
		}
		return nil
	}
	switch {
	case w.size < w.head.Size:
		return find(Truncated, w.next, w.restAt, "the file ends here with %d bytes and %d entries; its head says %d and %d", w.size, w.summary.Entries, w.head.Size, w.head.Seq)
	case w.rest > 0 && w.restAt < w.head.Size:
		return find(Edited, w.next, w.restAt, "it has no end")
	case w.summary.Entries < w.head.Seq:
		return find(Truncated, w.next, w.restAt, "the file ends here with %d entries; its head says %d", w.summary.Entries, w.head.Seq)
	case w.rest > 0:
		return find(Torn, w.next, w.restAt, "%d bytes without an end", w.rest)
	}
	return nil
}

func (w *walk) headFinding() *Finding {
	unknown := (*signature.UnknownKeyError)(nil)
	switch {
	case w.headErr == nil:
		return nil
	case errors.As(w.headErr, &unknown):
		return find(ForeignKey, 0, 0, "the head is signed, %v", unknown)
	case errors.Is(w.headErr, errNoHead) && w.summary.Entries == 0 && w.size == 0:
		return nil // a directory without a ledger
	case errors.Is(w.headErr, errNoHead):
		return find(Headless, 0, 0, "%v", w.headErr)
	}
	return find(Edited, 0, 0, "%s: %v", HeadFile, fmt.Sprintf("%.300s", w.headErr.Error()))
}
