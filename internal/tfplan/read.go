// Package tfplan knows plans: what a plan would do, counted rightly, what it
// must not do, how to show it without showing a secret, and the receipt that
// ties it to the one state and the one commit for which it was made. It
// refuses a plan that errored, one it can't read to the end, and one whose
// words it does not know.
package tfplan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Action is what a plan does to one resource instance.
type Action string

// The actions of the JSON plan, format 1.x, with a replacement as one: there
// it is a list of two in either order (OpenTofu internal/command/jsonplan).
const (
	NoOp    Action = "no-op"
	Read    Action = "read"
	Create  Action = "create"
	Update  Action = "update"
	Delete  Action = "delete"
	Replace Action = "replace"
	// Forget drops the instance from the state and leaves the thing itself.
	Forget Action = "forget"
	// ForgetReplace forgets the old instance and creates a new one.
	ForgetReplace Action = "forget-replace"
)

// Change is what a plan does to one resource instance.
type Change struct {
	Address string
	// Previous is the address it is moved from, if it is.
	Previous string
	Type     string
	Mode     string // "managed" or "data"
	Action   Action
	Imported bool
	// Deposed marks an earlier instance left over by a failed replacement.
	Deposed bool
	// Reason is OpenTofu's action_reason, for example "replace_because_tainted".
	Reason string
	// Attributes are the names, never the values, of what changes; Forcing are
	// those among them that force a replacement.
	Attributes, Forcing []string
}

// Plan is the part of a JSON plan that can be shown to anybody.
type Plan struct {
	TofuVersion string
	Changes     []Change
	// Outputs are the names of the outputs that change, with their actions.
	Outputs map[string]Action
}

// jsonPlan names what is decoded. Everything else, the state and the values of
// variables among it, is never kept.
type jsonPlan struct {
	jsonHead
	ResourceChanges []jsonChange `json:"resource_changes"`
}

// jsonHead is what every plan has, one that only refreshes too.
type jsonHead struct {
	FormatVersion    string `json:"format_version"`
	TerraformVersion string `json:"terraform_version"`
	Errored          bool   `json:"errored"`
	OutputChanges    map[string]struct {
		Actions []string `json:"actions"`
	} `json:"output_changes"`
}

type jsonChange struct {
	Address         string `json:"address"`
	PreviousAddress string `json:"previous_address"`
	Mode            string `json:"mode"`
	Type            string `json:"type"`
	Deposed         string `json:"deposed"`
	ActionReason    string `json:"action_reason"`
	Change          struct {
		Actions         []string        `json:"actions"`
		Before          json.RawMessage `json:"before"`
		After           json.RawMessage `json:"after"`
		AfterUnknown    json.RawMessage `json:"after_unknown"`
		BeforeSensitive json.RawMessage `json:"before_sensitive"`
		AfterSensitive  json.RawMessage `json:"after_sensitive"`
		ReplacePaths    [][]any         `json:"replace_paths"`
		Importing       json.RawMessage `json:"importing"`
	} `json:"change"`
}

// ReadJSON reads the JSON form of a plan, `tofu show -json FILE`.
func ReadJSON(r io.Reader) (*Plan, error) {
	var raw jsonPlan
	err := decodePlan(r, &raw, &raw.jsonHead)
	if err != nil {
		return nil, err
	}
	p := &Plan{TofuVersion: raw.TerraformVersion}
	for i := range raw.ResourceChanges {
		c, err := raw.ResourceChanges[i].read()
		if err != nil {
			return nil, fmt.Errorf("reading the JSON plan: %w", err)
		}
		p.Changes = append(p.Changes, c)
	}
	if p.Outputs, err = raw.outputs(); err != nil {
		return nil, err
	}
	slices.SortFunc(p.Changes, func(a, b Change) int { return strings.Compare(a.Address, b.Address) })
	return p, nil
}

// decodePlan reads one JSON plan to its end.
func decodePlan(r io.Reader, into any, head *jsonHead) error {
	dec := json.NewDecoder(r)
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("reading the JSON plan: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fmt.Errorf("reading the JSON plan: something follows it")
	}
	if !strings.HasPrefix(head.FormatVersion, "1.") {
		return fmt.Errorf("reading the JSON plan: wanted format 1.x, found %q", head.FormatVersion)
	}
	if head.Errored {
		return fmt.Errorf("reading the JSON plan: the plan errored, and no plan that did may be applied")
	}
	return nil
}

// outputs returns the outputs that change.
func (h *jsonHead) outputs() (map[string]Action, error) {
	out := map[string]Action{}
	for name, o := range h.OutputChanges {
		a, err := actionOf(o.Actions)
		if err != nil {
			return nil, fmt.Errorf("reading the JSON plan: output %q: %w", name, err)
		}
		if a != NoOp {
			out[name] = a
		}
	}
	return out, nil
}

func (c *jsonChange) read() (Change, error) {
	action, err := actionOf(c.Change.Actions)
	if err != nil {
		return Change{}, fmt.Errorf("resource %q: %w", c.Address, err)
	}
	if c.Address == "" || c.Type == "" {
		return Change{}, fmt.Errorf("a resource change without address or type")
	}
	out := Change{
		Address: c.Address, Type: c.Type, Mode: c.Mode, Action: action, Reason: c.ActionReason,
		Deposed:  c.Deposed != "",
		Imported: len(c.Change.Importing) > 0 && !bytes.Equal(c.Change.Importing, []byte("null")),
	}
	if c.PreviousAddress != c.Address {
		out.Previous = c.PreviousAddress
	}
	switch action {
	case Update, Replace, ForgetReplace:
		if out.Attributes, err = changed(c.Change.Before, c.Change.After, c.Change.AfterUnknown); err != nil {
			return Change{}, fmt.Errorf("resource %q: %w", c.Address, err)
		}
		for _, path := range c.Change.ReplacePaths {
			out.Forcing = append(out.Forcing, pathString(path))
		}
		slices.Sort(out.Forcing)
	}
	return out, nil
}

func actionOf(actions []string) (Action, error) {
	switch strings.Join(actions, ",") {
	case "no-op":
		return NoOp, nil
	case "read":
		return Read, nil
	case "create":
		return Create, nil
	case "update":
		return Update, nil
	case "delete":
		return Delete, nil
	case "delete,create", "create,delete":
		return Replace, nil
	case "forget":
		return Forget, nil
	case "forget,create", "create,forget":
		return ForgetReplace, nil
	}
	return "", fmt.Errorf("unknown actions %q", actions)
}

// changed returns the names of the top-level attributes that differ between
// before and after, or are known only after the apply.
func changed(before, after, unknown json.RawMessage) ([]string, error) {
	var b, a, u map[string]json.RawMessage
	for _, x := range []struct {
		raw  json.RawMessage
		into *map[string]json.RawMessage
	}{{before, &b}, {after, &a}, {unknown, &u}} {
		if len(x.raw) > 0 && x.raw[0] == '{' {
			if err := json.Unmarshal(x.raw, x.into); err != nil {
				return nil, err
			}
		}
	}
	names := map[string]bool{}
	for name, v := range a {
		if !bytes.Equal(v, b[name]) {
			names[name] = true
		}
	}
	for name, v := range b {
		if !bytes.Equal(v, a[name]) {
			names[name] = true
		}
	}
	for name, v := range u {
		if bytes.Contains(v, []byte("true")) {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// pathString renders a path of replace_paths: steps are names or indices.
func pathString(path []any) string {
	var b strings.Builder
	for i, step := range path {
		switch s := step.(type) {
		case string:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s)
		default:
			fmt.Fprintf(&b, "[%v]", s)
		}
	}
	return b.String()
}
