#!/bin/sh
# What a running node says about itself, in one JSON document on stdout.
#   probe.sh GROUPS UNITS PORTS [ROOT]
# GROUPS are some of: host machine system loader space disk systemd tailscale
# k3s ports secrets sshd oci. ROOT is put before every path; it is empty but in tests.
# Runs as root, under any POSIX sh. Every output is base64, so nothing that is
# read here can break the document. "complete" comes last.
set -u
export LC_ALL=C
umask 077
groups=" $1 " units=$2 ports=$3 key=$4 root=${5-}
PATH=$PATH:$root/run/wrappers/bin:$root/run/current-system/sw/bin:$root/usr/local/bin:$root/usr/sbin:$root/usr/bin:$root/sbin:$root/bin
# client, its port, server, its port
# shellcheck disable=SC2086 # four words
set -- ${SSH_CONNECTION-}
client=${1-127.0.0.1} server=${3-127.0.0.1} port=${4-22}

dir=$(mktemp -d "$root/run/edge-probe.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT PIPE TERM

asked() { case $groups in *" $1 "*) ;; *) return 1 ;; esac; }

# fact NAME BLOCKS COMMAND...: beside the others. Who writes more than so many
# blocks (of 512 bytes, in bash of 1024) is killed for it.
names=
fact() {
	names="$names $1"
	{
		n=$1
		ulimit -f "$2"
		shift 2
		"$@"
		echo $? >"$dir/$n.rc"
	} >"$dir/$1.out" 2>"$dir/$1.err" </dev/null &
}

# first KEY FILE: the first line of a file
first() {
	v=
	IFS= read -r v <"$2" || [ -n "$v" ] || return
	printf '%s=%s\n' "$1" "$v"
}

# real KEY LINK: the directory that a link leads to, without a process
real() { cd -P -- "$2" && printf '%s=%s\n' "$1" "${PWD#"$root"}"; }

host() {
	date +now=%s
	first uptime "$root/proc/uptime"
	first boot_id "$root/proc/sys/kernel/random/boot_id"
	first hostname "$root/proc/sys/kernel/hostname"
	first kernel "$root/proc/sys/kernel/osrelease"
	first machine_id "$root/etc/machine-id"
	if [ -r "$root/proc/sys/kernel/arch" ]; then # Linux 6.1
		first arch "$root/proc/sys/kernel/arch"
	else
		v=$(uname -m) && printf 'arch=%s\n' "$v"
	fi
	while IFS= read -r v; do
		case $v in ID=*) printf 'os=%s\n' "${v#ID=}" ;; esac
	done <"$root/etc/os-release"
}

# What the machine is, and how far it is on its way to NixOS.
machine() {
	while read -r key v rest; do
		case $key in MemTotal:) printf 'memory=%s %s\n' "$v" "$rest" ;; esac
	done <"$root/proc/meminfo"
	while IFS= read -r v; do
		case $v in VARIANT_ID=installer | VARIANT_ID='"installer"') echo way=installer ;; esac
	done <"$root/etc/os-release"
	[ -e "$root/etc/NIXOS" ] && echo way=nixos
	[ -e "$root/etc/NIXOS_LUSTRATE" ] && echo way=lustrate
	echo way=
}

system() {
	real booted "$root/run/booted-system"
	real current "$root/run/current-system"
	real profile "$root/nix/var/nix/profiles/system"
	v=$(readlink "$root/nix/var/nix/profiles/system") && printf 'generation=%s\n' "$v"
	for v in "$root"/run/current-system/kernel-modules/lib/modules/*; do
		[ -d "$v" ] && printf 'modules=%s\n' "${v##*/}"
	done
}

# systemd-boot: the entries that "default" names, as it is, without .conf, and
# with the counter of boots that is a part of the file's name.
loader() {
	for v in LoaderEntryDefault LoaderEntryOneShot; do
		[ -e "$root/sys/firmware/efi/efivars/$v-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f" ] && printf 'override=%s\n' "$v"
	done
	for v in $esps; do printf 'esp=/%s\n' "$v"; done
	if [ -z "$esp" ]; then
		while IFS= read -r v; do
			case $v in next_entry=* | saved_entry=*) printf 'grubenv=%s\n' "$v" ;; esac
		done <"$root/boot/grub/grubenv"
		return
	fi
	default='' preferred=''
	while read -r key v; do
		case $key in
		default) default=$v ;;
		preferred) preferred=$v ;; # systemd 258; goes before default
		esac
	done <"$root/$esp/loader/loader.conf"
	default=${preferred:-$default}
	printf 'default=%s\n' "$default"
	case $default in '' | */* | @*) return ;; esac
	IFS=
	# shellcheck disable=SC2231 # "default" is a pattern
	for v in "$root/$esp"/loader/entries/$default "$root/$esp"/loader/entries/$default.conf "$root/$esp"/loader/entries/${default%.conf}+*.conf; do
		[ -f "$v" ] || continue
		options=''
		while IFS=' 	' read -r key line; do
			[ "$key" = options ] && options="$options $line"
		done <"$v"
		printf 'entry=%s%s\n' "${v##*/}" "$options"
	done
}

space() {
	cd "$root/" && timeout -k 1 5 stat -f -c 'space=%S %b %a %c %d %n' "${esp:-boot}" nix/store
}

text() {
	for g in host machine system loader space; do
		if asked "$g"; then $g; fi
	done
	echo end=
}

secrets() {
	cd "$root/" || return
	v=${key#/}
	if [ -e run/secrets ]; then
		timeout -k 1 5 find -H run/secrets -printf '%y %m %U %G %s %p\0' || return
	fi
	# Of the key's directory only the key: it may have neighbours.
	[ ! -e "${v%/*}" ] || timeout -k 1 5 find -H "${v%/*}" -maxdepth 1 \( -path "${v%/*}" -o -path "$v" \) -printf '%y %m %U %G %s %p\0'
}

# Both run in a shell of their own, under one timeout. What is captured in a
# variable has no bound, so nothing of theirs is.
in_systemd='printf state=
systemctl is-system-running
[ $# -eq 0 ] || systemctl show --no-pager --property=Id,Names,LoadState,ActiveState,SubState -- "$@" || exit
echo failed:
systemctl list-units --failed --plain --no-legend --full --no-pager && echo end:'
# shellcheck disable=SC2016
in_ports='host=$1
shift
for port; do
	if : 3<>"/dev/tcp/$host/$port"; then echo "$port open"; else echo "$port closed"; fi &
done
wait'

esps='' esp=''
if asked loader || asked space; then
	for v in efi boot/efi boot; do
		[ -f "$root/$v/loader/loader.conf" ] && esp=$v esps="$v $esps"
	done
fi
if asked k3s; then # the slowest first
	[ -e "$root/etc/rancher/k3s/k3s.yaml" ] && export KUBECONFIG="$root/etc/rancher/k3s/k3s.yaml"
	kubectl=kubectl
	command -v kubectl >/dev/null || kubectl='k3s kubectl'
	# shellcheck disable=SC2086 # one word or two
	fact k3s 8192 timeout -k 1 15 $kubectl get nodes,deployments.apps,pods -A -o json --request-timeout=10s
fi
# shellcheck disable=SC2086 # units and ports are lists, without patterns
{
	asked systemd && fact systemd 1024 timeout -k 1 15 sh -c "$in_systemd" probe $units
	# A port answers at once; the time is for a bash on a node that is busy.
	asked ports && fact ports 64 timeout -k 1 5 bash -c "$in_ports" probe "$server" $ports
}
asked tailscale && fact tailscale 1024 timeout -k 1 10 tailscale status --json --peers=false
if asked sshd; then # it wants to be called by its full path
	v=$(command -v sshd)
	fact sshd 256 timeout -k 1 5 "${v:-sshd}" -T -C "user=root,host=$client,addr=$client,laddr=$server,lport=$port"
fi
asked oci && fact oci 16 timeout -k 1 5 curl -sSf -m 2 -H 'Authorization: Bearer Oracle' http://169.254.169.254/opc/v2/instance/id
asked disk && fact disk 256 timeout -k 1 5 lsblk --json --bytes --output PATH,LABEL,FSTYPE,SIZE,FSAVAIL,MOUNTPOINTS
asked secrets && fact secrets 1024 secrets
case $groups in *' host '* | *' machine '* | *' system '* | *' loader '* | *' space '*) fact text 512 text ;; esac
asked loader && [ -z "$esp" ] && fact grub 256 head -c 65536 "$root/boot/grub/grub.cfg"
wait

# The journals of the first failed units.
journal() { echo "$1" && timeout -k 1 5 journalctl --no-pager -q -b -n 20 -u "$1"; }
exit=1
asked systemd && [ -s "$dir/systemd.rc" ] && read -r exit <"$dir/systemd.rc"
if [ "$exit" = 0 ]; then
	n=0 v=''
	while [ $n -lt 5 ] && read -r line rest; do
		case $v$line in
		failed:) v=unit= ;;
		unit=end:) break ;;
		unit=*)
			n=$((n + 1))
			fact "journal-$n" 64 journal "$line"
			;;
		esac
	done <"$dir/systemd.out"
	wait
fi

ok=true v=''
printf '{"schema":"edge-actions/probe/v1","facts":{'
for n in $names; do
	exit=-1 # killed for what it wrote
	[ -s "$dir/$n.rc" ] && read -r exit <"$dir/$n.rc"
	printf '%s"%s":{"exit":%d,"out":"' "$v" "$n" "$exit"
	base64 -w0 <"$dir/$n.out" || ok=false
	if [ -s "$dir/$n.err" ]; then
		printf '","err":"'
		head -c 4096 "$dir/$n.err" | base64 -w0 || ok=false
	fi
	printf '"}'
	v=,
done
printf '},"complete":%s}\n' "$ok"
