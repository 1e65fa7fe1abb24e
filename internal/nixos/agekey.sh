#!/bin/sh
# Puts an age key where sops-nix looks for it: "$1" is the file, "$2" the
# sha256 of what comes over stdin, "$3" that of the line with the key in it,
# "$4" says whether another key may be replaced. Whole or not at all; prints
# what was done.
set -eu
umask 077
file=$1
dir=${file%/*}
key_line() { grep '^AGE-SECRET-KEY-' "$1" | sha256sum | cut -d ' ' -f 1; }

mkdir -p "$dir" # of mode 0700 where it was not there
if [ "$dir" = /var/lib/sops-nix ]; then # another one may be for other things too
	chown root:root "$dir"
	chmod 0700 "$dir"
fi
for old in "$dir"/.edge-actions-*; do # of a run that was killed
	[ ! -e "$old" ] || rm -f "$old"
done
temp=$(mktemp "$dir/.edge-actions-XXXXXXXX")
trap 'rm -f "$temp"' EXIT
cat >"$temp"
if [ ! -s "$temp" ] || [ "$(sha256sum <"$temp" | cut -d ' ' -f 1)" != "$2" ] || [ "$(key_line "$temp")" != "$3" ]; then
	echo "damaged"
	exit
fi
done=staged
if [ -L "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
	echo "strange"
	exit
elif [ -s "$file" ]; then
	if [ "$(key_line "$file")" = "$3" ]; then
		chown root:root "$file"
		chmod 0600 "$file"
		echo "kept"
		exit
	fi
	[ "$4" = yes ] || { echo "different"; exit; }
	done=replaced
fi
chown root:root "$temp"
chmod 0600 "$temp"
sync "$temp"
mv -T "$temp" "$file"
trap - EXIT
sync "$dir"
[ "$(key_line "$file")" = "$3" ] || done=damaged
echo "$done"
