#!/bin/sh
# Before the boot that makes the machine NixOS: is everything there that has to
# survive it, and does the new system let us in?
#   finish.sh [KEY] [ROOT]
# KEY is our public key, "type base64". ROOT is put before every path; it is
# empty but in tests. Prints what is kept. Runs as root.
set -eu
export LC_ALL=C
root=${2-}
list=$root/etc/NIXOS_LUSTRATE
system=$root/nix/var/nix/profiles/system
fail() {
	echo "$1" >&2
	exit 1
}
# Its marks come before its boot loader, and the old one is gone by then.
[ -e "$root/var/lib/edge-actions/infect/done" ] ||
	fail "nixos-infect was not seen to come to its end here: the machine may have no boot loader; run nixos-infect again on it, or make the instance anew"
[ -s "$list" ] || fail "$list is not there or empty: nothing would be kept"
[ -e "$root/etc/NIXOS" ] || fail "/etc/NIXOS is not there"
[ -e "$system/init" ] || [ -e "$system/bin/switch-to-configuration" ] || fail "$system leads to no system"
# A system without our key boots, and nobody gets in any more.
keys=$system/etc/ssh/authorized_keys.d/root
[ -z "${1-}" ] || sed '/^[[:blank:]]*#/d' "$keys" | grep -qF -e "$1" ||
	fail "the new system does not let us in as root: $1 is not in $keys; see users.users.root in /etc/nixos/configuration.nix, which nixos-infect only writes if it is not there"
kept() { sed 's,^/,,; s,/*$,,' "$list" | grep -qxF -e "$1" -e "${1%/*}" -e etc; }
# One path a line, relative to /; what is not listed goes to /old-root. A new
# line is only safe after one that ended.
keep() {
	kept "$1" || {
		[ -z "$(tail -c 1 "$list")" ] || echo >>"$list"
		echo "$1" >>"$list"
	}
}
n=0
for key in "$root"/etc/ssh/ssh_host_*_key; do
	[ -s "$key" ] || continue
	keep "${key#"$root"/}"
	keep "${key#"$root"/}.pub"
	n=$((n + 1))
done
[ "$n" -gt 0 ] || fail "there is no host key in /etc/ssh that could be kept"
# Who it is should not change with what it runs.
if [ -s "$root/etc/machine-id" ]; then keep etc/machine-id; fi
sync
cat "$list"
