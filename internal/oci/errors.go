package oci

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/oracle/oci-go-sdk/v65/common"

	"edge-actions/internal/verdict"
)

// failure is why an operation did not succeed.
type failure struct {
	op
	auth      Auth
	tries     int
	status    int // 0 without an answer
	connected bool
	code      string
	message   string
	requestID string
	cause     error // why there is no answer
}

func (c *Client) failed(o op, a *attempt, err error, tries int) *failure {
	f := &failure{op: o, auth: c.auth, tries: tries, status: a.status, connected: a.connected.Load(), requestID: a.requestID, cause: err}
	if service := common.ServiceError(nil); errors.As(err, &service) {
		f.status, f.code, f.message, f.cause = service.GetHTTPStatusCode(), service.GetCode(), service.GetMessage(), nil
		if id := service.GetOpcRequestID(); id != "" {
			f.requestID = id
		}
	}
	return f
}

// broken reports that there was no answer that could be read.
func (f *failure) broken() bool { return f.cause != nil }

// short is for a line about a retry.
func (f *failure) short() string {
	if f.broken() {
		return quote(f.cause.Error())
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", f.status, word(f.code)))
}

func (f *failure) Error() string {
	s := f.short()
	if f.message != "" {
		s += ": " + quote(f.message)
	}
	s = f.name + " of " + cut(f.id, 120) + ": " + s
	if f.tries > 1 {
		s += fmt.Sprintf(", after %d attempts", f.tries)
	}
	if f.requestID != "" {
		s += fmt.Sprintf(" (opc-request-id %q)", cut(f.requestID, 120))
	}
	return s
}

func (f *failure) Unwrap() error { return f.cause }

// refusal is the failure as a check: disproven if OCI said a clear no, and
// unproven if it could not be asked.
func (f *failure) refusal() error {
	id, wanted, hint := Refused, "an answer of OCI", "see what OCI says of it"
	clear := true
	switch {
	case f.broken():
		id, clear = Unreachable, false
		hint = "see whether this machine reaches OCI: DNS, a proxy, the endpoint, its region"
		if f.change && f.maybe() {
			hint += "; whether the request was carried out is not known"
		}
	case f.status == http.StatusUnauthorized:
		id, wanted, hint = BadCredentials, "credentials that OCI takes", f.renew()
	case f.status == http.StatusForbidden:
		id, wanted, hint = Forbidden, "permission to "+f.need, "give the user's group a policy: allow group … to "+f.need+" in compartment …"
	case f.status == http.StatusNotFound:
		// OCI hides what a user may not see behind the answer for what is not
		// there: this is never a proof that something is gone.
		id, clear, wanted = MissingOrForbidden, false, "that it exists and may be seen"
		hint = "it does not exist in this region, or the user may not see it: a policy would have to say: allow group … to " + f.need + " in compartment …"
	case f.status == http.StatusTooManyRequests:
		id, clear, hint = Throttled, false, "wait, and ask for less at once"
	case f.status == http.StatusConflict, f.status == http.StatusPreconditionFailed:
		id, hint = Conflict, "something else changes it at this moment: run it again"
	case f.status == http.StatusBadRequest && strings.Contains(f.code+" "+f.message, "LimitExceeded"),
		f.code == "QuotaExceeded":
		id, wanted, hint = Limit, "room within OCI's limits", "take away what is no longer needed, or ask OCI for a higher limit"
	case f.status >= 500:
		id, clear, hint = ServerError, false, "run it again; if it stays, see OCI's status page"
		if f.change {
			hint += "; whether the request was carried out is not known"
		}
	}
	if clear {
		r := verdict.Refuse(id, wanted, f.Error(), hint)
		r.Err = f
		return r
	}
	return verdict.CannotTell(id, wanted, f, hint)
}

func (f *failure) renew() string {
	switch f.auth {
	case SessionToken:
		return "the session token has expired or was revoked: run oci session authenticate, or oci session refresh within its hour"
	case InstancePrincipal:
		return "see that the instance is in a dynamic group and that this group has a policy"
	}
	return "see that the API key of this fingerprint belongs to this user of this tenancy and was not deleted"
}

// maybe reports whether the request may have been carried out.
func (f *failure) maybe() bool {
	if f.broken() {
		return f.connected
	}
	return f.status >= 500
}

// Ambiguous reports whether the request that err is of may have been carried
// out all the same: it was sent and there was no answer, or half of one, or
// one that makes no sense, or a 5xx. A 4xx is a clear no, 429 and 401
// included, and so is a connection that was never made.
func Ambiguous(err error) bool {
	var f *failure
	return errors.As(err, &f) && f.maybe()
}

// status returns the HTTP status that err carries, or 0.
func status(err error) int {
	var f *failure
	if errors.As(err, &f) && !f.broken() {
		return f.status
	}
	return 0
}

func quote(s string) string { return fmt.Sprintf("%q", cut(s, 300)) }

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// word shows a code as it is if it is one word, and quoted else.
func word(s string) string {
	if s == "" || validID(s) {
		return s
	}
	return quote(s)
}
