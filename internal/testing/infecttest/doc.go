// Package infecttest gives tests a nixos-infect and a nixos-anywhere for the
// bare hosts of package lab. Both are doubles: what they start is real (ssh,
// ssh-copy-id, nix-instantiate, nix-store, nix-copy-closure, a reboot), but the
// systems that they build are the lab's.
//
// # nixos-infect
//
// Follows github.com/elitak/nixos-infect at 7563801 (2025-12). It is run as
// root on the host, with no arguments, and steered by the environment:
// PROVIDER, NIX_CHANNEL, NIXOS_IMPORT, NIXOS_CONFIG, NO_REBOOT, NO_SWAP,
// NO_INFECT, newrootfslabel. Its flaws are kept:
//   - /etc/nixos/*.nix are left as they are as soon as there is a
//     configuration.nix, whatever is in it; networking.nix is written for a few
//     providers only, and Oracle is none of them.
//   - root's keys are those of the first file that has any: /root's, then
//     $SUDO_USER's, then $HOME's. What stands before a key (a forced command)
//     is cut off, but by a pattern that takes a comment which looks like a
//     key's type for one; comment lines become "keys".
//   - Keys from a configuration.nix without any: a host that lets in nobody.
//   - /etc/NIXOS and /etc/NIXOS_LUSTRATE are written before the boot loader is,
//     by appending: a second run lists everything twice. A run that ends
//     between has half of it.
//   - The machine-id is not kept. Only the ssh host keys are, etc/nixos,
//     etc/resolv.conf and root's channels.
//   - The ESP is wiped before the new loader is written.
//   - NO_REBOOT counts when it is not empty, whatever it says.
//
// Left out: the installation of Nix, its digest that nobody looks at, and the
// channel (the lab's hosts have Nix); installing missing programs; build users;
// swap; the settings of single providers; GRUB (the lab's boot loader is in the
// form of systemd-boot); resolv.conf as a link. configuration.nix is evaluated
// as one function, without its imports and without modules; only
// users.users.root.openssh.authorizedKeys.keys is taken from it.
//
// # nixos-anywhere
//
// Follows github.com/nix-community/nixos-anywhere at 91fc9b7 (2026). It is run
// on the runner and finds ssh, ssh-copy-id, ssh-keygen and Nix on PATH. Its
// flaws are kept:
//   - Each ssh has -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no
//     before what --ssh-option says, and the first one counts. NIX_SSHOPTS is
//     overwritten with the same.
//   - Waiting for the key's upload, for the end of the old system, for the
//     installer, and for the last reboot has no bound. A host that is merely
//     out of reach counts as one that went down, so "### Done! ###" may follow
//     a machine that never came back.
//   - That the installer is another machine than the one before it is not seen.
//   - --phases without kexec goes to root@, and does not check for an installer
//     before it formats the disk.
//   - Host keys are carried into the installer always, and to the disk with
//     --copy-host-keys only; what --extra-files brought goes first.
//   - Any option that is not known is taken for the host's name.
//
// Left out: flakes (#NODE is looked up in hive.nix beside, as package
// colmenatest writes it), --build-on auto's trial build (auto is local), the
// kexec image and its download (the lab's hosts bring a kexec, so the check for
// cpio is left out as well), disko's own options, hardware configuration, vm
// tests, --env-password, --store-paths, --chown, --from, substituters, other
// escalations than sudo. It looks again after 0.2 s where the real one waits
// for 1 to 5, because the lab's hosts boot that fast.
//
// # Faults
//
// lab.State.Transition says what goes wrong; it is read on the host, so a build
// that nixos-anywhere does on the runner does not die.
package infecttest
