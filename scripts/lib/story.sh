# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # what one part of the demo sets another one uses
# The world of the demo and the workflows that run in it: what an operator has, in
# a directory of its own, and act as the runner. Sourced by scripts/demo after lock.sh,
# packages.sh and recovery.sh; bash 3.2.

# story_tools [LAB] installs and builds what the story needs.
story_tools() {
	require_go "the demo"
	install_packages "zstd|zstd|opening an archive
ssh-keygen|openssh-client|the handoff's signature"
	[[ -z ${1-} ]] || install_packages "$LAB_PACKAGES
nix-build|nix-bin|building the node's system
node|nodejs|the action with a post phase
jq|jq|the handoff's facts
rclone|rclone|the mirror of LFS objects
openssl|openssl|the keys of those that are backed up"
	local dir
	while IFS= read -r dir; do PATH=$dir:$PATH; done < <(scripts/tools/install act age sops tofu ${1:+restic rest-server})
	export PATH
	# A configuration of this machine's would make another story of it.
	unset "${!TF_@}" "${!INPUT_@}" "${!GITHUB_@}" "${!ACT_@}" "${!EDGE_ACTIONS_@}"
}

# story_world DIR [LAB] makes the world in DIR: what the operator has once (a place for
# the state, another disk, keys), a checkout and, with LAB, a bare test host in
# the place of the instance and a double of Oracle's API whose rules are its door.
story_world() {
	work=$1
	endpoint=''
	mkdir -p "$work/state" "$work/other-disk" "$work/keys" "$work/log"
	age-keygen -o "$work/keys/archive.txt" 2>/dev/null
	ssh-keygen -q -t ed25519 -N '' -C handoff -f "$work/keys/handoff"
	ssh-keygen -q -t ed25519 -N '' -C runner -f "$work/keys/ledger"
	echo "operator $(cat "$work/keys/handoff.pub")" >"$work/allowed_signers"
	# act runs the checkout that git knows, so the story has one of its own: there the
	# stack is told of the test host, as a cloud would tell it.
	source=$work/checkout
	mkdir "$source"
	tar -c --exclude=./.git --exclude=./.cache . | tar -x -C "$source"
	[[ -z ${2-} ]] || story_cloud
	git -C "$source" init -q -b main
	commit "the beginning"
}

commit() {
	git -C "$source" add -A
	git -C "$source" -c user.name=demo -c user.email=demo@localhost commit -q --allow-empty -m "$1"
}

# story_cloud brings up the instance and the API.
story_cloud() {
	mkdir -p "$work/bin" "$work/cloud" "$work/config/nix"
	CGO_ENABLED=0 go build -trimpath -o "$work/bin/" ./internal/testing/lab/labctl ./internal/testing/ocitest/ocid ./internal/testing/colmenatest/colmena
	ln -s colmena "$work/bin/nixos-rebuild"
	# Colmena is a double here, Nix is not; this keeps its builds to this machine.
	printf 'sandbox = false\nbuild-users-group =\nsubstituters =\n' >"$work/config/nix/nix.conf"
	export PATH=$work/bin:$PATH XDG_CONFIG_HOME=$work/config NIX_REMOTE=''
	nix=(--env XDG_CONFIG_HOME="$work/config" --env NIX_REMOTE=)
	"$work/bin/labctl" up 1 --bare >"$work/lab"
	lab_up=yes
	cut -f 1-5 "$work/lab"
	identity=$(sed -n 's/^identity\t//p' "$work/lab")
	IFS=$'\t' read -r _ address public _ _ host_key _ <<<"$(sed -n 's/\t\t/\t-\t/g; /^edge-1\t/p' "$work/lab")"
	runner=${address%.*}.1 # where this machine comes from
	# shellcheck disable=SC2016 # its own arguments
	printf '#!/bin/sh\nexec %s door "$3" "$1"\n' "$work/bin/labctl" >"$work/bin/door"
	chmod +x "$work/bin/door"
	cloud_up -node "edge-1=$public,$address"
	# A volume, as the stack has one.
	cloud_is '.volumeAttachments = [{attachmentType: "paravirtualized", id: "ocid1.volumeattachment.oc1.eu-frankfurt-1.data", compartmentId: .instances[0].compartmentId,
		availabilityDomain: .instances[0].availabilityDomain, instanceId: .instances[0].id, volumeId: "ocid1.volume.oc1.eu-frankfurt-1.data",
		device: "/dev/oracleoci/oraclevdb", lifecycleState: "ATTACHED", timeCreated: .instances[0].timeCreated}]'
	# What the cloud says of the instance is what the stack provisions.
	facts=$source/examples/infra/stack/lab.auto.tfvars.json
	jq --arg key "$host_key" --arg public "$public" --arg private "$address" '{nodes: {"edge-1": {private_ip: $private, public_ip: $public, ssh_host_key: $key,
		instance_id: .instances[0].id, availability_domain: .instances[0].availabilityDomain, subnet_id: .subnets[0].id, volume_id: .volumeAttachments[0].volumeId}}}' \
		"$work/cloud/world.json" >"$facts"
	"$work/bin/labctl" instance edge-1 "$(jq -r '.instances[0].id' "$work/cloud/world.json")"
	cp "$identity.pub" "$source/examples/runtime/hive/operator.pub"
	printf 'Host edge-1\n  HostName %s\n' "$address" >"$work/ssh_config" # what the tailnet's DNS does elsewhere
	# The secrets, for the runner alone; the node's own key is one of them.
	age-keygen -o "$work/keys/runner.txt" 2>/dev/null
	age-keygen -o "$work/keys/node.txt" 2>/dev/null
	jq -n --rawfile key "$work/keys/node.txt" --arg rustdesk "$(openssl rand -hex 16 | tee "$work/keys/rustdesk")" '{node_age_key: $key, rustdesk: {private_key: $rustdesk}}' |
		sops encrypt --age "$(age-keygen -y "$work/keys/runner.txt"),$(age-keygen -y "$work/keys/node.txt")" --input-type json --output-type yaml --filename-override secrets.sops.yaml /dev/stdin >"$source/secrets.sops.yaml"
}

# cloud_up ARGUMENT... starts the API; its world is a file between two runs.
cloud_up() {
	: >"$work/cloud/out"
	"$work/bin/ocid" -world "$work/cloud/world.json" -config "$work/cloud" -source "$runner" -on-change "$work/bin/door" "$@" >"$work/cloud/out" 2>"$work/cloud/log" &
	cloud=$!
	local i
	for ((i = 0; i < 100; i++)); do
		[[ ! -s $work/cloud/out ]] || break
		sleep 0.1
	done
	endpoint=$(sed -n 's/^serving \([^ ]*\) .*/\1/p' "$work/cloud/out")
}

# cloud_is FILTER has the world be what jq makes of it.
cloud_is() {
	kill "$cloud"
	wait "$cloud" || true
	jq "$1" "$work/cloud/world.json" >"$work/cloud/new"
	mv "$work/cloud/new" "$work/cloud/world.json"
	cloud_up
}

story_end() {
	[[ -z ${cloud-} ]] || kill "$cloud" 2>/dev/null || true
	[[ -z ${lab_up-} ]] || "$work/bin/labctl" down || true
	rm -rf "$work"
}

# run_act EVENT WORKFLOW ARGUMENT... runs the workflow of an example. The directory of
# act's cache is its tool cache too: that is where the launcher keeps binaries.
# What a runner is told once for all its jobs comes as --env.
run_act() {
	local event=$1 workflow=$2
	shift 2
	(
		cd "$source" || exit
		mkdir -p "$work/tmp"
		export TMPDIR=$work/tmp
		exec act "$event" --workflows "examples/${workflow%/*}/workflows/${workflow#*/}.yml" --platform self-hosted=-self-hosted --rm \
			--env GITHUB_REPOSITORY="example/${workflow%/*}" --env EDGE_ACTIONS_LEDGER="$work/ledger" --env EDGE_ACTIONS_LEDGER_KEY="$work/keys/ledger" "$@" 2>&1
	)
}

# shown keeps of act's log what its steps say, and what becomes of them.
shown() {
	grep -E '^\[[a-z-]+/' | grep -vE '⚙|Post \./|Complete job|Cleaning up' | sed -u 's/^\[[a-z-]*\/[a-z-]*\] *//' | tee -a "$work/log/shown"
}

# Each workflow of the story, as its trigger would start it. ACCEPT_STATE of the
# first is "new" once.
workflow_infra() {
	run_act push infra/infra --var STACK=demo --var RUNNER_DIR="$work/runner" --var STATE_PATH="$work/state/edge.tfstate" \
		--var OFFSITE="$work/other-disk" --var AGE_RECIPIENTS="$(age-keygen -y "$work/keys/archive.txt")" \
		--var SIGNING_KEY="$work/keys/handoff" --var HANDOFF_DIR="$work/handoff" --var ACCEPT_STATE="${1-}" \
		${endpoint:+--var VERIFY=oci --var OCI_CONFIG_FILE="$work/cloud/config" --var OCI_ENDPOINT="$endpoint"}
}

workflow_bootstrap() {
	local infect=internal/testing/infecttest/nixos-infect
	run_act workflow_dispatch bootstrap/bootstrap "${nix[@]}" --input mode=apply \
		--var HIVE=examples/runtime/hive --var HANDOFF_PATH="$work/handoff/handoff.json" --var HANDOFF_SIGNER="$(cat "$work/keys/handoff.pub")" \
		--var SECRETS_FILE=secrets.sops.yaml --var AGE_KEY_FILE="$work/keys/runner.txt" --var NODE_AGE_RECIPIENT="$(age-keygen -y "$work/keys/node.txt")" \
		--var INFECT_SCRIPT="$infect" --var INFECT_SHA256="$(sha256sum "$infect" | cut -d ' ' -f 1)" --var IDENTITY_FILE="$identity" --var SSH_CONFIG=none \
		--var SOURCE="$runner" --var ARCHITECTURE="$(uname -m)" --var OCI_CONFIG_FILE="$work/cloud/config" --var OCI_ENDPOINT="$endpoint" --var RUNNER_DIR="$work/runner"
}

workflow_runtime() {
	run_act push runtime/runtime "${nix[@]}" \
		--var HIVE=examples/runtime/hive --var HANDOFF_PATH="$work/handoff/handoff.json" --var HANDOFF_SIGNER="$(cat "$work/keys/handoff.pub")" \
		--var IDENTITY_FILE="$identity" --var SSH_CONFIG="$work/ssh_config" --var TAILNET=off --var REBOOT=true \
		--var AGE_KEY_FILE="$work/keys/node.txt" --var AGE_RECIPIENT="$(age-keygen -y "$work/keys/node.txt")"
}

workflow_recovery() {
	run_act schedule recovery/recovery \
		--var CHECKS_DIR="$work/checks" --var HOST_KEYS="$(cat "$work/recovery/host_keys")" --var SSH_CONFIG="$work/recovery/ssh_config" --var TAILNET=off \
		--var HANDOFF_PATH="$work/handoff/handoff.json" --var HANDOFF_SIGNER="$(cat "$work/keys/handoff.pub")" --var IDENTITY_FILE="$identity" \
		--var REPOSITORY_FILE="$work/recovery/secrets/repository" --var PASSWORD_FILE="$work/recovery/secrets/shared.password" \
		--var CACERT="$work/recovery/secrets/vault.pem" --var REPOSITORY_ID="$SHARED_ID" --var SCRATCH_DIR="$work/rehearsals" \
		--var RUNNER_REPOSITORY_ID="$RUNNER_ID" --var RUNNER_PASSWORD_FILE="$work/recovery/secrets/runner.password" --var RUNNER_DIR="$work/runner"
}

workflow_rehearse() {
	run_act schedule schedules/rehearse \
		--var REPOSITORY_FILE="$work/recovery/secrets/repository" --var PASSWORD_FILE="$work/recovery/secrets/shared.password" \
		--var CACERT="$work/recovery/secrets/vault.pem" --var REPOSITORY_ID="$SHARED_ID" --var SCRATCH_DIR="$work/rehearsals" \
		--var BACKUP_HOST=forgejo-pi --var BACKUP_PATHS="/etc/forgejo
/var/lib/forgejo" --var ASSERTIONS=examples/recovery/assertions/control-plane.yaml \
		--var STACK=demo --var STACK_PATH=examples/infra/stack --var RUNNER_DIR="$work/runner" --var OFFSITE="$work/other-disk" --var AGE_IDENTITY_FILE="$work/keys/archive.txt"
}

workflow_drift() {
	run_act schedule schedules/drift --var STACK=demo --var STACK_PATH=examples/infra/stack --var STATE_PATH="$work/state/edge.tfstate" --var RUNNER_DIR="$work/runner"
}

workflow_report() {
	run_act schedule schedules/report --var LEDGER_SIGNERS="$work/keys/ledger.pub" --var REPORT_DIR="$work/report" --var REPORT_STATE_DIR="$work/seen"
}

# story_backups has the node, a control plane and the runner backed up, and the
# contracts say so.
story_backups() {
	recovery_world examples/recovery/hosts "$work/recovery" "$work/runner" "$work/bin/labctl" "$address" "$host_key"
	sed 1d "$work/recovery/lab" | cut -f 1-4
	cat "$work/recovery/timers"
	# The operator writes the ids down when the repositories are made.
	sed -E -i "s|1{64}|$SHARED_ID|; s|2{64}|$RUNNER_ID|; s|/srv/edge/|$work/|g" "$source/examples/recovery/recovery.yaml"
	commit contracts
}
