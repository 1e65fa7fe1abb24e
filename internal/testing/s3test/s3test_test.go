package s3test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// put writes an object if there is none, signed as Amazon's version 4 has it,
// and returns the status.
func (s *Server) put(t *testing.T, bucket, key, body string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/"+bucket+"/"+key, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Format("20060102T150405Z")
	scope := now[:8] + "/home/s3/aws4_request"
	req.Header.Set("If-None-Match", "*")
	req.Header.Set("X-Amz-Date", now)
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	canonical := fmt.Sprintf("PUT\n/%s/%s\n\nhost:%s\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:%s\n\nhost;x-amz-content-sha256;x-amz-date\nUNSIGNED-PAYLOAD", bucket, key, req.URL.Host, now)
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		io.WriteString(h, text)
		return h.Sum(nil)
	}
	secret := []byte("AWS4" + s.Secret)
	for part := range strings.SplitSeq(scope, "/") {
		secret = mac(secret, part)
	}
	sum := sha256.Sum256([]byte(canonical))
	signature := hex.EncodeToString(mac(secret, "AWS4-HMAC-SHA256\n"+now+"\n"+scope+"\n"+hex.EncodeToString(sum[:])))
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature=%s", s.AccessKey, scope, signature))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK && res.StatusCode != http.StatusPreconditionFailed && res.StatusCode != http.StatusForbidden {
		t.Errorf("%s: %s", res.Status, said)
	}
	return res.StatusCode
}

// Of many that write an object at once if there is none, one does. A lock file
// is no more than that.
func TestConditionalWrite(t *testing.T) {
	s := New(t)
	s.Bucket("b")
	for round := range 5 {
		key := fmt.Sprintf("dir/lock-%d", round)
		statuses := make([]int, 8)
		var all sync.WaitGroup
		for i := range statuses {
			all.Go(func() { statuses[i] = s.put(t, "b", key, fmt.Sprint(i)) })
		}
		all.Wait()
		winner := slices.Index(statuses, http.StatusOK)
		if winner < 0 || s.Object("b", key) != fmt.Sprint(winner) {
			t.Errorf("the object is of %q, and the answers are %v", s.Object("b", key), statuses)
		}
		slices.Sort(statuses)
		if statuses[0] != http.StatusOK || statuses[1] != http.StatusPreconditionFailed {
			t.Errorf("wanted one to write it, got %v", statuses)
		}
	}
	if got := len(s.Keys("b")); got != 5 {
		t.Errorf("%d objects", got)
	}
	stranger := *s
	stranger.Secret = "another"
	if got := stranger.put(t, "b", "x", "x"); got != http.StatusForbidden {
		t.Errorf("a stranger gets %d", got)
	}
}
