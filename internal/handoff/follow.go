package handoff

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// item is one element of the list or map of nodes.
type item struct {
	at           string
	index, count int // its place among how many, a map being sorted by its keys
	key          string
	isKey        bool // it comes from a map
	value        any
}

// take fills raw with what the mapping's sources say. A source that leads
// nowhere is refused, because it is a typing error more often than not.
func (b *builder) take(raw *rawNode, m *Mapping, it item) {
	raw.values, raw.places = map[string]any{}, map[string]string{}
	for _, field := range nodeFields {
		s, ok := m.fields[field]
		if !ok {
			continue
		}
		v, place, ok := b.follow(s, it, field)
		raw.places[field] = place
		if !ok {
			v = redacted{} // refused already
		}
		if s.fields != nil {
			v = b.rename(v, s.fields, place)
		}
		raw.values[field] = v
	}
}

func (b *builder) follow(s source, it item, field string) (v any, place string, ok bool) {
	path := s.path
	switch s.kind {
	case constant:
		place = "mapping." + field
		if _, seen := b.used[place]; !seen {
			b.used[place] = b.scan(where{name: place}, clone(s.value)) // a copy: the scan changes what it reads
		}
		return b.used[place], place, true
	case fromItem:
		v, place = it.value, it.at
	default:
		place = path[0]
		if v, ok = b.use(path[0]); !ok {
			return nil, place, false
		}
		path = path[1:]
	}
	for _, p := range path {
		place += "." + p
	}
	v, ok = lookup(v, path)
	if ok && s.kind == fromEach {
		return b.parallel(v, it, field, place)
	}
	if !ok {
		b.refuse("missing-value", place+" for the "+field+" of "+it.at, "nothing", "correct the path in the input mapping, or add it to the output")
	}
	return v, place, ok
}

// parallel returns the member of another list or map at the node's place. The
// two must have the same members: a list that is longer or shorter is not
// about the same nodes.
func (b *builder) parallel(v any, it item, field, place string) (any, string, bool) {
	switch c := v.(type) {
	case redacted:
		return v, place, true
	case []any:
		if !it.isKey && len(c) == it.count {
			return c[it.index], place + "[" + strconv.Itoa(it.index) + "]", true
		}
	case map[string]any:
		if e, ok := c[it.key]; ok && it.isKey && len(c) == it.count {
			return e, place + step(it.key), true
		}
	}
	if !b.uneven[place] { // once, not for every node
		b.uneven[place] = true
		wanted := fmt.Sprintf("a list of %d in %s for the %s of each node", it.count, place, field)
		if it.isKey {
			wanted = fmt.Sprintf("a map in %s with the same %d keys as the nodes, for their %s", place, it.count, field)
		}
		b.refuse("missing-value", wanted, kind(v), "name an output that has a value for each node, in the same order or under the same keys")
	}
	return nil, place, false
}

// rename gives volume attachments the fields of the document. What no field
// is made of is left behind.
func (b *builder) rename(v any, fields map[string][]string, at string) any {
	return eachOf(v, func(place string, e any) any {
		obj, ok := e.(map[string]any)
		if !ok {
			return e // refused with the rest of the attachments
		}
		out := map[string]any{}
		for _, field := range attachmentFields {
			path, ok := fields[field]
			if !ok {
				continue
			}
			if out[field], ok = lookup(obj, path); !ok {
				b.refuse("missing-value", at+place+"."+strings.Join(path, ".")+" for the "+field, "nothing", "correct the path in the input mapping, or add it to the output")
				out[field] = redacted{}
			}
		}
		return out
	})
}

// eachOf returns a list or map with f applied to its members, and any other
// value as it is.
func eachOf(v any, f func(place string, e any) any) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = f("["+strconv.Itoa(i)+"]", e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out[k] = f(step(k), v[k])
		}
		return out
	}
	return v
}

func clone(v any) any {
	return eachOf(v, func(_ string, e any) any { return clone(e) })
}

// lookup follows a path through objects by key and through lists by index. A
// secret on the way is returned as such: it was refused where it was found.
func lookup(v any, path []string) (any, bool) {
	for _, p := range path {
		switch c := v.(type) {
		case map[string]any:
			next, ok := c[p]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(p)
			if err != nil || i < 0 || i >= len(c) || strconv.Itoa(i) != p {
				return nil, false
			}
			v = c[i]
		case redacted:
			return c, true
		default:
			return nil, false
		}
	}
	return v, true
}
