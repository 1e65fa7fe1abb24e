// Package cloud holds a handoff against the cloud that it speaks of. It refuses
// to take what may not be seen for what is not there.
package cloud

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"edge-actions/internal/action"
	"edge-actions/internal/oci"
	"edge-actions/internal/verdict"
)

// Inputs are the names of the inputs that ReadOptions reads.
func Inputs() []string {
	return []string{"oci_auth", "oci_config_file", "oci_profile", "oci_region", "oci_tenancy", "oci_user", "oci_fingerprint", "oci_key", "oci_key_passphrase", "oci_endpoint"}
}

// ReadOptions reads the inputs that say as whom Oracle Cloud is asked. What is
// wrong with them is recorded in in. Of each way to sign only its own inputs
// may be set: one that is set and not looked at would be a surprise.
func ReadOptions(in *action.Inputs, a *action.Action) oci.Options {
	var words []string
	for _, auth := range oci.Auths() {
		words = append(words, string(auth))
	}
	o := oci.Options{Logf: a.Logf}
	o.Auth = oci.Auth(in.OneOf("oci_auth", words...))
	values := map[string]string{}
	for _, name := range Inputs() {
		values[name] = in.Text(name)
	}
	a.Mask(values["oci_key"])
	a.Mask(values["oci_key_passphrase"])
	own := map[oci.Auth][]string{
		oci.ConfigFile:        {"oci_config_file", "oci_profile", "oci_key_passphrase"},
		oci.SessionToken:      {"oci_config_file", "oci_profile", "oci_key_passphrase"},
		oci.APIKey:            {"oci_tenancy", "oci_user", "oci_fingerprint", "oci_key", "oci_key_passphrase"},
		oci.InstancePrincipal: {},
	}[o.Auth]
	for _, name := range Inputs() {
		if name == "oci_auth" || name == "oci_region" || name == "oci_endpoint" || values[name] == "" {
			continue
		}
		if !slices.Contains(own, name) {
			in.Wrong(name, fmt.Sprintf("nothing with oci_auth: %s", o.Auth), "a value", "take it away, or correct oci_auth")
		}
	}
	o.Profile, o.Region, o.Passphrase = values["oci_profile"], values["oci_region"], values["oci_key_passphrase"]
	o.Tenancy, o.User, o.Fingerprint, o.Key = values["oci_tenancy"], values["oci_user"], values["oci_fingerprint"], []byte(values["oci_key"])
	o.ConfigFile = values["oci_config_file"]
	if o.ConfigFile == "" {
		o.ConfigFile = "~/.oci/config"
	}
	if rest, ok := strings.CutPrefix(o.ConfigFile, "~/"); ok && a.Getenv("HOME") != "" {
		o.ConfigFile = filepath.Join(a.Getenv("HOME"), rest)
	}
	if !filepath.IsAbs(o.ConfigFile) {
		in.Wrong("oci_config_file", "an absolute path on the runner", fmt.Sprintf("%q", o.ConfigFile), "correct the input oci_config_file")
	}
	o.Endpoint = values["oci_endpoint"]
	return o
}

// ReadNone reads the same inputs for a run that asks nobody: one that is set
// all the same is recorded as wrong, because it would do nothing. unless says
// what would make them count.
func ReadNone(in *action.Inputs, a *action.Action, unless string) {
	for _, name := range Inputs() {
		value := in.Text(name)
		if name == "oci_key" || name == "oci_key_passphrase" {
			a.Mask(value)
		}
		if value != strings.TrimSpace(a.Meta.Inputs[name].Default) {
			in.Wrong(name, "nothing without "+unless, "a value", "set "+unless+", or take it away")
		}
	}
}

// Connect makes the client, with what is wrong with its options recorded in in.
// It asks nothing yet, but for instance_principal.
func Connect(ctx context.Context, in *action.Inputs, o oci.Options) *oci.Client {
	if o.Auth == oci.InstancePrincipal && in.Err() != nil {
		return nil // it would ask the cloud for a run that does not begin
	}
	c, err := oci.New(ctx, o)
	for _, check := range verdict.ChecksOf(err) {
		in.Wrong("oci_auth", check.Wanted, check.Got, check.Hint)
	}
	return c
}
