package tfplan

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"edge-actions/internal/files"
)

// DriftSchema names the format of the document of a drift.
const DriftSchema = "edge-actions/drift/v1"

// maxAttributes is how many attributes of one resource are kept, and
// maxDriftBytes what the document holds of resources: a document that nobody
// can open helps nobody. What is left out is counted, and what is deleted is
// never left out for what was changed.
const (
	maxAttributes = 50
	maxDriftBytes = 4 << 20
)

// Drift is what a refresh found to be other than the state says.
type Drift struct {
	Schema      string    `json:"schema"`
	Stack       string    `json:"stack"`
	TofuVersion string    `json:"tofu_version"`
	Resources   []Drifted `json:"resources"`
	// Moved are addresses that only the configuration has changed.
	Moved []string `json:"moved,omitempty"`
	// Outputs are the names of the outputs that would get another value.
	Outputs []string `json:"outputs,omitempty"`
	// LeftOut is how many resources there was no room for.
	LeftOut int `json:"left_out,omitempty"`
}

// Drifted is one resource instance that is not as the state has it.
type Drifted struct {
	Address string `json:"address"`
	// Previous is the address in the state, if the configuration has moved it.
	Previous string `json:"previous_address,omitempty"`
	Type     string `json:"type"`
	// Action is Update, or Delete for one that was deleted outside.
	Action     Action      `json:"action"`
	Attributes []Attribute `json:"attributes,omitempty"`
	// MoreAttributes is how many there was no room for.
	MoreAttributes int `json:"more_attributes,omitempty"`
	// Allowed is the line of allow_drift that lets it be.
	Allowed string `json:"allowed,omitempty"`
}

// Attribute is one value that differs, as JSON; a sensitive one is a word.
type Attribute struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// ReadDrift reads the JSON form of a refresh-only plan.
func ReadDrift(r io.Reader) (*Drift, error) {
	var raw struct {
		jsonHead
		ResourceDrift []jsonChange `json:"resource_drift"`
	}
	if err := decodePlan(r, &raw, &raw.jsonHead); err != nil {
		return nil, err
	}
	d := &Drift{TofuVersion: raw.TerraformVersion}
	for i := range raw.ResourceDrift {
		c := &raw.ResourceDrift[i]
		found, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("reading the JSON plan: %w", err)
		}
		one := Drifted{Address: found.Address, Previous: found.Previous, Type: found.Type, Action: found.Action}
		switch found.Action {
		case NoOp:
			if found.Previous != "" {
				d.Moved = append(d.Moved, found.Address)
			}
			continue
		case Update:
			if one.Attributes, one.MoreAttributes, err = c.attributes(maxAttributes); err != nil {
				return nil, fmt.Errorf("reading the JSON plan: resource %q: %w", c.Address, err)
			}
		case Delete:
		default:
			return nil, fmt.Errorf("reading the JSON plan: resource %q: drift with the action %q", c.Address, found.Action)
		}
		d.Resources = append(d.Resources, one)
	}
	outputs, err := raw.outputs()
	if err != nil {
		return nil, err
	}
	d.Outputs = slices.Sorted(maps.Keys(outputs))
	slices.Sort(d.Moved)
	slices.SortStableFunc(d.Resources, func(a, b Drifted) int {
		if c := weight[a.Action] - weight[b.Action]; c != 0 {
			return c
		}
		return strings.Compare(a.Address, b.Address)
	})
	return d, nil
}

// Allow marks what the lines let be: addresses, whole modules, patterns, as in
// Guard.Addresses.
func (d *Drift) Allow(lines []string) {
	for i := range d.Resources {
		r := &d.Resources[i]
		for _, line := range lines {
			if r.Allowed == "" && (matchAddress(line, r.Address) || r.Previous != "" && matchAddress(line, r.Previous)) {
				r.Allowed = line
			}
		}
	}
}

// Split returns the resources that nobody has allowed to drift, and the others.
func (d *Drift) Split() (drifted, allowed []Drifted) {
	for _, r := range d.Resources {
		if r.Allowed == "" {
			drifted = append(drifted, r)
		} else {
			allowed = append(allowed, r)
		}
	}
	return drifted, allowed
}

// Write puts the document at path. It ends with a whole resource.
func (d *Drift) Write(path string) error {
	out := *d
	out.Schema, out.Resources = DriftSchema, []Drifted{}
	size := 0
	for i, r := range d.Resources {
		data, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if size += len(data); size > maxDriftBytes {
			out.LeftOut = len(d.Resources) - i
			break
		}
		out.Resources = append(out.Resources, r)
	}
	data, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	return files.Write(path, append(data, '\n'))
}
