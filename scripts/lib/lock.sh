# shellcheck shell=bash
# Building a binary once, however many steps want it at the same moment, and
# never for ever: the runner ends a job with SIGKILL, so nobody can be relied
# on to clean up behind himself. Sourced by scripts/action and
# scripts/tools/install; bash 3.2, because that is what macOS has.

BUILD_FOR='' # for another machine than this one, see build_actions

say() { printf '%s\n' "$*" >&2; }

# fail prints what is wrong and, with a second argument, what to do about it.
fail() {
	say "error: $1"
	[[ -z ${2-} ]] || say "hint: $2"
	exit 1
}

# process_mark PID sets MARK to "PID:start" of a living process, and fails if
# there is none. The start is there because process ids are used again.
process_mark() {
	local line start
	local -a fields
	MARK=''
	if [[ -r /proc/self/stat ]]; then
		# The second field is the program's name, in brackets, and may hold
		# blanks; the start time is field 22, so number 19 after the brackets.
		{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
		read -r -a fields <<<"${line##*) }"
		[[ ${fields[0]-} != Z ]] || return 1
		start=${fields[19]-}
	else
		start=$(LC_ALL=C TZ=UTC ps -o stat= -o lstart= -p "$1" 2>/dev/null) || return 1
		[[ $start != Z* ]] || return 1
		start=${start#* }
		start=${start//[^A-Za-z0-9]/}
	fi
	[[ -n $start ]] || return 1
	MARK=$1:$start
}

# The lock is a symbolic link whose target names the owner: made in one step
# everywhere, with its owner in it, so there is no moment at which a kill
# leaves a lock without one. (macOS has no flock(1).) An owner in another PID
# namespace looks dead; then a thing is built twice, which costs only time,
# because what is built is put in its place by a rename.

# take_lock LOCK SECONDS WHAT waits for the lock, and takes it from the dead.
take_lock() {
	local lock=$1 limit=$2 what=$3 end owner mine told=''
	process_mark "$$" || fail "cannot read the start time of this process" "install ps, or mount /proc"
	mine=$MARK
	end=$((SECONDS + limit))
	# In a directory, ln would put the link into it and be content.
	[[ -L $lock || ! -e $lock ]] || fail "$lock is in the way: it is not a lock" "delete it"
	while ! ln -sn "$mine" "$lock" 2>/dev/null; do
		if owner=$(readlink "$lock" 2>/dev/null); then
			if ! process_mark "${owner%%:*}" || [[ $MARK != "$owner" ]]; then
				break_lock "$lock" "$owner"
				continue
			fi
			if [[ -z $told ]]; then
				told=yes
				say "$what: being built by process ${owner%%:*}, waiting for it (at most $limit s)"
			fi
		elif [[ ! -w ${lock%/*} ]]; then
			fail "cannot write to ${lock%/*}" "make it writable for $(id -un), or point RUNNER_TOOL_CACHE or XDG_CACHE_HOME elsewhere"
		fi
		((SECONDS < end)) || fail "$what: process ${owner%%:*} has held $lock for more than $limit s" "see what it does (ps -fp ${owner%%:*}); end it, and the next run builds again"
		sleep 0.2 2>/dev/null || sleep 1
	done
}

# break_lock LOCK OWNER removes the lock of a dead owner. The guard keeps two
# who both saw it from removing the new lock of a third.
break_lock() {
	local lock=$1 guard=$1.breaking
	if mkdir "$guard" 2>/dev/null; then
		[[ $(readlink "$lock" 2>/dev/null) != "$2" ]] || rm -f "$lock"
		rmdir "$guard" 2>/dev/null || true
		return
	fi
	# Held for a millisecond by a living one; a minute means a dead one.
	[[ -z $(find "$guard" -prune -mmin +1 2>/dev/null) ]] || rmdir "$guard" 2>/dev/null || true
	sleep 0.2 2>/dev/null || sleep 1
}

# drop_lock LOCK gives the lock back, if it is still ours.
drop_lock() {
	process_mark "$$" || return 0
	[[ $(readlink "$1" 2>/dev/null) != "$MARK" ]] || rm -f "$1"
}

# require_go WHAT [INSTEAD] fails in one line where there is no Go.
require_go() {
	local install="install Go 1.26 or later (macOS: brew install go; Linux: https://go.dev/doc/install) and put it on the PATH of the runner${2-}"
	command -v go >/dev/null || fail "$1 has to be built and there is no go on PATH" "$install"
}

# build WHAT MODULE_DIR SECONDS OUT_DIR PACKAGE... builds each package into
# OUT_DIR, under its own name. Only whole binaries appear there: they are made
# in a directory in it, and renamed. To be called under the lock of WHAT.
build() {
	local what=$1 module=$2 limit=$3 out=$4 partial pid end code=0 cgo=0
	shift 4
	# Under the lock this can only be a dead one's.
	find "$out" -maxdepth 1 -name ".partial-$what-*" -exec rm -rf {} + || true
	partial=$(mktemp -d "$out/.partial-$what-XXXXXX") || fail "cannot write to $out" "look at its mode and at the free space (df -h)"
	mkdir "$partial/bin" "$partial/tmp"
	# What decides what is built is set here, and not by the environment of
	# whoever started the runner (nor by its "go env -w", which an empty value
	# would let in):
	#   GOTOOLCHAIN=local  the Go of this machine builds, or says that it is
	#                      too old: a job downloads no compiler behind its back;
	#   GOFLAGS            -mod=readonly is the default, and not empty;
	#   GOTMPDIR           so that a killed build leaves its litter where the
	#                      next one sweeps;
	#   CGO_ENABLED=0      apart from the tool gitea, whose SQLite is C.
	[[ $what != gitea ]] || cgo=1
	(
		umask 077
		cd "$module" || exit
		[[ -n ${GOCACHE-}${XDG_CACHE_HOME-}${HOME-} ]] || export GOCACHE=$out/.go-build
		unset GOEXPERIMENT GOAMD64 GOARM64 GOFIPS140
		export CGO_ENABLED=$cgo GOWORK=off GOTOOLCHAIN=local GOFLAGS=-mod=readonly GOTMPDIR=$partial/tmp
		GOOS=$(go env GOHOSTOS) GOARCH=$(go env GOHOSTARCH)
		[[ -z $BUILD_FOR ]] || GOOS=${BUILD_FOR%/*} GOARCH=${BUILD_FOR#*/}
		export GOOS GOARCH
		exec go build -trimpath -buildvcs=false -tags="${EXTRA_TAGS-}" -ldflags="-s -w ${EXTRA_LDFLAGS-}" -o "$partial/bin/" "$@"
	) </dev/null >"$partial/log" 2>&1 &
	pid=$!
	# A cancelled job gives the build no time: nothing of it is of use.
	trap 'kill "$pid" 2>/dev/null; rm -rf "$partial"; exit 130' INT TERM HUP
	end=$((SECONDS + limit))
	while kill -0 "$pid" 2>/dev/null; do
		if ((SECONDS >= end)); then
			kill "$pid" 2>/dev/null || true
			say "error: the build did not end within $limit s"
			break
		fi
		sleep 0.1 2>/dev/null || sleep 1
	done
	wait "$pid" || code=$?
	trap - INT TERM HUP
	if ((code != 0)); then
		# Prefixed, so that the runner takes no line of it for a command.
		sed 's/^/  go| /' "$partial/log" >&2
		rm -rf "$partial"
		fail "go build ended with exit code $code" "its words are above; $(GOTOOLCHAIN=local go version) is what built"
	fi
	mv -f "$partial"/bin/* "$out/"
	rm -rf "$partial"
}

# build_actions TARGET takes after that what build takes. TARGET is GOOS/GOARCH,
# or empty for this machine. No API that an action asks needs HTTP/2, which is
# 340 KB of each binary.
build_actions() {
	BUILD_FOR=$1
	shift
	EXTRA_TAGS=nethttpomithttp2 EXTRA_LDFLAGS='' build "$@"
}
