package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// Echo asks services that answer with the address that they were asked from.
type Echo struct {
	// URLs are at least two; https, or http on loopback.
	URLs []string
	// Timeout is for each, 10 s if zero.
	Timeout time.Duration
}

// CheckURL returns an error for a URL that can't be one of an Echo.
func CheckURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("no URL")
	}
	if u.Scheme == "https" && u.Host != "" && u.User == nil {
		return nil
	}
	if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && err == nil && ip.IsLoopback() {
		return nil
	}
	return errors.New("no https URL")
}

// Address returns the address from which the runner reaches the outside, by
// the same family as like. All services have to say the same: one alone could
// have anybody let in.
func (e Echo) Address(ctx context.Context, like netip.Addr) (netip.Addr, error) {
	wanted := fmt.Sprintf("one public address from %d services", len(e.URLs))
	const hint = "set source to the runner's public address, or source_urls to services that the runner reaches"
	if len(e.URLs) < 2 {
		return netip.Addr{}, verdict.Refuse(OwnAddress, "two services that say the runner's address", fmt.Sprint(len(e.URLs)), hint)
	}
	type answer struct {
		addr netip.Addr
		err  error
	}
	answers := make([]answer, len(e.URLs))
	done := make(chan struct{})
	for i, u := range e.URLs {
		go func() {
			a, err := e.ask(ctx, u, like)
			answers[i] = answer{a, err}
			done <- struct{}{}
		}()
	}
	for range e.URLs {
		<-done
	}
	var said []string
	agreed := true
	for i, a := range answers {
		if a.err != nil {
			agreed = false
			said = append(said, fmt.Sprintf("%s: %v", e.URLs[i], a.err))
			continue
		}
		agreed = agreed && a.addr == answers[0].addr
		said = append(said, fmt.Sprintf("%s: %s", e.URLs[i], a.addr))
	}
	if !agreed {
		return netip.Addr{}, verdict.CannotTell(OwnAddress, wanted, errors.New(strings.Join(said, "\n")), hint)
	}
	return answers[0].addr, nil
}

func (e Echo) ask(ctx context.Context, u string, like netip.Addr) (netip.Addr, error) {
	if err := CheckURL(u); err != nil {
		return netip.Addr{}, err
	}
	timeout := e.Timeout
	if timeout == 0 {
		timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	family := "tcp4"
	if like.Is6() {
		family = "tcp6"
	}
	// Without the environment's proxy, which would be asked about itself.
	client := &http.Client{
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, family, address)
			},
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects") },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return netip.Addr{}, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return netip.Addr{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	if err != nil {
		return netip.Addr{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return netip.Addr{}, fmt.Errorf("it answers %s", quote(resp.Status))
	}
	a, err := netip.ParseAddr(strings.TrimSpace(string(body)))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("it answers %s", quote(string(body)))
	}
	return a.Unmap(), CheckSource(a.Unmap())
}

// CheckSource returns an error for an address that can't be the runner's, as
// the cloud sees it.
func CheckSource(a netip.Addr) error {
	if a.Zone() != "" || !a.IsGlobalUnicast() || !public(netip.PrefixFrom(a, a.BitLen()).String()) {
		return fmt.Errorf("%s is no public address", a)
	}
	return nil
}
