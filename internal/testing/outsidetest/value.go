package main

import (
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// decode makes the state of the file's JSON.
func decode(data []byte) (*tfprotov6.DynamicValue, error) {
	var plain map[string]any
	if err := json.Unmarshal(data, &plain); err != nil {
		return nil, err
	}
	attributes := map[string]tftypes.Value{}
	for name, t := range typ().AttributeTypes {
		attributes[name] = fromJSON(t, plain[name])
	}
	state, err := tfprotov6.NewDynamicValue(typ(), tftypes.NewValue(typ(), attributes))
	return &state, err
}

func fromJSON(t tftypes.Type, v any) tftypes.Value {
	if v == nil {
		return tftypes.NewValue(t, nil)
	}
	switch t := t.(type) {
	case tftypes.Map:
		out := map[string]tftypes.Value{}
		for key, item := range v.(map[string]any) {
			out[key] = fromJSON(t.ElementType, item)
		}
		return tftypes.NewValue(t, out)
	case tftypes.List:
		out := []tftypes.Value{}
		for _, item := range v.([]any) {
			out = append(out, fromJSON(t.ElementType, item))
		}
		return tftypes.NewValue(t, out)
	case tftypes.Object:
		out := map[string]tftypes.Value{}
		for name, at := range t.AttributeTypes {
			out[name] = fromJSON(at, v.(map[string]any)[name])
		}
		return tftypes.NewValue(t, out)
	}
	return tftypes.NewValue(t, v)
}

// toJSON is the reverse; what is not known yet is nothing.
func toJSON(v tftypes.Value) (any, error) {
	if v.IsNull() || !v.IsKnown() {
		return nil, nil
	}
	switch t := v.Type().(type) {
	case tftypes.Map, tftypes.Object:
		var in map[string]tftypes.Value
		out := map[string]any{}
		err := v.As(&in)
		for key, item := range in {
			if out[key], err = toJSON(item); err != nil {
				return nil, err
			}
		}
		return out, err
	case tftypes.List:
		var in []tftypes.Value
		out := []any{}
		err := v.As(&in)
		for _, item := range in {
			plain, err := toJSON(item)
			if err != nil {
				return nil, err
			}
			out = append(out, plain)
		}
		return out, err
	default:
		if t.Is(tftypes.Number) {
			n := new(big.Float)
			err := v.As(n)
			f, _ := n.Float64()
			return f, err
		}
		if !t.Is(tftypes.String) {
			return nil, fmt.Errorf("a %s has no JSON here", t)
		}
		var s string
		err := v.As(&s)
		return s, err
	}
}
