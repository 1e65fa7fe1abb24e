#!/bin/sh
# The host's hardware, for as long as the host is on: what is before its first
# process, and what boots it again when it reboots (exit code 133).
#   supervisor.sh DIR NETNS HOSTNAME BIN BASE
# Without a control group of its own a host would share its units' with the
# others, and a "systemctl kill" on one would kill on all; without a time
# namespace its uptime would be this machine's.
cd "$1" || exit 1
for tree in /sys/fs/cgroup /sys/fs/cgroup/*; do
	[ -e "$tree/cgroup.procs" ] && mkdir -p "$tree/$2" && echo $$ >"$tree/$2/cgroup.procs"
done 2>/dev/null
base=$5
share=/usr/local/share/lab

fault() { grep -qs "\"$1\":true" lab/state.json; }
overlay() { # overlay NAME: a new one at NAME
	umount --lazy "$1" 2>/dev/null
	rm -rf "$1.upper" "$1.work"
	mkdir -p "$1" "$1.upper" "$1.work"
	mount -t overlay overlay -o "lowerdir=$base,upperdir=$1.upper,workdir=$1.work" "$1"
}

# What does not come from a machine's disk: its name, its network, and the key
# that a node's system has in its configuration.
wire() {
	mkdir -p "$1/etc/lab" && cp root/etc/hostname root/etc/hosts "$1/etc/" && cp root/etc/lab/network "$1/etc/lab/" && cp "root$share/operator.pub" "$1$share/"
}

# What kexec starts runs in memory, with the keys that it was given; the disk
# that it may format is a new one, for the old one is still the machine's.
in_memory() {
	overlay installer && overlay disk || return
	wire installer
	wire disk
	cp -a lab/kexec.used/. installer/etc/ssh/
	chroot installer /bin/sh "$share/installer" && chroot disk /bin/sh "$share/wipe"
	esp=/disk/boot/efi
	mkdir -p "disk/boot/efi"
	disk="--bind=$PWD/disk:/disk"
	tree=installer
}

# formatted has the disk that was formatted be the machine's.
formatted() {
	umount --lazy root disk
	rm -rf upper work
	mv disk.upper upper && mv disk.work work && mount -t overlay overlay -o "lowerdir=$base,upperdir=upper,workdir=work" root
}

# The system of the boot loader's default.
system() {
	entry=$(sed -n 's/^default //p' boot/loader/loader.conf) && [ -n "$entry" ] &&
		sed -n 's/.*init=\([^ ]*\)\/init.*/\1/p' "boot/loader/entries/$entry"
} 2>/dev/null

while :; do
	tree=root disk='' esp=/boot system='' turned=''
	[ ! -e bare ] || esp=/boot/efi
	if [ -e lab/formatted ]; then
		rm lab/formatted
		formatted
		turned=yes
		[ -e boot/loader/loader.conf ] || : >hold # there is nothing to boot
	fi
	if [ -e lab/kexec ]; then
		rm -rf lab/kexec.used
		mv lab/kexec lab/kexec.used
		turned=yes
		fault old_system || in_memory
	else
		[ ! -e root/etc/NIXOS_LUSTRATE ] || turned=yes
		[ -n "$turned" ] && fault old_system || system=$(system)
	fi
	if [ -n "$system" ]; then
		[ ! -e root/etc/NIXOS_LUSTRATE ] || chroot root /bin/sh "$share/lustrate"
		chroot root /bin/sh "$share/etc" "$system"
	fi
	if [ -n "$turned" ]; then
		if fault host_key_changes; then
			rm -f "$tree"/etc/ssh/ssh_host_*
			ssh-keygen -q -t ed25519 -N '' -C "$3" -f "$tree/etc/ssh/ssh_host_ed25519_key"
		fi
		! fault never_back || : >hold
		seconds=$(sed -n 's/.*"slow_boot_seconds":\([0-9.]*\).*/\1/p' lab/state.json 2>/dev/null)
		sleep "${seconds:-0}"
	fi
	[ -s "$tree/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$tree/etc/machine-id"
	printf '%s\n' "$system" >lab/init
	while [ -e hold ]; do sleep 0.02; done
	read -r up _ </proc/uptime
	# shellcheck disable=SC2086 # it is one word or none
	unshare --time --monotonic="-${up%.*}" --boottime="-${up%.*}" \
		systemd-nspawn -q -D "$tree" --boot --register=no --keep-unit --network-namespace-path=/run/netns/"$2" --resolv-conf=off \
		--link-journal=no --machine="$2" --hostname="$3" --console=pipe --capability=CAP_NET_ADMIN \
		$disk --bind="$1/boot:$esp" --bind="$1/lab:/var/lib/lab" --bind-ro="$4:/usr/local/lab" \
		</dev/null
	[ $? = 133 ] || exit 0
done >>console 2>&1
