package node

import (
	"errors"
	"strconv"
	"strings"
)

// Value is one thing that the probe was to read: what it read, or why it did
// not. There is no way to what was not read, so it can't pass for an empty one.
type Value[T any] struct {
	v   T
	err error
	ok  bool
}

var errNotRead = errors.New("the probe did not read it")

// Get returns what was read, or why it was not.
func (v Value[T]) Get() (T, error) {
	switch {
	case v.err != nil:
		var zero T
		return zero, v.err
	case !v.ok:
		var zero T
		return zero, errNotRead
	}
	return v.v, nil
}

func read[T any](v T) Value[T] { return Value[T]{v: v, ok: true} }

func unread[T any](err error) Value[T] { return Value[T]{err: err} }

// readOr is for what a parser returns.
func readOr[T any](v T, err error) Value[T] {
	if err != nil {
		return unread[T](err)
	}
	return read(v)
}

// maxQuote is how much of a foreign text is shown: enough to know it again.
const maxQuote = 300

// quote makes foreign text fit for a sentence.
func quote(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxQuote {
		return strconv.Quote(s[:maxQuote]) + " and more"
	}
	return strconv.Quote(s)
}

// maxNames is how many names a sentence can bear.
const maxNames = 8

// list quotes names.
func list(names []string) string {
	var out []string
	for i, name := range names {
		if i == maxNames {
			out = append(out, "and "+strconv.Itoa(len(names)-i)+" more")
			break
		}
		out = append(out, quote(name))
	}
	return strings.Join(out, ", ")
}
