package ingress

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

func TestAddress(t *testing.T) {
	echo := func(status int, text string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if status == http.StatusFound {
				w.Header().Set("Location", "/elsewhere")
			}
			w.WriteHeader(status)
			w.Write([]byte(text))
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	good, again := echo(200, "198.51.100.7\n"), echo(200, "  198.51.100.7")
	hang := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	t.Cleanup(hang.Close)
	like := netip.MustParseAddr("203.0.113.1")
	ask := func(urls ...string) (netip.Addr, error) {
		return Echo{URLs: urls, Timeout: 300 * time.Millisecond}.Address(t.Context(), like)
	}
	if a, err := ask(good, again); err != nil || a != me {
		t.Errorf("%s, %v", a, err)
	}
	if a, err := ask(good, again, echo(200, "::ffff:198.51.100.7")); err != nil || a != me {
		t.Errorf("%s, %v", a, err)
	}
	for name, other := range map[string]string{
		"another address":   echo(200, "198.51.100.8"),
		"a private one":     echo(200, "10.0.0.1"),
		"a tailnet's":       echo(200, "100.64.0.1"),
		"loopback":          echo(200, "127.0.0.1"),
		"a range":           echo(200, "0.0.0.0/0"),
		"a page":            echo(200, "<html>\x1b[2J::error::198.51.100.7"),
		"nothing":           echo(200, ""),
		"an error":          echo(500, "198.51.100.7"),
		"a redirection":     echo(302, "198.51.100.7"),
		"no answer":         hang.URL,
		"nobody there":      "http://127.0.0.1:1",
		"no https":          "http://198.51.100.9/",
		"a password in it":  "https://user:secret@example.org/",
		"something else":    "file:///etc/hostname",
		"a zone":            echo(200, "fe80::1%eth0"),
		"all zeros":         echo(200, "0.0.0.0"),
		"several addresses": echo(200, "198.51.100.7 198.51.100.8"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ask(good, other)
			refused(t, err, OwnAddress, "source")
		})
	}
	_, err := ask(good)
	refused(t, err, OwnAddress, "two services")
}
