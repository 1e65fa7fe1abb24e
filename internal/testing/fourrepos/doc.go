// Package fourrepos runs examples/four-repos as it is meant: four repositories on
// a real Gitea, made by git push, whose workflows a real act runs in host mode, as
// a runner at home does. What Forgejo answers differently is the double of package
// forgetest, whose table lists the differences; OpenTofu, sops, git and the node
// (package lab) are real, Colmena and Oracle's API are doubles.
//
// What it leaves out: a runner that takes jobs from the forge. There is none here
// to be had, so the test is one: it runs what the forge says was started, and says
// in the forge's answers how it ended.
package fourrepos
