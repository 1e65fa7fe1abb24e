# shellcheck shell=bash
# A binary out of a release, for exactly this source, instead of out of a
# compiler. Sourced after lock.sh, by scripts/action on the first use of a
# source and by scripts/release; bash 3.2.
#
# A release is a directory, on the runner or behind https, with one
# NAME_OS_ARCH.gz for each action and machine, and SHA256SUMS, which names the
# release, the source that it is of and the digest of each file, and is signed.
# What is not signed is not looked into.
#
# What isn't there is built. What is there and does not hold ends the step: the
# build would be right too, and nobody would ever see that somebody put another
# binary in the place of the release.

RELEASE_NAMESPACE=edge-actions-release
RELEASE_PRINCIPAL=release # by which release-signers names who may sign
# A directory, or where nobody reads along, or nobody is on the way. A name and
# a password in it would be in the list of processes.
RELEASE_PLACES='^(/|(https://[A-Za-z0-9.:_-]+|http://(localhost|127\.[0-9.]+|\[::1\])(:[0-9]+)?)(/[^?#@[:space:][:cntrl:]]*)?$)'
# The other way to a binary, for who has no Go.
# shellcheck disable=SC2034 # used by scripts/action
RELEASE_INSTEAD='; or let it use a release (EDGE_ACTIONS_RELEASES, see docs/release.md)'
RELEASE_MAX_LIST=65536
RELEASE_MAX_BINARY=67108864 # four times the largest one

# sha256_tool sets SHA256 to a command that prints a digest and a name a line.
sha256_tool() {
	if command -v sha256sum >/dev/null; then
		SHA256=(sha256sum)
	elif command -v shasum >/dev/null; then
		SHA256=(shasum -a 256)
	else
		SHA256=(openssl dgst -sha256 -r)
	fi
}

# sha256_of FILE prints its digest alone.
sha256_of() {
	local sum
	sha256_tool
	sum=$("${SHA256[@]}" <"$1") || return
	printf '%s\n' "${sum%% *}"
}

# release_key ROOT prints the key of a source that a release names. It is the
# same whatever tool makes the digests, which the key of the cache is not:
# there the quickest tool of the machine counts.
release_key() {
	local LC_ALL=C sum
	local -a FILES
	sha256_tool
	# openssl marks a file as binary; the others, as text.
	sum=$(
		cd "$1" || exit
		source_files
		"${SHA256[@]}" "${FILES[@]}" | sed 's/^\([0-9a-f]*\) \*/\1  /' | "${SHA256[@]}"
	) || return
	printf '%s\n' "${sum%% *}"
}

# release_tag ROOT sets RELEASE_TAG to the newest version in the change log,
# unless there is something that came after it: such a source has no release.
release_tag() {
	local line unreleased=''
	RELEASE_TAG=''
	while IFS= read -r line; do
		case $line in
		'## [Unreleased]') unreleased=yes ;;
		'## '*)
			[[ ! $line =~ ^'## ['([0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?)']' ]] || RELEASE_TAG=v${BASH_REMATCH[1]}
			break
			;;
		*[![:space:]]*) [[ -z $unreleased ]] || break ;;
		esac
	done 2>/dev/null <"$1/CHANGELOG.md"
	[[ -n $RELEASE_TAG ]]
}

# content FILE sets CONTENT to its first line that is no comment.
content() {
	local line
	CONTENT=''
	while IFS= read -r line || [[ -n $line ]]; do
		if [[ $line == *[![:space:]]* && $line != '#'* ]]; then
			CONTENT=$line
			return
		fi
	done 2>/dev/null <"$1"
	return 1
}

# release_signers ROOT sets RELEASE_SIGNERS to the file of those whose releases
# are taken: the operator's, or the one in the source, which whoever wrote
# "uses: …@COMMIT" has chosen with it.
release_signers() {
	RELEASE_SIGNERS=$1/scripts/release-signers
	if [[ -n ${EDGE_ACTIONS_RELEASE_SIGNERS-} ]]; then
		RELEASE_SIGNERS=$EDGE_ACTIONS_RELEASE_SIGNERS
		[[ $RELEASE_SIGNERS == /* && -f $RELEASE_SIGNERS && -r $RELEASE_SIGNERS ]] ||
			fail "EDGE_ACTIONS_RELEASE_SIGNERS is no file that can be read" "give it the absolute path of a file of allowed signers (man ssh-keygen), readable by $(id -un)"
	fi
	content "$RELEASE_SIGNERS"
}

# release_wanted ROOT says whether a release is to be looked for, and sets
# where: RELEASES, RELEASE_TAG, RELEASE_SIGNERS.
release_wanted() {
	RELEASES=${EDGE_ACTIONS_RELEASES-}
	if [[ -z $RELEASES ]] && content "$1/scripts/release-url"; then
		RELEASES=$CONTENT
	fi
	RELEASES=${RELEASES%/}
	[[ -n $RELEASES && $RELEASES != none ]] || return 1
	[[ $RELEASES =~ $RELEASE_PLACES ]] ||
		fail "EDGE_ACTIONS_RELEASES, or scripts/release-url, is no place for releases" "give it the absolute path of a directory, or https://FORGE/OWNER/REPOSITORY/releases/download, or none"
	if ! release_tag "$1"; then
		say "no release is of this source: CHANGELOG.md begins with what is unreleased"
		return 1
	fi
	if ! release_signers "$1"; then
		say "release $RELEASE_TAG is not looked for: ${RELEASE_SIGNERS##*/} names nobody who may sign one"
		return 1
	fi
	if ! command -v ssh-keygen >/dev/null; then
		say "release $RELEASE_TAG is not looked for: there is no ssh-keygen to check its signature"
		return 1
	fi
}

# release_get FILE LIMIT SECONDS TO brings one file of the release. 0: it is
# there, whole. 1: there is none. 2: that can't be told. 3: something is wrong
# with it. WHY says what.
release_get() {
	local from=$RELEASES/$RELEASE_TAG/$1 limit=$2 to=$4
	WHY="$from is not there"
	if [[ $RELEASES == /* ]]; then
		[[ -f $from ]] || return 1
		WHY="$from cannot be read"
		head -c $((limit + 1)) <"$from" >"$to" 2>/dev/null || return 2
	elif command -v curl >/dev/null; then
		release_curl "$from" "$limit" "$3" "$to" || return
	elif command -v wget >/dev/null; then
		release_wget "$from" "$limit" "$3" "$to" || return
	else
		WHY="there is neither curl nor wget to fetch $from"
		return 2
	fi
	if (($(wc -c <"$to") > limit)); then
		WHY="$from has more than $limit bytes"
		return 3
	fi
}

# bound LIMIT is for a subshell that becomes a program: what that writes ends
# at the limit, with an error of its own, whatever the server says of the size.
bound() {
	trap '' XFSZ
	ulimit -f $(($1 / 1024 + 1))
}

# too_large FILE LIMIT
too_large() { [[ -f $1 ]] && (($(wc -c <"$1") >= $2)); }

# words FILE sets WORDS to what a program said, on one line that no runner
# takes for a command.
words() {
	WORDS=$(head -c 300 "$1" | tr -c '[:print:]' ' ') || WORDS=''
	WORDS=${WORDS%"${WORDS##*[! ]}"}
}

# release_curl URL LIMIT SECONDS TO
release_curl() {
	local code=0 status
	status=$(
		bound "$2"
		exec curl -q --silent --show-error --fail --location --max-redirs 3 --proto '=https,http' --proto-redir '=https' \
			--connect-timeout 15 --max-time "$3" --max-filesize "$2" --output "$4" --write-out '%{http_code}' -- "$1" 2>"$4.said"
	) || code=$?
	((code != 0)) || return 0
	words "$4.said"
	WHY="$1: $WORDS"
	case $code in
	22)
		WHY="$1 is not there ($status)"
		[[ $status != 404 && $status != 410 ]] || return 1
		WHY="$1: the answer is $status"
		;;
	1 | 47) WHY="$1 leads elsewhere: $WORDS"; return 3 ;; # to http, or in circles
	18 | 92) WHY="only a part of $1 came: $WORDS"; return 3 ;;
	51 | 60 | 83 | 90) WHY="$1: the certificate does not hold: $WORDS"; return 3 ;;
	63) WHY="$1 has more than $2 bytes"; return 3 ;;
	23)
		WHY="$1 has more than $2 bytes"
		! too_large "$4" "$2" || return 3
		WHY="$1 cannot be written to ${4%/*}: $WORDS"
		;;
	56)
		WHY="only a part of $1 came: $WORDS"
		[[ ! -s $4 ]] || return 3
		WHY="$1: $WORDS"
		;;
	esac
	return 2
}

# release_wget URL LIMIT SECONDS TO: for a machine without curl. It can't be
# told to stay with https, so it follows no redirect at all; and it knows no
# deadline for the whole.
release_wget() {
	local code=0 pid status end=$((SECONDS + $3))
	(
		bound "$2"
		LC_ALL=C exec wget --no-config --no-hsts --quiet --server-response --tries=1 --timeout=15 --max-redirect=0 --output-document="$4" -- "$1" </dev/null >/dev/null 2>"$4.said"
	) &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		((SECONDS < end)) || kill "$pid" 2>/dev/null || true
		sleep 0.1 2>/dev/null || sleep 1
	done
	wait "$pid" || code=$?
	((code != 0)) || return 0
	status=$(sed -n 's|^ *HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$4.said" | tail -n 1)
	words "$4.said"
	WHY="$1: wget ended with $code, the answer is ${status:-none}: $WORDS"
	case $code:$status in
	8:404 | 8:410) WHY="$1 is not there ($status)"; return 1 ;;
	*:3*) WHY="$1 leads elsewhere, and wget does not follow (curl would, to https)"; return 3 ;;
	5:*) WHY="$1: the certificate does not hold"; return 3 ;;
	esac
	if too_large "$4" "$2"; then
		WHY="$1 has more than $2 bytes"
		return 3
	fi
	if [[ $code == 4 && -s $4 ]]; then
		WHY="only a part of $1 came"
		return 3
	fi
	return 2
}

# release_list_holds DIR KEY says whether SHA256SUMS in a directory is signed,
# and is the list of RELEASE_TAG and of the source with that key. WHY and WHAT
# say what does not hold and what to do.
release_list_holds() {
	local line tag='' source=''
	WHY="the signature of its SHA256SUMS does not hold"
	WHAT="do not use it before you know why: it was changed, or signed by a key that ${RELEASE_SIGNERS##*/} does not name"
	if ! ssh-keygen -Y verify -f "$RELEASE_SIGNERS" -I "$RELEASE_PRINCIPAL" -n "$RELEASE_NAMESPACE" -s "$1/SHA256SUMS.sig" <"$1/SHA256SUMS" >"$1/said" 2>&1; then
		sed 's/^/  ssh-keygen| /' "$1/said" >&2
		return 1
	fi
	while IFS= read -r line; do
		case $line in
		'# release '*) tag=${line#'# release '} ;;
		'# source '*) source=${line#'# source '} ;;
		esac
	done <"$1/SHA256SUMS"
	WHY="it says that it is another one (${tag//[^A-Za-z0-9._-]/?})"
	WHAT="see who put it there"
	[[ $tag == "$RELEASE_TAG" ]] || return 1
	WHY="it is of another source than this one"
	WHAT="use the commit of the tag $RELEASE_TAG; a source that was changed since then has a line below Unreleased in CHANGELOG.md, and is built"
	[[ $source == "$2" ]]
}

# release_sum DIR ASSET sets SUM to the digest that the list has of a file.
release_sum() {
	local line
	SUM=''
	while IFS= read -r line; do
		if [[ $line == *"  $2" && ${line%"  $2"} =~ ^[0-9a-f]{64}$ ]]; then
			[[ -z $SUM ]] || return 1 # twice
			SUM=${line%"  $2"}
		fi
	done <"$1/SHA256SUMS"
	[[ -n $SUM ]]
}

# release_refused WHY WHAT
release_refused() {
	rm -rf "$partial"
	fail "release $RELEASE_TAG is refused: $1" "$2; with EDGE_ACTIONS_RELEASES=none the source is built instead"
}

# release_absent DOES is said where a build is what is left.
release_absent() {
	rm -rf "$partial"
	trap - INT TERM HUP
	say "no binary out of release $RELEASE_TAG: $1"
	return 1
}

# take_release NAME OS ARCH ROOT OUT_DIR puts the binary out of the release into
# OUT_DIR, by a rename, or returns 1 if there is none to be had. To be called
# under the lock of NAME. Not local: the traps read partial.
take_release() {
	local name=$1 asset=$1_$2_$3.gz out=$5 code=0 key
	# Under the lock this can only be a dead one's.
	find "$out" -maxdepth 1 -name ".partial-$name-*" -exec rm -rf {} + || true
	partial=$(mktemp -d "$out/.partial-$name-XXXXXX") || fail "cannot write to $out" "look at its mode and at the free space (df -h)"
	trap 'rm -rf "$partial"; exit 130' INT TERM HUP
	release_get SHA256SUMS "$RELEASE_MAX_LIST" 60 "$partial/SHA256SUMS" || code=$?
	case $code in
	1 | 2) release_absent "$WHY" || return ;;
	3) release_refused "$WHY" "see who answers there" ;;
	esac
	# From here on it is there.
	release_get SHA256SUMS.sig "$RELEASE_MAX_LIST" 60 "$partial/SHA256SUMS.sig" || code=$?
	case $code in
	1) release_refused "it is not signed: $WHY" "see who took the signature away" ;;
	2) release_absent "$WHY" || return ;;
	3) release_refused "$WHY" "see who answers there" ;;
	esac
	key=$(release_key "$4") || key=unreadable
	release_list_holds "$partial" "sha256:$key" || release_refused "$WHY" "$WHAT"
	release_sum "$partial" "$asset" || {
		release_absent "it has no $asset" || return
	}
	say "fetching $name out of release $RELEASE_TAG (first use of this version on this runner)"
	release_get "$asset" "$RELEASE_MAX_BINARY" 600 "$partial/$asset" || code=$?
	case $code in
	1) release_refused "its list names $asset, and $WHY" "see who took it away" ;;
	2) release_absent "$WHY" || return ;;
	3) release_refused "$WHY" "run it again; if it stays, see who answers there" ;;
	esac
	[[ $(sha256_of "$partial/$asset") == "$SUM" ]] ||
		release_refused "$asset has not the checksum that its list names" "do not use it before you know why: it was changed, or cut off on the way"
	if ! gzip -dc <"$partial/$asset" >"$partial/$name" || ! chmod 700 "$partial/$name"; then
		rm -rf "$partial"
		fail "cannot unpack $asset to $out" "look at the free space (df -h)"
	fi
	mv -f "$partial/$name" "$out/$name" || fail "cannot write to $out" "look at its mode"
	rm -rf "$partial"
	trap - INT TERM HUP
	say "took $name out of release $RELEASE_TAG, whose signature holds, in $SECONDS s"
}
