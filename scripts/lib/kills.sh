# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # what one part of the demo sets another one uses
# The runner is killed at random moments of the story's workflows, and after each
# the same workflow, run again, has to end proven and leave nothing half-done.
# Sourced by scripts/demo after story.sh, on Linux as root.

# Of 20 kills, how many are in which workflow.
KILLS="infra infra infra infra infra infra infra bootstrap bootstrap bootstrap runtime runtime runtime runtime runtime recovery recovery recovery rehearse rehearse"

# campaign COUNT SEED kills COUNT times. The seed decides which workflow and, as a
# part of the time that it takes, when; what the machine does at that moment it
# does not decide.
campaign() {
	local count=$1 number=0 early=0 workflow moment pid
	local -a choice
	local -A lasts
	read -r -a choice <<<"$KILLS"
	begin "$count kills of the runner at random moments, seed $2"
	seed=$2
	lineage=$(jq -r .lineage "$work/state/edge.tfstate")
	: >"$work/log/campaign"
	: >"$work/began"
	markers
	while ((number < count)); do
		draw ${#choice[@]}
		workflow=${choice[$drawn]}
		"before_$workflow" "$((number + early))" >>"$work/log/campaign" 2>&1
		if [[ -z ${lasts[$workflow]-} ]]; then
			moment=$(milliseconds)
			again "$workflow" || broken "$workflow did not end well before any kill"
			lasts[$workflow]=$(($(milliseconds) - moment))
			sound "$workflow"
			"before_$workflow" "first" >>"$work/log/campaign" 2>&1
		fi
		draw 1000
		moment=$((lasts[$workflow] * drawn / 1000))
		"workflow_$workflow" >"$work/log/killed" 2>&1 &
		pid=$!
		sleep "$((moment / 1000)).$(printf %03d $((moment % 1000)))"
		if ! kill_runner "$pid"; then
			early=$((early + 1)) # it was faster this time
			continue
		fi
		number=$((number + 1))
		printf '%4d  %-9s killed after %5d of about %5d ms, in %s\n' "$number" "$workflow" "$moment" "${lasts[$workflow]}" "$(last_step)"
		again "$workflow" || broken "kill $number of seed $2: $workflow, run again, did not end well"
		sound "$workflow"
	done
	step "$count kills, seed $2: after each the same workflow, run again, ended proven, with nothing half-done ($early runs ended before their moment and were not counted)"
}

# broken WHAT ends the demo, with the logs that matter.
broken() {
	say "--- the end of the killed run"
	shown <"$work/log/killed" | tail -n 15 >&2
	say "--- the end of the run after it"
	shown <"$work/log/again" | tail -n 40 >&2
	fail "$1" "the whole logs are $work/log/killed and $work/log/again, if --keep is given"
}

# draw N sets drawn to a number below N. (A generator of our own, because RANDOM
# starts anew in a subshell.)
draw() {
	seed=$(((seed * 1103515245 + 12345) % 2147483648))
	drawn=$((seed / 65536 % $1))
}

milliseconds() { date +%s%3N; }

again() { "workflow_$1" >"$work/log/again" 2>&1; }

# last_step is what the killed run was in.
last_step() { sed -n 's/.*⭐ Run Main \(actions\/[a-z]*\|\.\/actions\/[a-z-]*\).*/\1/p' "$work/log/killed" | sed -n '$p' | sed 's/^$/the start/'; }

# kill_runner PID ends the runner that the shell PID has started, as a runner is
# ended: itself and the process group of its step, at once and with SIGKILL. What
# has taken a session of its own lives on.
kill_runner() {
	local act=$1 child group
	while [[ -n $act && $(cat "/proc/$act/comm" 2>/dev/null) != act ]]; do
		act=$(pgrep -P "$act" | sed -n 1p)
	done
	[[ -n $act ]] && kill -STOP "$act" 2>/dev/null || return 1
	for child in $(pgrep -P "$act"); do
		group=$(ps -o pgid= -p "$child" | tr -d ' ')
		[[ -z $group ]] || kill -KILL -- "-$group" 2>/dev/null || true
	done
	kill -KILL "$act"
	wait "$1" 2>/dev/null || true
}

# before_WORKFLOW makes something to do for it: a killed run that had nothing to
# change proves little.
before_infra() {
	jq --arg shape "VM.Standard.A1.Flex.$1" '.nodes["edge-1"].shape = $shape' "$facts" >"$work/facts"
	mv "$work/facts" "$facts"
	commit "change $1"
}
before_bootstrap() { "$work/bin/labctl" rollback edge-1; }
before_runtime() {
	sed -i -E "s/label = \"[a-z0-9-]*\"/label = \"demo-$1\"/" "$source/examples/runtime/hive/hive.nix"
	commit "change $1"
}
# A node that was made anew gets its data and its backups again.
before_recovery() {
	"$work/bin/labctl" run edge-1 '[ -e /root/furnish ]' || {
		recovery_furnish "$work/recovery" "$work/bin/labctl" edge-1
		"$work/bin/labctl" run edge-1 'systemctl start restic-backups-borgbase'
	}
}
before_rehearse() { :; }

# markers writes down what must be nowhere but in its place.
markers() {
	local file
	for file in "$work"/keys/{archive,runner,node}.txt; do grep -h AGE-SECRET "$file"; done >"$work/keys/markers"
	cat "$work"/keys/rustdesk "$work"/recovery/secrets/*.password >>"$work/keys/markers"
	chmod 600 "$work/keys/markers"
}

# sound WORKFLOW looks at the world after a run that ended well.
sound() {
	local bad
	bad=$(unsound "$1")
	[[ -z $bad ]] || broken "after the run that ended well: $bad"
}

# unsound WORKFLOW prints what is wrong, a line each.
unsound() {
	local dir found
	# A door: a rule that lets the public in, or a lease.
	jq -e '[.securityRules // {} | .. | objects | select(.description? // "" | test("edge-actions"))] == []' "$work/cloud/world.json" >/dev/null || echo "there is a lease in the cloud"
	dir=${address%.*}
	found=$(ip -n "ea${dir##*.}-edge-1" rule list pref 5)
	[[ $found == *blackhole* ]] || echo "the door of edge-1 is open"
	# A half-live system.
	# shellcheck disable=SC2016 # the host's own
	found=$("$work/bin/labctl" run edge-1 'live=$(readlink -f /run/current-system)
		[ "$live" = "$(readlink -f /nix/var/nix/profiles/system)" ] || echo "edge-1 runs another system than its profile says"
		esp=/boot; [ ! -d /boot/efi/loader ] || esp=/boot/efi
		grep -qF "init=$live/init" "$esp/loader/entries/$(sed -n "s/^default //p" "$esp/loader/loader.conf")" || echo "edge-1 would boot another system than it runs"
		systemctl list-units --no-legend --plain "edge-actions-*" | grep -v "dead" | sed "s/^/edge-1 has a unit of ours: /"
		find /var/lib/edge-actions/rehearsals /var/tmp/edge-actions -mindepth 1 2>/dev/null | sed "s/^/edge-1 has litter: /"') || echo "edge-1 can't be looked at"
	echo "$found" | sed '/^$/d'
	# The state, and each archive of it, here and on the other disk.
	[[ $(jq -r .lineage "$work/state/edge.tfstate") == "$lineage" && $(jq '.resources | length' "$work/state/edge.tfstate") == 3 ]] || echo "the state is not what it was"
	for dir in "$work"/other-disk/demo/*/ "$work"/runner/stacks/demo/archives/*/; do
		[[ -e $dir ]] || continue
		(cd "$dir" && sha256sum --status -c SHA256SUMS) || echo "$dir is no whole archive"
	done
	if [[ $1 == infra ]]; then
		dir=$(find "$work/other-disk/demo" -mindepth 1 -maxdepth 1 -type d | sort | sed -n '$p')
		age -d -i "$work/keys/archive.txt" "$dir/state.tfstate.zst.age" | zstd -qd | cmp -s - "$work/state/edge.tfstate" || echo "the newest archive is not the state"
	fi
	find "$work/rehearsals" -mindepth 1 2>/dev/null | sed 's/^/there is litter of a rehearsal: /'
	# A secret outside of its place: in what is the runner's, or the job's.
	{ find ~/.cache/act -name tool_cache -prune -o -newer "$work/began" -type f -print0 2>/dev/null && find "$work" -path "$work/keys" -prune -o -path "$work/recovery" -prune -o -type f -print0; } |
		xargs -0 grep -lFf "$work/keys/markers" -- 2>/dev/null | sed 's/^/a secret is in /'
	# Whatever is still at work, of this world.
	for dir in $(pgrep -f 'tool_cache/edge-actions/bin/'); do
		! grep -qsF "TMPDIR=$work/" "/proc/$dir/environ" || ps -o pid=,args= -p "$dir" | sed 's/^/still at work: /'
	done
	return 0
}
