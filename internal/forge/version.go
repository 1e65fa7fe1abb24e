package forge

import (
	"context"
	"net/http"
	"strings"
)

// Server says what a forge is.
type Server struct {
	// Forgejo is false for Gitea.
	Forgejo bool
	// Version is as the forge says it: "12.0.1+gitea-1.22.0", "1.25.2".
	Version string
}

// Version asks what the forge is. Forgejo says in its version which Gitea's API
// it keeps to, which Gitea has no reason to.
func (c *Client) Version(ctx context.Context) (Server, error) {
	var v struct{ Version string }
	_, err := c.do(ctx, op{what: "the version", scope: "none", method: http.MethodGet, path: "/api/v1/version", into: &v})
	return Server{Forgejo: strings.Contains(v.Version, "+gitea-"), Version: v.Version}, err
}
