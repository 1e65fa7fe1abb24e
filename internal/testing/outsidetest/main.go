// Command outsidetest is a double of a provider: its one resource,
// outside_thing, stands for a file of JSON in some directory, so that a test
// can change the world behind OpenTofu's back, which terraform_data does not
// know. It speaks OpenTofu's real plugin protocol, version 6.
//
// The contract that it follows: a refresh takes every attribute from the file;
// a file that is gone is a resource that is gone; a file that says
// "unreachable" is an API that can't be asked. It leaves out imports, data
// sources and every check of a value.
//
// It is a module of its own, because nothing else needs the plugin protocol.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6/tf6server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func main() {
	err := tf6server.Serve("localhost/edge/outside", func() tfprotov6.ProviderServer { return server{} })
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// server answers what OpenTofu asks for one managed resource. Anything else
// is a nil method, and ends the process.
type server struct{ tfprotov6.ProviderServer }

func schema() *tfprotov6.Schema {
	optional := func(name string, t tftypes.Type, sensitive bool) *tfprotov6.SchemaAttribute {
		return &tfprotov6.SchemaAttribute{Name: name, Type: t, Optional: true, Computed: true, Sensitive: sensitive}
	}
	return &tfprotov6.Schema{Block: &tfprotov6.SchemaBlock{Attributes: []*tfprotov6.SchemaAttribute{
		{Name: "path", Type: tftypes.String, Required: true},
		optional("size", tftypes.Number, false),
		optional("note", tftypes.String, false),
		optional("secret", tftypes.String, true),
		optional("tags", tftypes.Map{ElementType: tftypes.String}, false),
		optional("rules", tftypes.List{ElementType: tftypes.Object{AttributeTypes: map[string]tftypes.Type{"port": tftypes.Number, "from": tftypes.String}}}, false),
	}}}
}

func typ() tftypes.Object { return schema().ValueType().(tftypes.Object) }

func (server) GetMetadata(context.Context, *tfprotov6.GetMetadataRequest) (*tfprotov6.GetMetadataResponse, error) {
	return &tfprotov6.GetMetadataResponse{Resources: []tfprotov6.ResourceMetadata{{TypeName: "outside_thing"}}}, nil
}

func (server) GetProviderSchema(context.Context, *tfprotov6.GetProviderSchemaRequest) (*tfprotov6.GetProviderSchemaResponse, error) {
	return &tfprotov6.GetProviderSchemaResponse{
		Provider:        &tfprotov6.Schema{Block: &tfprotov6.SchemaBlock{}},
		ResourceSchemas: map[string]*tfprotov6.Schema{"outside_thing": schema()},
	}, nil
}

func (server) GetResourceIdentitySchemas(context.Context, *tfprotov6.GetResourceIdentitySchemasRequest) (*tfprotov6.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov6.GetResourceIdentitySchemasResponse{}, nil
}

func (server) ValidateProviderConfig(_ context.Context, r *tfprotov6.ValidateProviderConfigRequest) (*tfprotov6.ValidateProviderConfigResponse, error) {
	return &tfprotov6.ValidateProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (server) ConfigureProvider(context.Context, *tfprotov6.ConfigureProviderRequest) (*tfprotov6.ConfigureProviderResponse, error) {
	return &tfprotov6.ConfigureProviderResponse{}, nil
}

func (server) StopProvider(context.Context, *tfprotov6.StopProviderRequest) (*tfprotov6.StopProviderResponse, error) {
	return &tfprotov6.StopProviderResponse{}, nil
}

func (server) ValidateResourceConfig(context.Context, *tfprotov6.ValidateResourceConfigRequest) (*tfprotov6.ValidateResourceConfigResponse, error) {
	return &tfprotov6.ValidateResourceConfigResponse{}, nil
}

func (server) UpgradeResourceState(_ context.Context, r *tfprotov6.UpgradeResourceStateRequest) (*tfprotov6.UpgradeResourceStateResponse, error) {
	v, err := r.RawState.Unmarshal(typ())
	if err != nil {
		return nil, err
	}
	state, err := tfprotov6.NewDynamicValue(typ(), v)
	return &tfprotov6.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func (server) ReadResource(_ context.Context, r *tfprotov6.ReadResourceRequest) (*tfprotov6.ReadResourceResponse, error) {
	attributes, err := open(r.CurrentState)
	if err != nil {
		return nil, err
	}
	var path string
	if err := attributes["path"].As(&path); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &tfprotov6.ReadResourceResponse{}, nil
	}
	if err != nil || string(data) == "unreachable" {
		return &tfprotov6.ReadResourceResponse{Diagnostics: []*tfprotov6.Diagnostic{{
			Severity: tfprotov6.DiagnosticSeverityError, Summary: "The API can't be reached", Detail: fmt.Sprint("connection refused ", err),
		}}}, nil
	}
	state, err := decode(data)
	return &tfprotov6.ReadResourceResponse{NewState: state, Private: r.Private}, err
}

func (server) PlanResourceChange(_ context.Context, r *tfprotov6.PlanResourceChangeRequest) (*tfprotov6.PlanResourceChangeResponse, error) {
	return &tfprotov6.PlanResourceChangeResponse{PlannedState: r.ProposedNewState}, nil
}

func (server) ApplyResourceChange(_ context.Context, r *tfprotov6.ApplyResourceChangeRequest) (*tfprotov6.ApplyResourceChangeResponse, error) {
	attributes, err := open(r.PlannedState)
	if err != nil {
		return nil, err
	}
	if attributes == nil {
		prior, err := open(r.PriorState)
		if err != nil {
			return nil, err
		}
		var path string
		if err := prior["path"].As(&path); err != nil {
			return nil, err
		}
		return &tfprotov6.ApplyResourceChangeResponse{NewState: r.PlannedState}, os.Remove(path)
	}
	plain := map[string]any{}
	for name, v := range attributes {
		if plain[name], err = toJSON(v); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(plain)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(plain["path"].(string), data, 0o600); err != nil {
		return nil, err
	}
	state, err := decode(data)
	return &tfprotov6.ApplyResourceChangeResponse{NewState: state}, err
}

// open returns the attributes of a value, nil if it is null.
func open(v *tfprotov6.DynamicValue) (map[string]tftypes.Value, error) {
	value, err := v.Unmarshal(typ())
	if err != nil || value.IsNull() {
		return nil, err
	}
	var attributes map[string]tftypes.Value
	return attributes, value.As(&attributes)
}
