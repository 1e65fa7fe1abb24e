#!/bin/sh
# Runs restic on a host: "$1" is the deadline in seconds, "$2" the grace after
# it, "$3" the user or nothing, "$4" how many variables follow, then these, then
# the program and its arguments. Ends as restic ends, or as timeout(1): with 124
# or 137 past the deadline, with 127 where there is no such program. When stdin ends, nobody waits
# any more, and restic is told to end.
set -u
PATH=$PATH:/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
limit=$1 grace=$2 user=$3 n=$4
shift 4

# Nothing of the login's environment: RESTIC_HOST would hide snapshots. What
# only looks like a name, in a value of several lines, is not there to unset.
for v in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
	case $v in
	PATH | HOME | USER | LOGNAME | SHELL | TMPDIR | LANG | LC_* | TZ) ;;
	*_proxy | *_PROXY | SSL_CERT_FILE | SSL_CERT_DIR | NIX_SSL_CERT_FILE | LOCALE_ARCHIVE) ;;
	*) command unset "$v" 2>/dev/null || : ;;
	esac
done
while [ "$n" -gt 0 ]; do
	export "${1?}"
	shift
	n=$((n - 1))
done

set -- timeout -k "$grace" "$limit" "$@"
if [ -n "$user" ]; then
	if ! group=$(id -g "$user") || ! entry=$(getent passwd "$user"); then
		echo "there is no user $user" >&2
		exit 1
	fi
	entry=${entry%:*}
	HOME=${entry##*:} USER=$user LOGNAME=$user
	export HOME USER LOGNAME
	# Not runuser: it keeps a process of its own above, which ends restic in
	# two seconds when it is told to end.
	set -- setpriv --reuid="$user" --regid="$group" --init-groups -- "$@"
fi

cd / || exit 1
exec 3<&0
"$@" </dev/null 3<&- &
restic=$!
{
	while read -r _; do :; done
	kill -TERM "$restic"
} <&3 >/dev/null 2>&1 &
watch=$!
wait "$restic"
code=$?
kill "$watch" 2>/dev/null
exit "$code"
