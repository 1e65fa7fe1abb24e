package oci

import (
	"context"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/common/auth"

	"edge-actions/internal/verdict"
)

// principalWait bounds the SDK's own tries: it asks the metadata service and
// OCI's identity service again and again, and takes no context.
const principalWait = time.Minute

func instancePrincipal(ctx context.Context, region string) (common.ConfigurationProvider, error) {
	type result struct {
		provider common.ConfigurationProvider
		err      error
	}
	done := make(chan result, 1) // left behind if it takes too long
	go func() {
		var r result
		if region == "" {
			r.provider, r.err = auth.InstancePrincipalConfigurationProvider()
		} else {
			r.provider, r.err = auth.InstancePrincipalConfigurationProviderForRegion(common.StringToRegion(region))
		}
		done <- r
	}()
	ctx, cancel := context.WithTimeout(ctx, principalWait)
	defer cancel()
	const wanted, hint = "the machine's own identity", "instance_principal works on a machine of OCI's that is in a dynamic group: elsewhere use another way to sign"
	select {
	case r := <-done:
		if r.err != nil {
			return nil, verdict.CannotTell(BadCredentials, wanted, quoted{r.err}, hint)
		}
		return r.provider, nil
	case <-ctx.Done():
		return nil, verdict.CannotTell(BadCredentials, wanted, context.Cause(ctx), hint)
	}
}

// fetchKey makes the provider renew its key within a context: it does so when
// it is asked for it, over the network and without one.
func fetchKey(provider common.KeyProvider) func(context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() {
			_, err := provider.KeyID()
			done <- err
		}()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// quoted shows a foreign error quoted and cut.
type quoted struct{ error }

func (q quoted) Error() string { return quote(q.error.Error()) }
func (q quoted) Unwrap() error { return q.error }
