# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # what one part of the demo sets another one uses
# What a real failure looks like, stage by stage: each break_STAGE does to the world
# what goes wrong in one, and says so in BROKEN. Sourced by scripts/demo after
# story.sh.

# The stages that can be broken, each with its workflow, the action that has to
# find it, and the check that says so.
BREAKS="plan infra tofu-plan-with-state-backup state-vanished
backup infra tofu-plan-with-state-backup input-offsite
apply infra tofu-apply state-moved
handoff infra emit-handoff instance-state
bootstrap bootstrap nixos-bootstrap host-key-changed
deploy runtime colmena-deploy activation
reboot runtime reboot-validate system-state
backups recovery backup-validate unit-timer
restore recovery restic-restore-check restic-failed
report report recovery-report ledger"

# waits ACTION INPUT TIME has an action of the runtime workflow wait less long
# for what will not come: a demo has less patience than an operator.
waits() {
	local workflow=$source/examples/runtime/workflows/runtime.yml
	awk -v uses="./actions/$1" -v line="          $2: $3" '{ print } $NF == uses { here = 1 } here && $1 == "with:" { print line; here = 0 }' "$workflow" >"$work/workflow"
	cp "$work/workflow" "$workflow"
}

break_plan() {
	BROKEN="the disk with the state is gone: $work/state/edge.tfstate is not there any more"
	mv "$work/state/edge.tfstate" "$work/state/elsewhere"
}

break_backup() {
	BROKEN="the other disk is not mounted: there is a file in the place of $work/other-disk"
	mv "$work/other-disk" "$work/unplugged"
	: >"$work/other-disk"
}

break_apply() {
	BROKEN="somebody applies a change by hand, between this run's plan and its apply"
	local workflow=$source/examples/infra/workflows/infra.yml
	cat >"$work/by-hand" <<-END
		#!/bin/sh -eu
		cp -R "$source/examples/infra/stack" "$work/by-hand.stack"
		cd "$work/by-hand.stack"
		rm -rf .terraform
		sed -i 's/"10.0.0.0\/16"/"10.1.0.0\/16"/' main.tf
		tofu init -input=false -backend-config=path="$work/state/edge.tfstate" >/dev/null
		tofu apply -input=false -auto-approve -no-color
	END
	chmod +x "$work/by-hand"
	awk -v script="$work/by-hand" '/- id: apply$/ { print "      - run: " script; print "" } { print }' "$workflow" >"$work/workflow"
	cp "$work/workflow" "$workflow"
	commit "a step by hand"
}

break_handoff() {
	BROKEN="the cloud has terminated the instance, and the state does not know"
	cloud_is '.instances[0].lifecycleState = "TERMINATED"'
}

break_bootstrap() {
	BROKEN="another machine answers at the instance's address: its host key is not the one of the handoff"
	"$work/bin/labctl" run edge-1 'rm /etc/ssh/ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key && systemctl restart ssh'
}

break_deploy() {
	BROKEN="the new configuration takes the node off the network"
	waits colmena-deploy confirm_timeout 60s
	sed -i 's/label = "demo";/label = "cut"; behaviour = "cut";/' "$source/examples/runtime/hive/hive.nix"
	commit "a mistake in the firewall"
}

break_reboot() {
	BROKEN="somebody has enabled a unit by hand that fails, and only at a boot"
	waits reboot-validate ready_timeout 30s
	commit impatience
	"$work/bin/labctl" run edge-1 'printf "[Service]\nType=oneshot\nExecStart=/bin/sh -c \"echo no such device >&2; exit 1\"\n[Install]\nWantedBy=multi-user.target\n" >/etc/systemd/system/by-hand.service && systemctl -q enable by-hand'
}

break_backups() {
	BROKEN="somebody has stopped the timer of the LFS mirror, months ago; its last run was good"
	"$work/bin/labctl" run forgejo-pi 'systemctl -q disable --now rclone-lfs.timer'
}

break_restore() {
	BROKEN="one byte of a pack in the shared repository has changed on its disk, where its provider does not look"
	# shellcheck disable=SC2016 # the host's own
	"$work/bin/labctl" run offsite 'cd /srv/vault/rest/data && pack=$(find . -type f -printf "%s %p\n" | sort -n | sed -n "\$s/^[0-9]* //p") && at=$(($(stat -c %s "$pack") / 2)) &&
		byte=$(od -An -tu1 -j "$at" -N 1 "$pack") && printf "\\$(printf %o $((byte ^ 1)))" | dd of="$pack" bs=1 seek="$at" conv=notrunc status=none && ls -l "$pack"'
}

break_report() {
	BROKEN="somebody has edited the ledger: a verdict of old reads proven now"
	sed -i '2s/"proven"/"Proven"/' "$work/ledger/ledger.jsonl"
}
