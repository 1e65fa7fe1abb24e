package assert

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
)

// maxDocument is the largest file whose values are looked at.
const maxDocument = 16 << 20

// Condition is what must hold of one value. Exactly one is set.
type Condition struct {
	// Equals is a string, a number or a boolean.
	Equals any `yaml:"equals"`
	// Exists is whether there is a value at all; null is one.
	Exists *bool `yaml:"exists"`
	// Min is the least that a number is, or that a list or an object has.
	Min *float64 `yaml:"min"`
}

func (c Condition) validate(p *problems, field string) {
	set := 0
	for _, is := range []bool{c.Equals != nil, c.Exists != nil, c.Min != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		p.wrong(field+", exactly one of equals, exists and min", fmt.Sprintf("%d of them", set))
	}
	switch c.Equals.(type) {
	case nil, string, bool, int, int64, uint64, float64:
	default:
		p.wrong(field+".equals, a string, a number or a boolean", kindOf(c.Equals))
	}
	// Beyond it a float64 takes neighbours for one, and NaN is no number at all.
	const exact = 1 << 53
	if f, is := c.Equals.(float64); is && !(f >= -exact && f <= exact) {
		p.wrong(field+".equals, a whole number or a fraction that is held exactly", "one that is not")
	}
	if c.Min != nil && !(*c.Min >= -exact && *c.Min <= exact) {
		p.wrong(fmt.Sprintf("%s.min, a number from -%d to %d", field, exact, exact), "another one")
	}
}

// values looks at values of a restored document. Neither they nor what they
// should be are shown: proven, both are what the file contains.
func (j *judge) values(p, language string, decode func([]byte) (any, error), conditions map[string]Condition) {
	data, err := j.tree.read(p, maxDocument)
	if err != nil {
		j.missing(FileValue, "a "+language+" document", p, err)
		return
	}
	doc, err := decode(data)
	if err != nil { // the decoders quote what they read
		j.refuse(FileValue, "one "+language+" document", fmt.Sprintf("%d bytes that are none", len(data)), "compare with the live file")
		return
	}
	for _, at := range slices.Sorted(maps.Keys(conditions)) {
		wanted, got, ok := conditions[at].holds(doc, at)
		wanted = fmt.Sprintf("%s at %.200q", wanted, at)
		if ok {
			j.prove(FileValue, wanted, got)
		} else {
			j.refuse(FileValue, wanted, got, "compare with the live file; values are not shown, here or anywhere")
		}
	}
}

func (c Condition) holds(doc any, at string) (wanted, got string, ok bool) {
	steps, _ := parseValuePath(at) // Validate has parsed it
	value, there := lookUp(doc, steps)
	got = "nothing"
	if there {
		got = kindOf(value)
	}
	switch {
	case c.Exists != nil && *c.Exists:
		return "a value", got, there
	case c.Exists != nil:
		return "no value", got, !there
	case c.Min != nil:
		wanted = fmt.Sprintf("at least %v", *c.Min)
		if n, is := number(value); is && there {
			if n >= *c.Min {
				return wanted, "a number that is", true
			}
			return wanted, "a smaller number", false
		}
		n, is := length(value)
		return wanted, got, there && is && float64(n) >= *c.Min
	}
	wanted = "the value that is given"
	switch {
	case !there:
		return wanted, got, false
	case same(value, c.Equals):
		return wanted, "it", true
	}
	return wanted, "another one: " + got, false
}

// same compares by kind and value: "8080" is not 8080, and 1.0 is 1.
func same(a, b any) bool {
	_, isX := number(a)
	_, isY := number(b)
	if isX || isY {
		x, y := exactly(a), exactly(b)
		return isX && isY && x != nil && y != nil && x.Cmp(y) == 0
	}
	return kindWord(a) == kindWord(b) && fmt.Sprint(a) == fmt.Sprint(b)
}

// exactly is a number as it is written: a float64 takes neighbours beyond 2^53
// for one. nil is none, or one with an exponent that nobody means.
func exactly(v any) *big.Rat {
	r, ok := new(big.Rat).SetString(fmt.Sprint(v))
	if !ok {
		return nil
	}
	return r
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	case int:
		return float64(n), true
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

func length(v any) (int, bool) {
	switch l := v.(type) {
	case []any:
		return len(l), true
	case map[string]any:
		return len(l), true
	}
	return 0, false
}

func kindWord(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	if _, is := number(v); is {
		return "a number"
	}
	return "a value of another kind"
}

// kindOf says what a value is without saying the value.
func kindOf(v any) string {
	word := kindWord(v)
	switch x := v.(type) {
	case string:
		word += fmt.Sprintf(" of %d bytes", len(x))
	case []any, map[string]any:
		n, _ := length(x)
		word += fmt.Sprintf(" of %d", n)
	}
	return word
}
