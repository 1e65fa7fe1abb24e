package main

// clockIsSet: macOS tells this to root alone (systemsetup -getusingnetworktime).
func clockIsSet() (set, known bool) { return false, false }
