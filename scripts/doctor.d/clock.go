package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// offBy is how far a clock may be off. Oracle refuses a signature after five
// minutes, and leases, ages and evidence are read in seconds.
const offBy = 30 * time.Second

// clock holds this machine's clock against a server's, or asks the kernel
// whether anybody sets it.
func (d *doctor) clock(ctx context.Context) finding {
	const what, fix = "the clock", "have it set from the network (timedatectl set-ntp true; macOS: sudo sntp -sS time.apple.com)"
	if d.server == "" {
		switch synced, known := clockIsSet(); {
		case !known:
			return finding{status: unknown, what: what, found: "nothing to hold it against", fix: "give --server URL, the address of your forge"}
		case !synced:
			return finding{status: wrong, what: what, found: "a kernel that nobody tells the time", fix: fix + ", or give --server URL to hold it against your forge's"}
		}
		return finding{status: ok, what: what, found: "set from the network"}
	}
	theirs, err := timeOf(ctx, d.server)
	if err != nil {
		return failed(unknown, what, err, "give --server URL, an address that answers with its time")
	}
	// The header has whole seconds.
	if off := time.Since(theirs).Abs(); off > offBy {
		return finding{status: wrong, what: what, found: fmt.Sprintf("one that is %s off from that of %q", off.Round(time.Second), d.server), fix: fix}
	}
	return finding{status: ok, what: what, found: fmt.Sprintf("within %s of that of %s", offBy, d.server)}
}

func timeOf(ctx context.Context, server string) (time.Time, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return time.Time{}, fmt.Errorf("no address of a server: %q", server)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, server, nil)
	if err != nil {
		return time.Time{}, err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return time.Time{}, err
	}
	defer resp.Body.Close()
	t, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("no time in the answer of %q: %.80q", server, resp.Header.Get("Date"))
	}
	return t, nil
}
