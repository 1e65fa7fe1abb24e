#!/bin/sh
# Starts nixos-infect, which comes over stdin, in a unit of its own:
#   infect.sh UNIT SHA256 ROOT NAME=VALUE...
# Runs as root. What arrived is held against its digest before it is run.
# ROOT is put before the paths; it is empty but in tests.
set -eu
export LC_ALL=C
umask 077
unit=$1 sum=$2 root=$3
shift 3
dir=$root/var/lib/edge-actions/infect
mkdir -p "$dir"
rm -f "$dir/done"
cat >"$dir/script.new"
got=$(sha256sum <"$dir/script.new")
got=${got%% *}
if [ "$got" != "$sum" ]; then
	rm -f "$dir/script.new"
	echo "the script that arrived has the sha256 $got, not $sum" >&2
	exit 1
fi
mv "$dir/script.new" "$dir/script"
systemctl stop "$unit" 2>/dev/null || :
systemctl reset-failed "$unit" 2>/dev/null || :
set -- -- env -C / HOME=/root USER=root PATH="$PATH" "$@"
# shellcheck disable=SC2016
exec systemd-run --quiet --unit="$unit" --description=nixos-infect --service-type=exec --property=TimeoutStopSec=10 "$@" \
	bash -c 'bash "$1" && sync && : >"$2" && sync "$2"' infect "$dir/script" "$dir/done" </dev/null
