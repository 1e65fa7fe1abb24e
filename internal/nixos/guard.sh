#!/bin/sh
# Runs on the host as a service of its own and carries one activation to its
# end, with the runner or without it: the new system is switched to with
# "test", which touches neither the boot loader nor the profile, and only what
# was confirmed before the deadline becomes the boot default. Everything else
# ends on the previous system, if need be through a reboot.
#
# $1 is the activation's directory below /run, which a reboot empties: then the
# boot loader has already decided, for the previous system. Of a guard that is
# killed systemd starts another, which goes on from what lies there:
#
#   new prev mode    what is wanted
#   deadline, limit  when it must be confirmed, and the activation be over, in
#                    1/100 s since the boot
#   started          the activation was asked for; it is asked for only once
#   activation.exit  how it ended
#   verdict          a symbolic link, since making one is a single step: whoever
#                    makes it has decided, the runner or this guard
#   phase            where it stands, for the runner
# shellcheck disable=SC2094 # different files
set -u
cd "$1" || exit 1
unit=edge-actions-${PWD##*/}.service # its own: systemd may still be putting away that of another
read -r new <new
read -r prev <prev
read -r mode <mode
read -r confirm_for <confirm_for
read -r activate_for <activate_for
read -r client <client
profile=/nix/var/nix/profiles/system
roots=/nix/var/nix/gcroots/edge-actions
# Of the previous system: the current one changes under our feet.
PATH=$prev/sw/bin:$prev/sw/sbin:/run/wrappers/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

# The clock that nobody sets: centiseconds since the boot.
now() {
	read -r up _ </proc/uptime
	echo "${up%.*}${up#*.}"
}

put() { printf '%s\n' "$2" >"$1.tmp" && mv "$1.tmp" "$1"; }
phase() { put phase "$*"; }
take() { ln -s "$1" verdict 2>/dev/null; }
current() { readlink -f /run/current-system; }

failed_units() { systemctl list-units --state=failed --plain --no-legend --full 2>/dev/null | while read -r name _; do echo "$name"; done; }

# new_failures lists what failed and had not failed before.
new_failures() { failed_units | while read -r name; do grep -qxF -e "$name" failed.before || echo "$name"; done; }

# way prints how the runner is reached from here. The rest of the line, a cache
# and a uid, may differ.
way() {
	[ -n "$client" ] || return 0
	# shellcheck disable=SC2046 # words are wanted
	set -- $(ip -o route get "$client" 2>/dev/null)
	while [ $# -gt 1 ]; do
		case $1 in dev | src | via) printf '%s %s ' "$1" "$2" ;; esac
		shift
	done
}

activate() {
	# shellcheck disable=SC2016 # the inner shell's
	systemd-run --quiet --collect --unit="$unit" --service-type=exec -E "PATH=$PATH" -E LOCALE_ARCHIVE=/run/current-system/sw/lib/locale/locale-archive \
		/bin/sh -c '"$1/bin/switch-to-configuration" test >"$2/activation.log" 2>&1; echo $? >"$2/activation.exit.tmp"; mv "$2/activation.exit.tmp" "$2/activation.exit"' sh "$new" "$PWD" || echo 'systemd-run failed' >activation.log
}

# watch waits for a verdict and makes one where the activation or the clock
# gives cause to.
watch() {
	live=''
	while [ ! -L verdict ]; do
		time=$(now)
		if [ -n "$live" ]; then
			:
		elif [ -e activation.exit ]; then
			read -r code <activation.exit
			case $code in
			0) live=yes ;;
			4) [ -n "$(new_failures)" ] && take failed-units || live=yes ;;
			100) take needs-reboot ;;
			101) take panicked ;;
			*) take "activation-failed-$code" ;;
			esac
			[ -z "$live" ] || phase live
			continue
		elif ! systemctl -q is-active "$unit" && [ ! -e activation.exit ]; then
			take activation-killed
			continue
		elif [ "$time" -ge "$limit" ]; then
			take activation-hung
			continue
		fi
		read -r deadline <deadline # an operator may have given it more time
		if [ "$time" -ge "$deadline" ]; then
			take not-confirmed
			continue
		fi
		sleep 0.1
	done
}

# commit makes the new system the boot default, or leaves the previous one as
# it. The link says, should the power go in the middle, what to go back to.
commit() {
	phase committing
	mkdir -p "$roots" && ln -sfn "$prev" "$roots/.previous" && mv -T "$roots/.previous" "$roots/previous" && sync -f "$roots" || return 1
	if nix-env -p "$profile" --set "$new" >>commit.log 2>&1 && [ "$(readlink -f "$profile")" = "$new" ] &&
		"$new/bin/switch-to-configuration" boot >>commit.log 2>&1 && sync; then
		rm -f "$roots/previous" ../new
		return 0
	fi
	uncommit "$generation" "$prev" >>commit.log 2>&1
	return 1
}

# The same stands in begin.sh, for a commit that the power cut short.
uncommit() {
	number=${1#system-}
	made=$(readlink "$profile")
	nix-env -p "$profile" --switch-generation "${number%-link}" || return 1
	if [ "$made" != "$1" ]; then
		made=${made#system-}
		nix-env -p "$profile" --delete-generations "${made%-link}"
	fi
	"$2/bin/switch-to-configuration" boot && sync && rm -f "$roots/previous"
}

# rollback goes back to the previous system, by a reboot if it has to.
rollback() {
	phase "rolling-back $1"
	mkdir -p failed
	new_failures | head -n 5 | while read -r name; do
		journalctl -q --no-pager -n 30 -o cat -u "$name" >"failed/$name" 2>&1
	done
	# Not "stop": asked for while the unit ends, it has been seen to wait for ever.
	tries=0
	while systemctl -q is-active "$unit" && [ "$tries" -lt 100 ]; do
		systemctl kill --signal=KILL "$unit" 2>/dev/null
		tries=$((tries + 1))
		sleep 0.1
	done
	timeout -k 10 300 "$prev/bin/switch-to-configuration" test >rollback.log 2>&1
	echo "exit code $?" >>rollback.log
	tries=0
	while [ "$(current)" = "$prev" ] && [ "$tries" -lt 30 ]; do
		if [ "$(way)" = "$(cat way)" ]; then
			rm -f ../new
			phase "rolled-back $1"
			return
		fi
		tries=$((tries + 1))
		sleep 1
	done
	# Neither the previous system nor the way to it came back by itself.
	phase "rebooting $1"
	sync
	systemctl reboot
	sleep 90
	systemctl reboot --force
	sleep 30
	systemctl reboot --force --force
}

if [ ! -e deadline ]; then
	put limit $(($(now) + activate_for))
	put way "$(way)"
	put failed.before "$(failed_units)"
	put generation "$(readlink "$profile")"
	put deadline $(($(now) + confirm_for))
	ln -sfn "$PWD" ../current
fi
read -r limit <limit
read -r generation <generation

case $mode in
boot)
	take confirmed
	if commit; then
		phase committed
	else
		rm -f ../new
		phase "not-committed commit-failed"
	fi
	;;
switch)
	if [ ! -e started ]; then
		: >started
		phase activating
		activate
	fi
	watch
	case $(readlink verdict) in
	confirmed) if commit; then phase committed; else rollback commit-failed; fi ;;
	*) rollback "$(readlink verdict)" ;;
	esac
	;;
esac
