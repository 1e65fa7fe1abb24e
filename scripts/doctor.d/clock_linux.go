package main

import "syscall"

// clockIsSet asks the kernel whether anybody keeps its clock right.
func clockIsSet() (set, known bool) {
	const timeError = 5 // TIME_ERROR of adjtimex(2): not synchronized
	state, err := syscall.Adjtimex(&syscall.Timex{})
	return state != timeError, err == nil
}
