package oci_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"edge-actions/internal/oci"
	"edge-actions/internal/testing/ocitest"
	"edge-actions/internal/verdict"
)

// An answer with status 200 that no OCI gives: whoever it came from, it is no
// fact, and a change that it answers may have happened.
func TestAnswersThatMakeNoSense(t *testing.T) {
	good := ocitest.New(t)
	const id = "ocid1.thing.oc1..aaaa"
	var status int
	var body, requestID string
	hits := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		if requestID != "" {
			w.Header().Set("opc-request-id", requestID)
		}
		if status == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}))
	defer s.Close()
	c := good.Client(t, func(o *oci.Options) { o.Endpoint, o.Pause = s.URL, 1 })
	reads := map[string]func() error{
		"Instance":     func() error { _, err := c.Instance(t.Context(), id); return err },
		"VNIC":         func() error { _, err := c.VNIC(t.Context(), id); return err },
		"Subnet":       func() error { _, err := c.Subnet(t.Context(), id); return err },
		"NSG":          func() error { _, err := c.NSG(t.Context(), id); return err },
		"SecurityList": func() error { _, err := c.SecurityList(t.Context(), id); return err },
		"Session":      func() error { _, err := c.Session(t.Context(), id); return err },
		"Instances":    func() error { _, err := c.Instances(t.Context(), id); return err },
		"NSGs":         func() error { _, err := c.NSGs(t.Context(), id); return err },
		"Attachments":  func() error { _, err := c.VNICAttachments(t.Context(), id, ""); return err },
		"Volumes":      func() error { _, err := c.VolumeAttachments(t.Context(), id, ""); return err },
		"PrivateIPs":   func() error { _, err := c.PrivateIPs(t.Context(), id); return err },
		"PublicIPs":    func() error { _, err := c.PublicIPs(t.Context(), id, ""); return err },
		"IngressRules": func() error { _, err := c.IngressRules(t.Context(), id); return err },
		"RuleCount":    func() error { _, err := c.RuleCount(t.Context(), id); return err },
		"Sessions":     func() error { _, err := c.Sessions(t.Context(), id); return err },
	}
	for name, test := range map[string]struct {
		status          int
		body, requestID string
	}{
		"nothing":            {200, "", "x"},
		"blanks":             {200, " \n", "x"},
		"null":               {200, "null", "x"},
		"an empty object":    {200, "{}", "x"},
		"another's object":   {200, `{"id":"ocid1.thing.oc1..bbbb","ingressSecurityRules":[]}`, "x"},
		"a string":           {200, `"x"`, "x"},
		"half of a list":     {200, `[{"id":`, "x"},
		"a list of nothings": {200, `[{}]`, "x"},
		"a list of nulls":    {200, `[null]`, "x"},
		"a page of HTML":     {200, `<html>`, "x"},
		"a list of nobody's": {200, `[]`, ""},
		"no content":         {204, "", "x"},
		"a redirect":         {302, "[]", "x"},
		"not modified":       {304, "", "x"},
	} {
		status, body, requestID = test.status, test.body, test.requestID
		for read, f := range reads {
			if err := f(); !verdict.Has(err, oci.Unreachable) || verdict.ChecksOf(err)[0].Verdict != verdict.Unproven {
				t.Errorf("%s of %s: %v", read, name, err)
			}
		}
	}
	status, requestID = 200, "x"
	body = `{"id":"` + id + `","displayName":"x"}`
	if _, err := c.SecurityList(t.Context(), id); !verdict.Has(err, oci.Unreachable) {
		t.Errorf("a list without its rules: %v", err)
	}
	body = "[]" + strings.Repeat(" ", 16<<20) // the beginning of it would be a list of nothing
	if _, err := c.Instances(t.Context(), id); !verdict.Has(err, oci.Unreachable) {
		t.Errorf("an answer of 17 MB: %v", err)
	}
	rule := `{"id":"A","description":"a door","protocol":"6","direction":"INGRESS"}`
	for name, text := range map[string]string{
		"nothing":         ``,
		"null":            `null`,
		"no rule":         `{"securityRules":[]}`,
		"two rules":       `{"securityRules":[` + rule + `,` + rule + `]}`,
		"another rule":    `{"securityRules":[` + strings.Replace(rule, "a door", "hers", 1) + `]}`,
		"one without id":  `{"securityRules":[` + strings.Replace(rule, `"A"`, `""`, 1) + `]}`,
		"half of the one": `{"securityRules":[{"id":"A"`,
	} {
		body, hits = text, 0
		if r, err := c.AddRule(t.Context(), id, door); !verdict.Has(err, oci.Unreachable) || !oci.Ambiguous(err) || r != (oci.Rule{}) || hits != 1 {
			t.Errorf("AddRule, %s: %+v, %v, %d requests", name, r, err, hits)
		}
	}
	body = `{"securityRules":[` + rule + `]}`
	if _, err := c.AddRule(t.Context(), id, door); err != nil {
		t.Errorf("the good one: %v", err)
	}
	status, hits = 307, 0
	if _, err := c.AddRule(t.Context(), id, door); !oci.Ambiguous(err) || hits != 1 {
		t.Errorf("AddRule, a redirect: %v, %d requests", err, hits)
	}
	status, body = 200, `[`+rule+`,`+strings.Replace(rule, "INGRESS", "EGRESS", 1)+`]`
	if rules, err := c.IngressRules(t.Context(), id); err != nil || len(rules) != 1 {
		t.Errorf("a rule of the other direction: %+v, %v", rules, err)
	}
	body = fmt.Sprintf(`{"id":%q,"lifecycleState":"ACTIVE","sshMetadata":{"command":"ssh ocid1.bastionsession.oc1..other@host.bastion.evil.example"}}`, id)
	if v, err := c.Session(t.Context(), id); err != nil || v.SSHHost != "host.bastion.eu-frankfurt-1.oci.oraclecloud.com" || !v.Expires.IsZero() {
		t.Errorf("another session's command: %+v, %v", v, err)
	}
}

// The SDK's own circuit breaker would refuse the eleventh for 30 s.
func TestNoCircuitBreaker(t *testing.T) {
	s, c, n := rig(t)
	s.Fail("POST", "", 20, 503, "ServiceUnavailable")
	for range 20 {
		c.AddRule(t.Context(), n.NSGID, door)
	}
	if _, err := c.AddRule(t.Context(), n.NSGID, door); err != nil || len(s.Requests()) != 21 {
		t.Errorf("%v, %d requests", err, len(s.Requests()))
	}
}

// A repeat that the clock makes necessary is the same request for OCI.
func TestARepeatHasTheSameToken(t *testing.T) {
	s, c, n := rig(t)
	s.Offset(3 * time.Minute) // wrong, and not yet too wrong
	s.Inject(ocitest.Fault{Kind: ocitest.FailAfter, Times: 1, Status: 401, Code: "NotAuthenticated"})
	if _, err := c.CreateSession(t.Context(), s.World().Bastions[0].ID, n.PrivateIP, 22, publicKey, "", time.Hour); err != nil || len(s.Requests()) != 2 {
		t.Errorf("%v, %+v", err, s.Requests())
	}
	if got := len(s.World().Sessions); got != 1 {
		t.Errorf("%d sessions", got)
	}
}
