#!/bin/sh
# Waits, for at most "$2" seconds, until the activation "$1" stands where one of
# the words of "$3" says, and prints where it and the host stand. With "$4" it
# first decides so, unless something was decided already. Once it is committed,
# the script "$5" is run with the arguments after it, and what it prints is
# printed too.
set -u
base=/run/edge-actions
dir=$base/activation-$1
PATH=/run/wrappers/bin:/run/current-system/sw/bin:/run/current-system/sw/sbin:$PATH:/usr/sbin:/sbin
value() { printf '%s %s\n' "$1" "$(base64 -w0)"; }

[ -z "$4" ] || [ ! -d "$dir" ] || ln -s "$4" "$dir/verdict" 2>/dev/null
tries=$(($2 * 10))
phase=''
while [ "$tries" -gt 0 ] && [ -d "$dir" ]; do
	[ ! -e "$dir/phase" ] || read -r phase _ <"$dir/phase"
	case " $3 " in *" $phase "*) break ;; esac
	tries=$((tries - 1))
	sleep 0.1
done
value boot_id </proc/sys/kernel/random/boot_id
readlink -f /run/current-system | value current
readlink -f /nix/var/nix/profiles/system | value profile
readlink /nix/var/nix/profiles/system | value generation
if [ -d "$dir" ]; then
	[ ! -e "$dir/phase" ] || value phase <"$dir/phase"
	[ ! -L "$dir/verdict" ] || readlink "$dir/verdict" | value verdict
	for log in activation commit rollback; do
		[ ! -e "$dir/$log.log" ] || tail -c 20000 "$dir/$log.log" | value "$log"
	done
	for unit in "$dir"/failed/*; do
		[ ! -e "$unit" ] || { printf '%s\n' "${unit##*/}"; tail -c 4000 "$unit"; } | value unit
	done
fi
if [ -n "$5" ] && [ "$phase" = committed ]; then
	script=$5
	shift 5
	/bin/sh -c "$script" sh "$@" | value after
fi
echo end
