// Package schema holds the published JSON Schema of a handoff and judges
// documents by it. It is for who receives a handoff. Who makes one does not
// need it: what handoff.Build returns is valid by construction, which its tests
// and a fuzz target hold against this; and reading a schema costs more than
// making a handoff.
package schema

import (
	"bytes"
	_ "embed" // the schema below
	"fmt"
	"sync"

	"edge-actions/internal/verdict"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// JSON is the published JSON Schema, draft 2020-12.
//
//go:embed handoff-v1.schema.json
var JSON []byte

// Validate returns an error named "schema" unless data is one document that is
// valid by the schema. It proves nothing about who wrote it.
func Validate(data []byte) error {
	schema, err := compiled()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		return verdict.Refuse("schema", "a document that is valid by handoff-v1.schema.json", fmt.Sprintf("%.1000s", err), "make the handoff again with emit-handoff")
	}
	return nil
}

var compiled = sync.OnceValues(func() (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(JSON))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	const url = "urn:edge-actions:handoff:v1"
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return c.Compile(url)
})
