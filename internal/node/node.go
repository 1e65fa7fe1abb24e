// Package node looks at a running node in one round trip and judges what it
// saw: a script that runs as root there prints one document, Parse reads it,
// Judge answers a fixed list of questions, and a Policy says which answers
// count. It refuses to take what could not be read for a good answer: a fact
// that is missing makes its checks unproven.
package node

import (
	"cmp"
	"context"
	_ "embed" // the probe
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"edge-actions/internal/sshx"
	"edge-actions/internal/verdict"
)

//go:embed probe.sh
var probe string

// Runner runs a script on the node: *sshx.Conn does.
type Runner interface {
	Output(ctx context.Context, cmd sshx.Cmd, max int) ([]byte, error)
}

// unitForm has no character that a shell or systemd takes for a pattern.
var unitForm = regexp.MustCompile(`^[A-Za-z0-9:_.@\\-]{1,255}$`)

// keyForm has no character that find takes for a pattern.
var keyForm = regexp.MustCompile(`^(/[A-Za-z0-9._@+-]+){2,}$`)

// Collect runs the probe on a node, for the given groups (Policy.Groups) and
// for the units and ports of want. The probe bounds each of its commands;
// timeout is for all of it, 30 s at least, so that a command that hangs costs
// its own fact and not the others.
func Collect(ctx context.Context, on Runner, groups []string, want Expect, timeout time.Duration) (*Facts, error) {
	script, args, err := Command(groups, want)
	if err != nil {
		return nil, err
	}
	if timeout < least {
		return nil, fmt.Errorf("probing the node: a timeout of at least %s is required", least)
	}
	out, err := on.Output(ctx, sshx.Cmd{Name: "the probe", Script: script, Args: args, Root: true, Public: true, Timeout: timeout}, MaxDocument)
	if err != nil {
		return nil, err
	}
	return Parse(out)
}

// least is longer than the probe's slowest command and the journals after it.
const least = 30 * time.Second

// Command returns the probe with its arguments, for who runs it as root by
// other means; Parse reads what it prints.
func Command(groups []string, want Expect) (string, []string, error) {
	args, err := arguments(groups, want)
	return script(), args, err
}

func arguments(groups []string, want Expect) ([]string, error) {
	var ports []string
	for _, port := range want.Ports {
		if port < 1 || port > 65535 {
			return nil, verdict.Refuse("input-ports", "ports from 1 to 65535", strconv.Itoa(port), "correct the list of ports")
		}
		ports = append(ports, strconv.Itoa(port))
	}
	for _, unit := range want.Units {
		if !unitForm.MatchString(unit) || strings.HasPrefix(unit, "-") {
			return nil, verdict.Refuse("input-units", "names of systemd units", quote(unit), "write it as systemctl shows it, such as k3s.service")
		}
	}
	key := cmp.Or(want.AgeKeyFile, ageFile)
	if !keyForm.MatchString(key) || path.Clean(key) != key {
		return nil, verdict.Refuse("input-age_key_path", "the absolute path of a file in a directory", quote(key), "give the path of sops.age.keyFile")
	}
	if want.InstanceID == "" { // the question to the cloud is only for this
		groups = slices.DeleteFunc(slices.Clone(groups), func(g string) bool { return g == "oci" })
	}
	return []string{strings.Join(groups, " "), strings.Join(want.Units, " "), strings.Join(ports, " "), key}, nil
}

// script is the probe without its comments: sshx sends it byte by byte.
func script() string {
	var b strings.Builder
	for line := range strings.Lines(probe) {
		if trimmed := strings.TrimLeft(line, "\t"); !strings.HasPrefix(trimmed, "#") {
			b.WriteString(trimmed)
		}
	}
	return b.String()
}
