package lab

import (
	"fmt"
	"os"
	"strconv"
)

// Owner is the mark of this process, for Up: its labs are taken down by the
// next one that comes when it is gone.
func Owner() (string, error) { return mark(os.Getpid()) }

// OwnerVar is the variable with the id of the process that owns the lab of a
// command: a script that is killed leaves nothing then. Without it the lab is
// for people.
const OwnerVar = "LAB_OWNER"

// OwnerOf is the owner that a value of OwnerVar means.
func OwnerOf(value string) (string, error) {
	if value == "" {
		return ForPeople, nil
	}
	pid, err := strconv.Atoi(value)
	if err == nil {
		value, err = mark(pid)
	}
	if err != nil {
		return "", fmt.Errorf("wanted the id of a living process in %s: %w", OwnerVar, err)
	}
	return value, nil
}
