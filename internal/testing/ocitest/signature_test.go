package ocitest

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// signed makes a request as OCI's documentation has it, without the SDK.
func signed(t *testing.T, s *Server, method, target, body string, date time.Time, headers ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Date", date.UTC().Format(http.TimeFormat))
	if headers == nil {
		headers = []string{"date", "(request-target)", "host"}
		if method == http.MethodPost {
			headers = append(headers, "content-length", "content-type", "x-content-sha256")
		}
	}
	if method == http.MethodPost {
		sum := sha256.Sum256([]byte(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Content-Sha256", base64.StdEncoding.EncodeToString(sum[:]))
	}
	var lines []string
	for _, h := range headers {
		v := r.Header.Get(h)
		switch h {
		case "(request-target)":
			v = strings.ToLower(method) + " " + target
		case "host":
			v = r.URL.Host
		case "content-length":
			v = fmt.Sprint(len(body))
		}
		lines = append(lines, h+": "+v)
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.keys.private, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", fmt.Sprintf(`Signature version="1",headers="%s",keyId="%s",algorithm="rsa-sha256",signature="%s"`,
		strings.Join(headers, " "), s.world.keyID(s.keys.fingerprint), base64.StdEncoding.EncodeToString(signature)))
	return r
}

// send returns the status, the error code and the answer itself.
func send(t *testing.T, r *http.Request) (int, string, *http.Response) {
	t.Helper()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	var e struct{ Code, Message string }
	json.Unmarshal(data, &e)
	return resp.StatusCode, e.Code, resp
}

func TestEverySignatureIsChecked(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1"); w.AddNode("node-2") })
	w := s.World()
	get := "/20160918/instances/" + w.Instances[0].ID
	list := "/20160918/instances?compartmentId=" + w.Compartment()
	add := "/20160918/networkSecurityGroups/" + w.NSGs[0].ID + "/actions/addSecurityRules"
	rule := `{"securityRules":[{"direction":"INGRESS","protocol":"6","source":"198.51.100.7/32"}]}`
	now := time.Now()
	auth := func(r *http.Request, from, to string) {
		before := r.Header.Get("Authorization")
		after := strings.Replace(before, from, to, 1)
		if before == after {
			t.Errorf("nothing to replace: %q", from)
		}
		r.Header.Set("Authorization", after)
	}
	noBody := []string{"date", "(request-target)", "host"}
	for name, test := range map[string]struct {
		r      *http.Request
		change func(*http.Request)
		ok     bool
	}{
		"a GET":                    {signed(t, s, "GET", get, "", now), nil, true},
		"a list":                   {signed(t, s, "GET", list, "", now), nil, true},
		"a POST":                   {signed(t, s, "POST", add, rule, now), nil, true},
		"more headers":             {signed(t, s, "GET", get, "", now, "host", "date", "(request-target)", "user-agent"), func(r *http.Request) { r.Header.Set("User-Agent", "") }, false},
		"another order":            {signed(t, s, "GET", get, "", now, "host", "date", "(request-target)"), nil, true},
		"4 minutes behind":         {signed(t, s, "GET", get, "", now.Add(-4*time.Minute)), nil, true},
		"6 minutes behind":         {signed(t, s, "GET", get, "", now.Add(-6*time.Minute)), nil, false},
		"6 minutes ahead":          {signed(t, s, "GET", get, "", now.Add(6*time.Minute)), nil, false},
		"another date":             {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.Header.Set("Date", now.Add(time.Minute).UTC().Format(http.TimeFormat)) }, false},
		"no date":                  {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.Header.Del("Date") }, false},
		"another path":             {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.URL.Path = "/20160918/instances/" + w.Instances[1].ID }, false},
		"another query":            {signed(t, s, "GET", list, "", now), func(r *http.Request) { r.URL.RawQuery += "&limit=1" }, false},
		"another method":           {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.Method = "DELETE" }, false},
		"another host":             {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.Host = "iaas.example" }, false},
		"another body":             {signed(t, s, "POST", add, rule, now), func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Replace(rule, "7", "8", 1))) }, false},
		"another hash":             {signed(t, s, "POST", add, rule, now), func(r *http.Request) { r.Header.Set("X-Content-Sha256", "x") }, false},
		"another type":             {signed(t, s, "POST", add, rule, now), func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, false},
		"a POST without its body":  {signed(t, s, "POST", add, rule, now, noBody...), nil, false},
		"no authorization":         {signed(t, s, "GET", get, "", now), func(r *http.Request) { r.Header.Del("Authorization") }, false},
		"another scheme":           {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, "Signature ", "Bearer ") }, false},
		"another version":          {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, `version="1"`, `version="2"`) }, false},
		"another algorithm":        {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, "rsa-sha256", "hmac") }, false},
		"another key":              {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, s.keys.fingerprint[:2], "zz") }, false},
		"another tenancy":          {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, "ocid1.tenancy", "ocid1.other") }, false},
		"no signature":             {signed(t, s, "GET", get, "", now), func(r *http.Request) { auth(r, `signature="`, `signature="AAAA`) }, false},
		"the date is not signed":   {signed(t, s, "GET", get, "", now, "(request-target)", "host"), nil, false},
		"the target is not signed": {signed(t, s, "GET", get, "", now, "date", "host"), nil, false},
		"the host is not signed":   {signed(t, s, "GET", get, "", now, "date", "(request-target)"), nil, false},
		"a header twice":           {signed(t, s, "GET", get, "", now, "date", "date", "(request-target)", "host"), nil, false},
		"no hash":                  {signed(t, s, "POST", add, rule, now, "date", "(request-target)", "host", "content-length", "content-type"), nil, false},
	} {
		before := len(s.World().NSGs[0].Rules)
		if test.change != nil {
			test.change(test.r)
		}
		status, code, resp := send(t, test.r)
		if test.ok && status != 200 || !test.ok && (status != 401 || code != "NotAuthenticated") {
			t.Errorf("%s: %d %s", name, status, code)
		}
		if resp.Header.Get("opc-request-id") == "" || resp.Header.Get("Date") == "" {
			t.Errorf("%s: headers %v", name, resp.Header)
		}
		if made := len(s.World().NSGs[0].Rules) - before; !test.ok && made != 0 {
			t.Errorf("%s: it happened", name)
		}
	}
}

func TestASessionTokenEnds(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1") })
	if _, err := s.WriteSession(t.TempDir(), time.Minute); err != nil {
		t.Fatal(err)
	}
	var token string
	for token = range s.keys.tokens {
	}
	ask := func() int {
		r := signed(t, s, "GET", "/20160918/instances/"+s.world.Instances[0].ID, "", s.Now())
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), s.world.keyID(s.keys.fingerprint), token, 1))
		status, _, _ := send(t, r)
		return status
	}
	if got := ask(); got != 200 {
		t.Errorf("before its end: %d", got)
	}
	s.Offset(2 * time.Minute)
	if got := ask(); got != 401 {
		t.Errorf("after its end: %d", got)
	}
}

func TestTheClockIsTheServers(t *testing.T) {
	s := New(t, func(w *World) { w.AddNode("node-1") })
	s.Offset(time.Hour)
	get := "/20160918/instances/" + s.world.Instances[0].ID
	status, _, resp := send(t, signed(t, s, "GET", get, "", time.Now()))
	date, err := http.ParseTime(resp.Header.Get("Date"))
	body, _ := io.ReadAll(resp.Body)
	if status != 401 || err != nil || time.Until(date) < 59*time.Minute || !strings.Contains(string(body), "is not within allowed clock skew") {
		t.Errorf("%d, %s, %s", status, date, body)
	}
	if status, _, _ := send(t, signed(t, s, "GET", get, "", date)); status != 200 {
		t.Errorf("by the server's clock: %d", status)
	}
}
