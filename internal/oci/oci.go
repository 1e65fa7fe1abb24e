// Package oci asks Oracle Cloud what is there, and opens and closes rules of
// its firewall. It refuses to take a 404 for "gone", half an answer for a
// whole one, and its own clock for the server's; it never sends a change twice
// that could happen twice, and it says of every failure whether the change may
// have been made.
package oci

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/oracle/oci-go-sdk/v65/bastion"
	"github.com/oracle/oci-go-sdk/v65/common"
	"github.com/oracle/oci-go-sdk/v65/core"

	"edge-actions/internal/verdict"
)

// The ids of the refusals of this package.
const (
	// BadCredentials: a 401, or credentials that can't be used at all.
	BadCredentials = "oci-credentials"
	// Forbidden: a 403.
	Forbidden = "oci-forbidden"
	// MissingOrForbidden: a 404, which OCI gives for both.
	MissingOrForbidden = "oci-missing-or-forbidden"
	// Throttled: a 429 that did not pass.
	Throttled = "oci-throttled"
	// Limit: more than the service or the tenancy allows.
	Limit = "oci-limit"
	// Conflict: a 409 or a 412.
	Conflict = "oci-conflict"
	// Refused: any other 4xx, and a request that was not sent because it made
	// no sense.
	Refused = "oci-refused"
	// Unreachable: no answer, or one that is not OCI's.
	Unreachable = "oci-unreachable"
	// ServerError: a 5xx, or a list that has no end.
	ServerError = "oci-server"
)

// Options say whose requests go where.
type Options struct {
	Credentials
	// Endpoint is the scheme, host and port of all services, without a path;
	// "" is each service's own, by the region. http is for loopback only.
	Endpoint string
	// Timeout is of one attempt, its answer included; 20 s if 0.
	Timeout time.Duration
	// Pause is the wait before the second attempt; it doubles from one to the
	// next. 1 s if 0.
	Pause time.Duration
	// Logf may be nil. It is told of retries and of a clock that is wrong, in
	// words without secrets; foreign text in them is quoted.
	Logf func(format string, args ...any)
}

// Client asks one region of one tenancy. It may be used from several
// goroutines.
type Client struct {
	compute core.ComputeClient
	network core.VirtualNetworkClient
	bastion bastion.BastionClient

	region  string
	auth    Auth
	timeout time.Duration
	pause   time.Duration
	logf    func(string, ...any)
	http    *http.Client
	calls   atomic.Int64
	clock   clock
	// warm fetches a key that is not here yet, before it is signed with.
	warm func(context.Context) error
}

// New returns a client. Everything that is wrong with the options is said in
// one error, "oci-credentials" if it is the credentials and "oci-refused"
// else. No request is made, except by instance_principal, which asks the
// machine's metadata service and OCI for a certificate and a token.
func New(ctx context.Context, o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = 20 * time.Second
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	if err := checkEndpoint(o.Endpoint); err != nil {
		return nil, verdict.Refuse(Refused, "an endpoint that is https://HOST[:PORT], or http:// on loopback", fmt.Sprintf("%q: %v", cut(o.Endpoint, 200), err), "mend the endpoint, or leave it out")
	}
	if v := os.Getenv("OCI_GO_SDK_DEBUG"); v != "" && v != "null" {
		// It would print answers on stderr: foreign text past every fence, with
		// the CHAP secrets of volumes in it. The SDK has read it before we could.
		return nil, verdict.Refuse(Refused, "an environment in which the OCI SDK prints nothing", "OCI_GO_SDK_DEBUG="+quote(v), "take OCI_GO_SDK_DEBUG out of the runner's environment")
	}
	provider, err := o.provider(ctx)
	if err != nil {
		return nil, err
	}
	region, err := provider.Region()
	if err != nil || !regionForm.MatchString(region) {
		return nil, verdict.Refuse(BadCredentials, "a region, like eu-frankfurt-1", fmt.Sprintf("%q", cut(region, 80)), "give the region")
	}
	c := &Client{
		region: string(common.StringToRegion(region)), auth: o.Auth,
		timeout: o.Timeout, pause: o.Pause, logf: o.Logf,
		http:  newHTTP(),
		clock: clock{wall: time.Now},
	}
	if o.Auth == InstancePrincipal {
		c.warm = fetchKey(provider)
	}
	if err := c.connect(provider, o.Endpoint); err != nil {
		return nil, verdict.Refuse(BadCredentials, "credentials that the OCI SDK takes", quote(err.Error()), "see that the region is a region of OCI and the key an RSA key")
	}
	return c, nil
}

func (c *Client) connect(provider common.ConfigurationProvider, endpoint string) (err error) {
	if c.compute, err = core.NewComputeClientWithConfigurationProvider(provider); err != nil {
		return err
	}
	if c.network, err = core.NewVirtualNetworkClientWithConfigurationProvider(provider); err != nil {
		return err
	}
	if c.bastion, err = bastion.NewBastionClientWithConfigurationProvider(provider); err != nil {
		return err
	}
	once := common.NoRetryPolicy()
	for _, base := range []*common.BaseClient{&c.compute.BaseClient, &c.network.BaseClient, &c.bastion.BaseClient} {
		// The SDK's defaults: for the network and for bastions a circuit breaker,
		// which refuses everything for 30 s once 8 of 10 requests in two minutes
		// failed with 429 or 5xx, whatever a retry would have done; an own retry policy where the environment
		// says so; three more tries, a second apart, of every 401 of a token
		// that can be refreshed, which it knows by the type of the signer.
		base.Configuration = common.CustomClientConfiguration{RetryPolicy: &once}
		base.Signer = &signer{clock: &c.clock, warm: c.warm, inner: base.Signer}
		base.HTTPClient = &wire{client: c}
		if endpoint != "" {
			base.Host = endpoint
		}
	}
	return nil
}

// Now is the server's clock: the Date of the last answer and the time that has
// passed since, by the monotonic clock. It is behind by the way of the answer
// and by less than a second of rounding, and by the time that the machine
// slept. It is zero before the first answer.
func (c *Client) Now() time.Time { return c.clock.server() }

// Region is the identifier of the client's region, like eu-frankfurt-1.
func (c *Client) Region() string { return c.region }

// Calls is the number of requests so far, repeats included.
func (c *Client) Calls() int { return int(c.calls.Load()) }

// checkEndpoint returns an error unless credentials may be used there: over
// plain http anybody on the way could answer in OCI's place.
func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return fmt.Errorf("is no URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("has the scheme %q", u.Scheme)
	case u.Hostname() == "":
		return fmt.Errorf("has no host")
	case u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("has more than a host")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("is plain http to another machine")
	}
	return nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}
