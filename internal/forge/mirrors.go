package forge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"edge-actions/internal/verdict"
)

// PushMirror is another repository to which the forge pushes this one.
type PushMirror struct {
	Name string // of the remote on the forge
	// Address is where it is, without a password.
	Address string
	// LastUpdate is the end of the last try, a failed one included; zero if
	// there was none.
	LastUpdate time.Time
	// LastError is what went wrong with it, in git's words.
	LastError    string
	Interval     time.Duration // 0: only by hand or on a commit
	SyncOnCommit bool
	// BranchFilter says which branches are pushed; "" is all (Forgejo v12).
	BranchFilter string
}

// PushMirrors lists the push mirrors, and says what the forge's clock was.
func (r *Repo) PushMirrors(ctx context.Context) ([]PushMirror, time.Time, error) {
	var list []struct {
		RemoteName    string     `json:"remote_name"`
		RemoteAddress string     `json:"remote_address"`
		LastUpdate    *time.Time `json:"last_update"`
		LastError     string     `json:"last_error"`
		Interval      string
		SyncOnCommit  bool   `json:"sync_on_commit"`
		BranchFilter  string `json:"branch_filter"`
	}
	// One page is all of them, or nearly so: the pages of a forge have 30 or 50.
	a, err := r.get(ctx, "the push mirrors", readRepository+" of an administrator", url.Values{"limit": {"50"}}, &list, "push_mirrors")
	if err != nil {
		return nil, time.Time{}, err
	}
	at, ok := a.at()
	if !ok {
		return nil, time.Time{}, verdict.CannotTell(Failed, "the forge's clock", errors.New("an answer without a Date"), "see whether something before the forge takes it away")
	}
	out := make([]PushMirror, len(list))
	for i, m := range list {
		out[i] = PushMirror{Name: m.RemoteName, Address: bare(m.RemoteAddress), LastError: r.c.hide(m.LastError), SyncOnCommit: m.SyncOnCommit, BranchFilter: m.BranchFilter}
		out[i].Interval, _ = time.ParseDuration(m.Interval)
		// For "never" Gitea 1.25 says 1970, and null is what it means to say.
		if m.LastUpdate != nil && m.LastUpdate.Unix() > 0 {
			out[i].LastUpdate = *m.LastUpdate
		}
	}
	return out, at, nil
}

// SyncPushMirrors has the forge push to all of them, one after the other, and
// waits for the end. It stops at the first that fails; what went wrong is then
// in the list.
func (r *Repo) SyncPushMirrors(ctx context.Context, timeout time.Duration) error {
	_, err := r.c.do(ctx, op{
		what: "a sync of the push mirrors of " + r.String(), scope: writeRepository + " of an administrator", method: http.MethodPost, path: r.path("push_mirrors-sync"),
		timeout: timeout,
	})
	return err
}

// HasCommit reports whether the forge has a commit, on a branch or no longer.
// That it has none is only said by a forge that shows another one, witness.
func (r *Repo) HasCommit(ctx context.Context, id, witness string) (bool, error) {
	ask := func(id string) error {
		var c struct{ SHA string }
		_, err := r.get(ctx, "commit "+quote(id), readRepository, url.Values{"stat": {"false"}, "files": {"false"}, "verification": {"false"}}, &c, "git", "commits", id)
		if err == nil && c.SHA != id {
			err = verdict.CannotTell(Failed, "commit "+quote(id), errors.New("an answer about "+quote(c.SHA)), "see whether the address is the forge's")
		}
		return err
	}
	err := ask(id)
	if err == nil || status(err) != http.StatusNotFound {
		return err == nil, err
	}
	return false, ask(witness)
}

// bare is the address without a password; what is no URL has none.
func bare(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	host, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		user, _, _ := strings.Cut(host[:i], ":")
		host = host[i+1:]
		if scheme == "ssh" { // a name that is no secret; a token is one elsewhere
			host = user + "@" + host
		}
	}
	return scheme + "://" + host + "/" + path
}
