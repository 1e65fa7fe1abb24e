#!/usr/bin/env bash
# The backup that people write: what the archives are measured against.
#
#   habit.sh STATE LOCAL_DIR OFFSITE_DIR RECIPIENT KEY [sync]
#
# With "sync" it waits for its two files to reach the disk. The habit does not.
set -euo pipefail
state=$1 name=state.tar.zst.age recipient=$4 key=$5
local_copy=$2/$name copy=$3/$name

tar -C "${state%/*}" -cf - "${state##*/}" | zstd -q | age -r "$recipient" | tee "$local_copy" | sha256sum >"$local_copy.sha256"
[[ -z ${6-} ]] || sync "$local_copy" "$local_copy.sha256"
cp "$local_copy" "$copy"
[[ -z ${6-} ]] || sync "$copy"
[[ $(sha256sum <"$copy") == "$(<"$local_copy.sha256")" ]]
# cmp skips tar's header of 512 bytes: unpacking with tar would cost more.
size=$(wc -c <"$state")
age -d -i "$key" "$copy" | zstd -q -d | {
	cmp -s -n "$((size))" - "$state" 512 0
	cat >/dev/null # tar's padding
}
