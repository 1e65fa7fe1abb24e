package sshx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"edge-actions/internal/verdict"

	"github.com/kevinburke/ssh_config"
)

// Target says which host is meant. What is empty is taken from ssh_config.
type Target struct {
	// Host is an address, a name, or an alias of ssh_config.
	Host string
	User string
	Port int
	// HostKeys are the host's public keys ("ssh-ed25519 AAAA…"). With them, no
	// known_hosts file is asked for this host.
	HostKeys []string
	// KnownHosts are files that must exist, for the host and for its jumps. If
	// there are none: UserKnownHostsFile, or the user's known_hosts.
	KnownHosts []string
	// IdentityFiles are the keys to log in with, and the only ones: the agent
	// is asked for these alone. If there are none: IdentityFile, the agent,
	// and the user's default keys.
	IdentityFiles []string
	// Passphrase opens an encrypted identity file. Without it such a file
	// serves only to choose a key of the agent's.
	Passphrase func(path string) ([]byte, error)
	// Config is the ssh_config file, which must exist. If it is empty: the
	// user's own, if there is one. "none" reads none.
	Config string
	// Jump are the hosts to go through, instead of ProxyJump's.
	Jump []Target
	// Env is where HOME, USER and SSH_AUTH_SOCK are looked up.
	Env []string
}

// Hop is one host on the way, with everything that is needed to log in there.
type Hop struct {
	alias, hostname, user string
	port                  int
	trust                 *trust
	identity              identity
}

func (h Hop) String() string {
	s := fmt.Sprintf("%s@%s", h.user, h.address())
	if h.alias != h.hostname {
		s = fmt.Sprintf("%s (%s)", h.alias, s)
	}
	return s
}

// A name that may stand in a log and in a lookup as it is.
var plainName = regexp.MustCompile(`^[A-Za-z0-9_.:%@-]+$`)

const maxJumps = 8

// Resolve merges a target with ssh_config and returns the way to it, the
// target last. Of ssh_config it honours HostName, Port, User, IdentityFile,
// IdentitiesOnly, IdentityAgent, ProxyJump, UserKnownHostsFile and
// HostKeyAlias. StrictHostKeyChecking and its like are not asked: it is on.
func Resolve(t Target) ([]Hop, error) {
	r := &resolver{env: func(name string) string { return lookup(t.Env, name) }}
	if err := r.load(t.Config); err != nil {
		return nil, err
	}
	return r.route(t, false, maxJumps)
}

type resolver struct {
	env    func(string) string
	config *ssh_config.Config
}

func (r *resolver) load(path string) error {
	mayMiss := path == ""
	switch path {
	case "none":
		path = ""
	case "":
		if home := r.env("HOME"); home != "" {
			path = filepath.Join(home, ".ssh", "config")
		}
	}
	if path == "" {
		r.config = &ssh_config.Config{}
		return nil
	}
	data, err := os.ReadFile(path)
	if mayMiss && errors.Is(err, fs.ErrNotExist) {
		r.config = &ssh_config.Config{}
		return nil
	}
	if err == nil {
		r.config, err = ssh_config.DecodeBytes(data)
	}
	if err != nil {
		return refuseConfig(fmt.Errorf("%s: %w", path, foreign(err)))
	}
	return nil
}

func refuseConfig(err error) error {
	return verdict.CannotTell(Config, "a way to the host that is understood whole", err, "mend ssh_config, or give the host, its port, its user and its jump as inputs")
}

func (r *resolver) route(t Target, direct bool, jumps int) ([]Hop, error) {
	if jumps < 0 {
		return nil, refuseConfig(fmt.Errorf("more than %d jumps: does one go through itself?", maxJumps))
	}
	var way []Hop
	for i, jump := range t.Jump {
		hops, err := r.route(r.inherit(jump, t), i > 0, jumps-1)
		if err != nil {
			return nil, err
		}
		way = append(way, hops...)
	}
	if len(t.Jump) == 0 && !direct {
		var err error
		if way, err = r.proxyJump(t, jumps); err != nil {
			return nil, err
		}
	}
	hop, err := r.hop(t)
	return append(way, hop), err
}

// inherit gives a jump what neither it nor ssh_config says for it: a bastion's
// key is often one that only it takes. The pinned keys are the target's own and
// never a jump's.
func (r *resolver) inherit(jump, t Target) Target {
	jump.Env, jump.Config = t.Env, t.Config
	if len(jump.KnownHosts) == 0 && r.get(jump.Host, "UserKnownHostsFile") == "" {
		jump.KnownHosts = t.KnownHosts
	}
	if len(jump.IdentityFiles) == 0 && r.get(jump.Host, "IdentityFile") == "" {
		jump.IdentityFiles = t.IdentityFiles
	}
	if jump.Passphrase == nil {
		jump.Passphrase = t.Passphrase
	}
	return jump
}

func (r *resolver) proxyJump(t Target, jumps int) ([]Hop, error) {
	value := r.get(t.Host, "ProxyJump")
	if value == "" {
		// ssh goes by the first of the two; we can't run a ProxyCommand, and
		// to go without it would be another way than the one that is meant.
		if c := r.get(t.Host, "ProxyCommand"); c != "" && !strings.EqualFold(c, "none") {
			return nil, refuseConfig(fmt.Errorf("%q has a ProxyCommand, which is not supported: use ProxyJump", t.Host))
		}
		return nil, nil
	}
	if strings.EqualFold(value, "none") {
		return nil, nil
	}
	var way []Hop
	for i, spec := range strings.Split(value, ",") {
		jump, err := parseJump(spec)
		if err != nil {
			return nil, refuseConfig(fmt.Errorf("ProxyJump of %q: %w", t.Host, err))
		}
		hops, err := r.route(r.inherit(jump, t), i > 0, jumps-1)
		if err != nil {
			return nil, err
		}
		way = append(way, hops...)
	}
	return way, nil
}

// parseJump reads [user@]host[:port], with or without ssh:// before it.
func parseJump(spec string) (Target, error) {
	var t Target
	s := strings.TrimPrefix(strings.TrimSpace(spec), "ssh://")
	if i := strings.LastIndex(s, "@"); i >= 0 {
		t.User, s = s[:i], s[i+1:]
	}
	t.Host = s
	if host, port, err := net.SplitHostPort(s); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return t, fmt.Errorf("no port: %q", port)
		}
		t.Host, t.Port = host, int(n)
	}
	t.Host = strings.TrimSuffix(strings.TrimPrefix(t.Host, "["), "]")
	if t.Host == "" {
		return t, fmt.Errorf("no host in %q", spec)
	}
	return t, nil
}

func (r *resolver) hop(t Target) (Hop, error) {
	h := Hop{alias: t.Host, port: t.Port}
	h.user = cmp.Or(t.User, r.get(t.Host, "User"), r.env("USER"), r.env("LOGNAME"))
	h.hostname = strings.NewReplacer("%%", "%", "%h", t.Host).Replace(cmp.Or(r.get(t.Host, "HostName"), t.Host))
	if !plainName.MatchString(t.Host) || !plainName.MatchString(h.hostname) || !plainName.MatchString(h.user) {
		return h, refuseConfig(fmt.Errorf("no host or no user: %q as %q", h.hostname, h.user))
	}
	if h.port == 0 {
		n, err := strconv.ParseUint(cmp.Or(r.get(t.Host, "Port"), "22"), 10, 16)
		if err != nil || n == 0 {
			return h, refuseConfig(fmt.Errorf("no port: %q", r.get(t.Host, "Port")))
		}
		h.port = int(n)
	}
	var err error
	if h.trust, err = r.trust(h, t); err != nil {
		return h, err
	}
	h.identity, err = r.identity(h, t)
	return h, err
}

func (r *resolver) trust(h Hop, t Target) (*trust, error) {
	if len(t.HostKeys) > 0 {
		return pin(t.HostKeys)
	}
	name := strings.ToLower(h.address())
	if alias := r.get(t.Host, "HostKeyAlias"); alias != "" {
		name = net.JoinHostPort(strings.ToLower(alias), "22")
	}
	if len(t.KnownHosts) > 0 {
		return fromFiles(t.KnownHosts, name)
	}
	paths := strings.Fields(strings.ReplaceAll(r.get(t.Host, "UserKnownHostsFile"), `"`, ""))
	if len(paths) == 0 && r.env("HOME") != "" {
		paths = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if len(paths) == 1 && strings.EqualFold(paths[0], "none") {
		paths = nil
	}
	var files []string
	for _, path := range paths {
		path, err := r.expand(path, h)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err == nil {
			files = append(files, path)
		}
	}
	return fromFiles(files, name)
}

func (r *resolver) identity(h Hop, t Target) (identity, error) {
	id := identity{passphrase: t.Passphrase, agent: r.env("SSH_AUTH_SOCK"), files: t.IdentityFiles, only: true, must: true}
	switch value := r.get(t.Host, "IdentityAgent"); {
	case value == "" || value == "SSH_AUTH_SOCK":
	case strings.EqualFold(value, "none"):
		id.agent = ""
	default:
		path, err := r.expand(value, h)
		if err != nil {
			return id, err
		}
		id.agent = path
	}
	if len(t.IdentityFiles) > 0 {
		return id, nil
	}
	id.must, id.only = false, strings.EqualFold(r.get(t.Host, "IdentitiesOnly"), "yes")
	paths, err := r.config.GetAll(t.Host, "IdentityFile")
	if err != nil {
		return id, refuseConfig(foreign(err))
	}
	if len(paths) == 0 && r.env("HOME") != "" {
		paths = []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"}
	}
	for _, path := range slices.Compact(paths) {
		if strings.EqualFold(path, "none") {
			continue
		}
		path, err := r.expand(path, h)
		if err != nil {
			return id, err
		}
		id.files = append(id.files, path)
	}
	return id, nil
}

// get returns what ssh_config says of a host, "" if nothing.
func (r *resolver) get(host, key string) string {
	// Its errors are of node types that it does not make.
	value, _ := r.config.Get(host, key)
	return strings.TrimSpace(value)
}

var variable = regexp.MustCompile(`\$\{[A-Za-z0-9_]+\}|^\$[A-Za-z0-9_]+$`)

// expand resolves ~, ${NAME} and the tokens of ssh_config in a path. What is
// left relative is relative to the home, and never to where we happen to be.
func (r *resolver) expand(path string, h Hop) (string, error) {
	home := r.env("HOME")
	if home == "" && (strings.HasPrefix(path, "~/") || strings.Contains(path, "%d")) {
		return "", refuseConfig(fmt.Errorf("%q needs a HOME, and there is none", path))
	}
	path = variable.ReplaceAllStringFunc(path, func(v string) string { return r.env(strings.Trim(v, "${}")) })
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = "%d/" + rest
	}
	out := strings.NewReplacer("%%", "%", "%d", home, "%h", h.hostname, "%n", h.alias, "%p", strconv.Itoa(h.port), "%r", h.user, "%u", r.env("USER")).Replace(path)
	if !filepath.IsAbs(out) {
		if home == "" {
			return "", refuseConfig(fmt.Errorf("%q is not absolute, and there is no HOME", path))
		}
		out = filepath.Join(home, out)
	}
	return out, nil
}

func lookup(env []string, name string) string {
	value := ""
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok && k == name {
			value = v // the last one wins, as in a child's environment
		}
	}
	return value
}

// identities gathers the keys to log in with.
func (h Hop) identities(ctx context.Context) (*keyring, error) { return h.identity.open(ctx, h) }
