package mirror

import (
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
)

// Place is where a repository is, and how one gets in.
type Place struct {
	// URL has no password and nothing that git could take for an option.
	URL string
	// TokenFile holds an access token, for https; "" is anonymous.
	TokenFile string
}

var (
	// scpForm is the short form of an ssh URL: git@host:owner/name.git.
	scpForm  = regexp.MustCompile(`^(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9][A-Za-z0-9.-]*):([^/:\s][^\s]*)$`)
	hostForm = regexp.MustCompile(`^[A-Za-z0-9.:-]+$`)
	userForm = regexp.MustCompile(`^[A-Za-z0-9._][A-Za-z0-9._-]*$`)
)

// ParsePlace reads a git URL: https, ssh (also as git@host:path), file, and http
// on loopback. Its error does not show what could be a secret.
func ParsePlace(s string) (Place, error) {
	if m := scpForm.FindStringSubmatch(s); m != nil && !strings.Contains(s, "://") {
		user := ""
		if m[1] != "" {
			user = m[1] + "@"
		}
		s = "ssh://" + user + m[2] + "/" + m[3]
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return Place{}, fmt.Errorf("no URL")
	case u.User != nil && (u.Scheme != "ssh" || !userForm.MatchString(u.User.String())):
		// With https a name can be the token itself.
		return Place{}, fmt.Errorf("a URL with a user or a password in it")
	case u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return Place{}, fmt.Errorf("a URL with more than a path: %.200q", u.Redacted())
	case u.Scheme == "file" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
		return Place{URL: s}, nil
	case !hostForm.MatchString(strings.Trim(u.Host, "[]")) && !strings.HasPrefix(u.Host, "["), strings.HasPrefix(u.Host, "-"), strings.Trim(u.Path, "/") == "", strings.HasPrefix(strings.TrimLeft(u.Path, "/"), "-"):
		return Place{}, fmt.Errorf("no host and path: %.200q", u.Redacted())
	case u.Scheme == "https", u.Scheme == "ssh":
		return Place{URL: s}, nil
	case u.Scheme == "http":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return Place{URL: s}, nil
		}
		return Place{}, fmt.Errorf("http to another machine, where anybody can listen: %.200q", u.Redacted())
	}
	return Place{}, fmt.Errorf("%.200q", u.Redacted())
}

// scheme is the transport: https, http, ssh or file.
func (p Place) scheme() string {
	scheme, _, _ := strings.Cut(p.URL, "://")
	return scheme
}

// SSH reports whether it is reached over ssh.
func (p Place) SSH() bool { return p.scheme() == "ssh" }

// HTTP reports whether it is reached over https, or http on loopback.
func (p Place) HTTP() bool { return p.scheme() == "https" || p.scheme() == "http" }

// SameAddress reports whether two git URLs name the same repository: the same
// host and path, whatever the transport, the user, the port of ssh and an
// ending .git.
func SameAddress(a, b string) bool {
	x, okA := address(a)
	y, okB := address(b)
	return okA && okB && x == y
}

func address(s string) (string, bool) {
	p, err := ParsePlace(s)
	if err != nil {
		return "", false
	}
	u, err := url.Parse(p.URL)
	if err != nil {
		return "", false
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "ssh" || u.Scheme == "https" && u.Port() == "443" {
		host = strings.ToLower(u.Hostname())
	}
	return host + "/" + strings.TrimSuffix(strings.Trim(u.Path, "/"), ".git"), true
}
