#!/bin/sh
# Starts an activation on the host: "$1" is its id, "$2" the new system, "$3"
# switch or boot, "$4" and "$5" how long until it must be confirmed and until
# the activation itself must be over, in 1/100 s, "$6" the guard, "$7" status.sh
# and "$8" and "$9" its wait and phases, since what follows needs no answer first;
# after them the script that is to follow a commit, with its arguments.
# Prints one word and what belongs to it: started, or why not.
set -eu
id=$1
new=$2
mode=$3
umask 077
base=/run/edge-actions
dir=$base/activation-$id
roots=/nix/var/nix/gcroots/edge-actions
profile=/nix/var/nix/profiles/system
PATH=/run/wrappers/bin:/run/current-system/sw/bin:/run/current-system/sw/sbin:$PATH:/usr/sbin:/sbin

if systemctl -q is-active edge-actions-guard.service || [ "$(systemctl show -P ActiveState edge-actions-guard.service)" = activating ]; then
	echo "busy $(readlink "$base/current" 2>/dev/null || echo unknown)"
	exit
fi
[ -x "$new/bin/switch-to-configuration" ] || { echo "refused missing $new"; exit; }
# Nix makes a generation's link under another name first. One that a power cut
# left passes for a generation with Nix itself, which would lead the profile there.
for stray in "$profile"-*-link.tmp-*; do
	[ ! -L "$stray" ] || [ "$(readlink "$profile")" = "${stray##*/}" ] || rm -f "$stray"
done
current=$(readlink -f /run/current-system)
committed=$(readlink -f "$profile")

# The power went while an earlier run committed: nobody was told that it had,
# so the system that was confirmed before it is the one to be on.
if [ -L "$roots/previous" ]; then
	before=$(readlink -f "$roots/previous")
	if [ "$committed" != "$before" ]; then
		for link in "$profile"-*-link; do
			[ "$(readlink -f "$link")" != "$before" ] || number=${link#"$profile-"}
		done
		made=$(readlink "$profile")
		made=${made#system-}
		nix-env -p "$profile" --switch-generation "${number%-link}" >&2
		nix-env -p "$profile" --delete-generations "${made%-link}" >&2
	fi
	"$before/bin/switch-to-configuration" boot >&2
	sync
	rm -f "$roots/previous"
	committed=$before
	echo "repaired $before"
fi

prev=$committed
if [ "$mode" = switch ]; then
	if [ "$current" != "$committed" ] && [ "$current" != "$new" ]; then
		echo "refused pending $current $committed"
		exit
	fi
	if ! why=$("$new/bin/switch-to-configuration" check 2>&1); then
		case $why in
		*[Uu]sage*) ;; # a system from before there was such a check
		*) echo "refused inhibited $(printf '%s' "$why" | tr '\n' ' ' | head -c 2000)"; exit ;;
		esac
	fi
fi

for old in "$base"/activation-*; do
	[ ! -d "$old" ] || rm -rf "$old"
done
mkdir -p "$base" "$dir" "$roots"
# The new system is not to be collected; after a reboot the root leads nowhere.
ln -sfn "$new" "$base/new"
ln -sfn "$base/new" "$roots/new"
printf '%s\n' "$new" >"$dir/new"
printf '%s\n' "$prev" >"$dir/prev"
printf '%s\n' "$mode" >"$dir/mode"
printf '%s\n' "$4" >"$dir/confirm_for"
printf '%s\n' "$5" >"$dir/activate_for"
printf '%s\n' "${SSH_CONNECTION%% *}" >"$dir/client"
printf '%s\n' "$6" >"$dir/guard"
# A restart after a kill, and no limit to their number: it is the dead-man.
if ! why=$(systemd-run --quiet --collect --unit=edge-actions-guard --service-type=exec -p Restart=on-failure -p RestartSec=100ms -p StartLimitIntervalSec=0 \
	/bin/sh "$dir/guard" "$dir" 2>&1); then
	rm -rf "$dir"
	case $why in
	*already*) echo "busy unknown" ;; # another runner was a moment earlier
	*) echo "refused guard $(printf '%s' "$why" | tr '\n' ' ' | head -c 2000)" ;;
	esac
	exit
fi
echo "started $prev"
status=$7
wait=$8
phases=$9
shift 9
exec /bin/sh -c "$status" sh "$id" "$wait" "$phases" '' "$@"
