# shellcheck shell=bash
# Programs that are not built here but come with the machine. Sourced after
# lock.sh; bash 3.2.

# install_packages LIST installs what of the list is not on PATH: lines of
# COMMAND|DEBIAN PACKAGES|WHAT FOR. As root on Debian it does so by itself;
# else it says in one line what is missing and fails.
install_packages() {
	local line command package missing='' packages=''
	while IFS= read -r line; do
		command=${line%%|*}
		package=${line#*|}
		package=${package%%|*}
		if ! command -v "$command" >/dev/null; then
			missing="$missing $command for ${line##*|};"
			packages="$packages $package"
		fi
	done <<<"$1"
	[[ -n $missing ]] || return 0
	if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
		say "installing$packages"
		apt-get update -qq
		# shellcheck disable=SC2086 # a list
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
		return
	fi
	say "missing:$missing install (Debian: sudo apt-get install$packages; macOS: brew install the same)"
	return 1
}

# What the lab's hosts are made of (internal/testing/lab).
# shellcheck disable=SC2034 # used by those who source this
LAB_PACKAGES="debootstrap|debootstrap|the lab's hosts
systemd-nspawn|systemd-container|the lab's hosts
ip|iproute2|the lab's network
ssh-keygen|openssh-client|the lab's keys
nsenter|util-linux|looking into the lab's hosts"
