// Command labctl is what scripts/lab runs: the lab for people.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"edge-actions/internal/testing/lab"
)

const usage = `usage: scripts/lab up [N] [--bare] | add NAME... | down | status | ssh NAME [COMMAND] | run NAME SCRIPT | cut NAME | mend NAME | door NAME open|closed | reboot NAME | snapshot NAME | rollback NAME | instance NAME OCID`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("nothing to do\n%s", usage)
	}
	owner, err := lab.OwnerOf(os.Getenv(lab.OwnerVar))
	if err != nil {
		return err
	}
	l, err := lab.Open(owner)
	if err != nil {
		return err
	}
	verb, args := args[0], args[1:]
	switch {
	case verb == "up":
		if l != nil {
			return fmt.Errorf("the lab is up, with %d hosts: scripts/lab status, or down first", len(l.Hosts))
		}
		return up(args, owner)
	case verb == "down" && len(args) == 0:
		if l == nil {
			return lab.Sweep()
		}
		return l.Down()
	case verb == "status" && len(args) == 0:
		return status(l)
	}
	if len(args) == 0 {
		return fmt.Errorf("%s needs the name of a host\n%s", verb, usage)
	}
	if verb == "add" && l != nil {
		if err := l.Add(args...); err != nil {
			return err
		}
		return status(l)
	}
	h, err := find(l, args[0])
	if err != nil {
		return err
	}
	return on(l, h, verb, args[1:])
}

// on does what is asked of one host.
func on(l *lab.Lab, h *lab.Host, verb string, args []string) error {
	switch verb {
	case "ssh":
		return ssh(l, h, args)
	case "run":
		out, err := h.Run(strings.Join(args, " "))
		fmt.Println(out)
		return err
	case "cut":
		return h.Cut()
	case "mend":
		return h.Mend()
	case "door":
		if len(args) != 1 || args[0] != "open" && args[0] != "closed" {
			return fmt.Errorf("wanted door NAME open|closed, found %q", args)
		}
		return h.Door(args[0] == "open")
	case "instance":
		s := lab.State{InstanceID: strings.Join(args, "")}
		return h.SetState(s)
	case "snapshot":
		return h.Snapshot()
	case "rollback":
		return h.Rollback()
	case "reboot":
		_, err := h.Run("systemctl reboot")
		return err
	}
	return fmt.Errorf("%q is no verb\n%s", verb, usage)
}

func up(args []string, owner string) error {
	n, bare, err := size(args)
	if err != nil {
		return err
	}
	bring := lab.Up
	if bare {
		bring = lab.UpBare
	}
	l, err := bring(n, owner)
	if err != nil {
		return err
	}
	return status(l)
}

// size reads [N] [--bare].
func size(args []string) (n int, bare bool, err error) {
	n = 1
	var numbers []string
	for _, arg := range args {
		if arg == "--bare" {
			bare = true
		} else {
			numbers = append(numbers, arg)
		}
	}
	if len(numbers) == 1 {
		n, err = strconv.Atoi(numbers[0])
	}
	if len(numbers) > 1 || err != nil || n < 1 || n > 200 {
		return 0, false, fmt.Errorf("wanted a number of hosts from 1 to 200, and --bare or not; found %q", args)
	}
	return n, bare, nil
}

func status(l *lab.Lab) error {
	if l == nil {
		fmt.Println("the lab is down")
		return nil
	}
	fmt.Printf("identity\t%s\n", l.Key)
	for _, h := range l.Hosts {
		state, err := h.Run("systemctl is-system-running || true")
		if err != nil {
			state = "off"
		}
		system, _ := h.Run("readlink /run/current-system") // empty while it is off
		fmt.Printf("%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, h.Address, h.Public, state, system, h.HostKey)
	}
	return nil
}

func find(l *lab.Lab, name string) (*lab.Host, error) {
	if l == nil {
		return nil, fmt.Errorf("the lab is down: scripts/lab up")
	}
	for _, h := range l.Hosts {
		if h.Name == name {
			return h, nil
		}
	}
	return nil, fmt.Errorf("the lab has no host %q: scripts/lab status lists them", name)
}

func ssh(l *lab.Lab, h *lab.Host, command []string) error {
	user, err := h.User()
	if err != nil {
		return err
	}
	known, err := os.CreateTemp("", "lab-known-hosts-")
	if err != nil {
		return err
	}
	defer os.Remove(known.Name())
	if _, err := fmt.Fprintf(known, "%s %s\n", h.Address, h.HostKey); err != nil {
		return err
	}
	known.Close()
	args := []string{"-F", "none", "-i", l.Key, "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + known.Name(), user + "@" + h.Address}
	cmd := exec.Command("ssh", append(args, command...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
