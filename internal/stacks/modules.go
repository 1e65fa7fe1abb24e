package stacks

import (
	"encoding/json"
	"errors"
	"os"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// moduleSources returns the sources of the modules that a file calls. odd is
// the name of one whose source is not literal text.
func moduleSources(path string) (sources []string, odd string, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, "", err
	}
	if strings.HasSuffix(path, ".json") {
		return jsonSources(data)
	}
	file, diagnostics := hclsyntax.ParseConfig(data, path, hcl.InitialPos)
	if diagnostics.HasErrors() {
		return nil, "", errors.New("it can't be parsed")
	}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "module" || len(b.Labels) != 1 {
			continue
		}
		source, ok := b.Body.Attributes["source"]
		if !ok {
			continue
		}
		v, diagnostics := source.Expr.Value(nil)
		if diagnostics.HasErrors() || v.Type() != cty.String || v.IsNull() || !v.IsKnown() {
			return nil, b.Labels[0], nil
		}
		sources = append(sources, v.AsString())
	}
	return sources, "", nil
}

func jsonSources(data []byte) (sources []string, odd string, err error) {
	var doc struct {
		Module map[string]struct {
			Source string `json:"source"`
		} `json:"module"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, "", err
	}
	for name, m := range doc.Module {
		if strings.Contains(m.Source, "${") {
			return nil, name, nil
		}
		sources = append(sources, m.Source)
	}
	return sources, "", nil
}
