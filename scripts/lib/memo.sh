# shellcheck shell=bash
# shellcheck disable=SC2154 # name, root, dir, key and memo are the launcher's
#
# The digest of all of the source costs a step more than the rest of the
# launcher. So the launcher remembers, for each action, the packages that it is
# made of, their digests and the binary. Where they are the same again, so is the
# binary: which packages an action has is decided by the sources of these
# packages alone. Sourced by scripts/action when that did not hold; bash 3.2.

# packages prints the directories of the action's packages, found by
# the import paths in their sources. A path in a comment is one too many, which
# does no harm. A package that embeds files ends in a slash: what it embeds can
# be below it.
packages() {
	local LC_ALL=C PACKAGES module todo dir found
	local -a FILES
	cd "$root" || return
	root=. # in the subshell that this is called in
	module=$(sed -n 's/^module  *//p' go.mod) || return
	[[ -n $module ]] || return
	PACKAGES=' '
	todo=actions/$name
	while [[ -n $todo ]]; do
		FILES=()
		for dir in $todo; do
			list_package "$dir"
			PACKAGES="$PACKAGES$dir "
		done
		todo=''
		found=$(grep -ho "$module/[A-Za-z0-9_./-]*" "${FILES[@]}" | sort -u) || found=''
		for dir in $found; do
			dir=${dir#"$module/"}
			dir=${dir%/}
			[[ ! -d $dir || $PACKAGES == *" $dir "* || $dir == *..* ]] || todo="$todo $dir"
		done
	done
	FILES=()
	for dir in $PACKAGES; do
		list_package "$dir"
	done
	found=$(grep -l '^//go:embed ' "${FILES[@]}") || found=''
	for dir in $found; do
		dir=${dir%/*}
		PACKAGES=${PACKAGES/ $dir / $dir/ }
	done
	printf '%s\n' "$PACKAGES"
}

# remember writes the memo. A failure costs time and nothing else.
remember() {
	local list sums partial
	{
		list=$(packages) && [[ -n $list ]] || return 0
		sums=$(package_sums "$list") || return 0
		# The two digests have to be of the same source.
		[[ $(source_key) == "$key" ]] || return 0
		(umask 077 && mkdir -p "${memo%/*}") || return 0
		partial=$(mktemp "${memo%/*}/.partial-XXXXXX") || return 0
		printf '%s\n%s\n%s' "${dir##*/}" "$list" "$sums" >"$partial" && mv -f "$partial" "$memo" || rm -f "$partial"
		# Of refs that nobody has used for two months, and of the killed.
		find "${memo%/*}" -type f -mtime +60 -exec rm -f {} +
	} 2>/dev/null || true
}
