package action

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
)

// runnerID names the process that started this step's process group, which is
// the runner: no job outlives it. It is "" where nobody can be named.
//
// The launcher becomes the action, but a script that calls the launcher is the
// action's parent, and ends before the job does: hence the group's leader, which a
// runner makes anew for each step.
func runnerID() string {
	leader, err := lookUp(syscall.Getpgrp())
	if err != nil || leader.parent <= 1 {
		return ""
	}
	runner, err := lookUp(leader.parent)
	if err != nil {
		return ""
	}
	return strings.Join([]string{strconv.Itoa(leader.parent), runner.start, pidNamespace()}, " ")
}

// process is what is known of one.
type process struct {
	parent int
	// start is there because process ids are used again.
	start string
}

// errNoProcess says that there is no process of that id.
var errNoProcess = errors.New("no such process")

// runnerGone reports whether the runner of that id has ended. Of one in another
// PID namespace, and of one that can't be looked at, it says no.
func runnerGone(id string) bool {
	fields := strings.Fields(id)
	if len(fields) != 3 || fields[2] != pidNamespace() {
		return false
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return false
	}
	p, err := lookUp(pid)
	return errors.Is(err, errNoProcess) || err == nil && p.start != fields[1]
}
