#!/bin/sh
# Runs a program that comes over stdin: "$1" is the directory below which it is
# kept until it runs, "$2" the user or nothing, "$3" the seconds after which
# nobody waits any more. Says "edge-agent platform NAME" when all is ready, then
# takes a line of 128 bytes (size, SHA-256 and seconds of the program), then the
# program, and becomes silent: what comes after it is the program's. What can't
# be done is "edge-agent refused ID WORDS".
set -u
umask 077
PATH=$PATH:/run/wrappers/bin:/run/current-system/sw/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
where=$1 user=$2 limit=$3 private='' agent=''
# Only what is to read stdin has it, and reads no byte of what comes next.
exec 3<&0 </dev/null
# The program is told to end by the end of its stdin. A signal is passed on to
# it, and ends nothing here before everything is gone.
trap '[ -z "$agent" ] || kill -TERM "$agent" 2>/dev/null' HUP INT TERM
# Where nobody listens any more, speaking must not be the end either.
trap : PIPE

leave() {
	[ -z "$private" ] || rm -rf "./$private"
	exit 1
}
refuse() {
	[ -z "$private" ] || rm -rf "./$private"
	words=${2%%"
"*}
	printf 'edge-agent refused %s %s\n' "$1" "$words"
	exit 1
}

platform=$(uname -sm)
case $platform in
Linux\ *) ;;
*)
	printf 'edge-agent platform %s\n' "$platform"
	exit 1
	;;
esac

missing=''
for tool in timeout sha256sum head dd find sed id getent ${user:+setpriv}; do
	[ "$tool $user" != 'setpriv root' ] || continue
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -r /proc/self/stat ] || missing="$missing /proc"
[ -z "$missing" ] || refuse tools "$missing"

# Nothing of the login's environment. What only looks like a name, in a value of
# several lines, is not there to unset.
for v in $(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/\1/p'); do
	case $v in
	PATH | LANG | LC_* | TZ) ;;
	*_proxy | *_PROXY | SSL_CERT_FILE | SSL_CERT_DIR | NIX_SSL_CERT_FILE | LOCALE_ARCHIVE) ;;
	*) command unset "$v" 2>/dev/null || : ;;
	esac
done
me=$(id -u)
as=${user:-$me}
if ! entry=$(getent passwd "$as") || ! group=$(id -g "$as"); then
	refuse user "there is no user $as"
fi
USER=${entry%%:*} LOGNAME=${entry%%:*} entry=${entry%:*}
HOME=${entry##*:}
export PATH HOME USER LOGNAME

# Sets mark to what only this very process has, in letters of a file's name, or
# to nothing where there is no such process.
mark() {
	mark='' stat=''
	{ read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
	# The second field is the program's name, in brackets, and may hold blanks;
	# the start is field 22.
	# shellcheck disable=SC2086 # a list of fields
	set -- "$1" ${stat##*) }
	[ "$2" != Z ] || return 1
	mark=$1-${21}
}
read -r boot </proc/sys/kernel/random/boot_id
boot=${boot%%-*}
names=$(readlink /proc/self/ns/pid)
names=${names##*[}
names=${names%]}

[ -d "$where" ] || words=$(mkdir -p -- "$where" 2>&1) || refuse dir "$words"
cd -- "$where" 2>/dev/null || refuse dir "it can't be entered"
# Who may rename here could put something else in the place of what is written.
[ -z "$(find . -prune \( ! -user 0 ! -user "$me" -o ! -perm -1000 \( -perm -020 -o -perm -002 \) \))" ] ||
	refuse dir "somebody else owns it, or may write to it"
# What was left by those who were killed, power cuts included. In another
# namespace of process ids a process can't be told from none.
for old in .edge-agent-*; do
	if [ ! -d "$old" ] || [ -L "$old" ] || [ ! -O "$old" ]; then
		continue
	fi
	rest=${old#.edge-agent-}
	case $rest in
	*[!0-9a-f-]* | *-*-*-*-* | -* | *-) continue ;;
	"$boot-$names-"*-*)
		rest=${rest#"$boot-$names-"}
		if mark "${rest%-*}" && [ "$mark" = "$rest" ]; then
			continue
		fi
		;;
	"$boot-"*) continue ;;
	*-*-*-*) ;;
	*) continue ;;
	esac
	rm -rf "./$old"
done

mark "$$"
mine=.edge-agent-$boot-$names-$mark
words=$(mkdir "$mine" 2>&1) || refuse dir "$words"
private=$mine
words=$({ : >"$private/program" && chmod 700 "$private/program"; } 2>&1) || refuse space "$words"
# For root too this is no on a file system without exec.
[ -x "$private/program" ] || refuse noexec "its file system is mounted noexec"

printf 'edge-agent platform %s\n' "$platform" 2>/dev/null || leave
line=$(timeout -s KILL "$limit" dd bs=1 count=128 <&3 2>/dev/null)
# shellcheck disable=SC2086 # three words
set -- $line
[ $# = 3 ] || leave # nobody waits any more
words=$(timeout -s KILL "$3" head -c "$1" <&3 2>&1 >"$private/program")
case $? in
0) ;;
137) leave ;; # nor here
*) refuse space "$words" ;;
esac
exec 9<"$private/program"
sum=$(sha256sum <&9)
[ "${sum%% *}" = "$2" ] || refuse cut "it is another one, or half of it"
chmod 755 "$private/program" # of a file that has no name any more when it matters
rm -rf "./$private"
private=''
cd / || exit 1

# From here on nothing of it is on any disk: it runs from what is open. What it
# says to stderr when it breaks may hold what it worked on.
# shellcheck disable=SC2016 # the inner shell's
set -- timeout -s KILL "$3" sh -c 'exec "$0" agent "$1" 2>/dev/null' /proc/self/fd/9 "$where"
case $user in
'' | root) ;;
*) set -- setpriv --reuid="$user" --regid="$group" --init-groups -- "$@" ;;
esac
"$@" <&3 3<&- &
agent=$!
exec 3<&- 9<&-
while
	wait "$agent"
	code=$?
	kill -0 "$agent" 2>/dev/null # a signal has ended the waiting
do :; done
# timeout(1) is the leader of a group: its children's children end with it.
kill -s KILL -- "-$agent" 2>/dev/null
exit "$code"
