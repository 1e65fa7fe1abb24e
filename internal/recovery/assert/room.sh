# Makes a room of the restored tree and the system's programs, and runs a
# command in it. It runs in namespaces of its own, so nothing of this is seen
# outside of them or is left when the last process in them has ended.
#   $1 an empty directory, $2 the restored tree, $3 the command's home, then the
#   command
set -eu
room=$1 tree=$2 home=$3
shift 3
program=$1

mount -t tmpfs -o mode=0755,size=16m room "$room"

# bind SOURCE: the same place in the room, read-only. A bind mount takes the
# flags of its source with it only if they are named again.
bind() {
	if [ -d "$1" ]; then
		mkdir -p "$room$1"
	else
		mkdir -p "$room${1%/*}"
		: >"$room$1"
	fi
	mount --bind "$1" "$room$1"
	mount -o remount,bind,ro "$room$1" || mount -o remount,bind,ro,nosuid,nodev "$room$1"
}

for dir in /bin /sbin /lib /lib32 /lib64 /libx32 /usr /nix/store /run/current-system; do
	if [ -L "$dir" ]; then
		mkdir -p "$room${dir%/*}"
		cp -P "$dir" "$room$dir"
	elif [ -d "$dir" ]; then
		bind "$dir"
	fi
done
for file in /etc/ld.so.cache /etc/passwd /etc/group /etc/alternatives; do
	[ ! -e "$file" ] || bind "$file"
done
for device in null zero full random urandom; do
	mkdir -p "$room/dev"
	: >"$room/dev/$device"
	mount --bind "/dev/$device" "$room/dev/$device"
done
mkdir -p "$room/proc" "$room$home" "$room/tmp"
mount -t proc proc "$room/proc"
mount --bind "$home" "$room$home"
bind "$tree"
case $program in
/*) [ -e "$room$program" ] || bind "$program" ;;
esac
cd "$room"
# The shell stays: it is process 1 of its namespace, and to that one the kernel
# delivers no signal that it has no handler for, abort's included.
exec chroot . /bin/sh -c 'cd "$1" && shift && "$@"; exit $?' room "$tree" "$@"
