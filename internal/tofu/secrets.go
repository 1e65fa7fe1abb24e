package tofu

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"edge-actions/internal/command"
)

// Secrets returns what in an environment is a credential of a backend or a
// provider, to be masked. Errors can show one: a connection string that is no
// URL comes back in the words that say so.
func Secrets(environ []string) []string {
	names := []string{"PG_CONN_STR", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "ARM_CLIENT_SECRET", "ARM_ACCESS_KEY", "ARM_SAS_TOKEN"}
	var out []string
	for _, kv := range environ {
		name, value, _ := strings.Cut(kv, "=")
		if value == "" || !slices.Contains(names, name) && !strings.HasPrefix(name, "TF_TOKEN_") {
			continue
		}
		out = append(out, value)
		if name == "PG_CONN_STR" {
			out = append(out, passwords(value)...)
		}
	}
	return out
}

// hide takes the credentials of the CLI's environment out of what a tool said.
func (c *CLI) hide(said string) string {
	for _, secret := range Secrets(c.Env) {
		said = strings.ReplaceAll(said, secret, "***")
	}
	return said
}

// Hide takes them out of the words of a diagnostic.
func (c *CLI) Hide(d Diagnostic) Diagnostic {
	d.Summary, d.Detail = c.hide(d.Summary), c.hide(d.Detail)
	return d
}

// hidden takes them out of an error, which goes into reports: a mask is for logs
// only.
func (c *CLI) hidden(err error) error {
	var exit *command.ExitError
	if errors.As(err, &exit) {
		exit.Stderr = c.hide(exit.Stderr)
	}
	return err
}

// passwords are those in a connection string, as they stand there and as they
// are sent. It is taken apart by hand: url.Parse refuses those that matter here.
func passwords(conn string) []string {
	var raw string
	if _, rest, ok := strings.Cut(conn, "://"); ok {
		_, raw, _ = strings.Cut(rest[:max(0, strings.LastIndex(rest, "@"))], ":")
	} else if _, rest, ok := strings.Cut(conn, "password="); ok { // key=value
		raw, _, _ = strings.Cut(rest, " ")
		raw = strings.Trim(raw, "'")
	}
	if raw == "" {
		return nil
	}
	out := []string{raw}
	if plain, err := url.PathUnescape(raw); err == nil && plain != raw {
		out = append(out, plain)
	}
	return out
}
