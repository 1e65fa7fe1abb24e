# Builds one system; run by nix-build, see system.nix.
set -eu
mkdir -p "$out/bin" "$out/units" "$out/kernel-modules/lib/modules/$kernel"
ln -s /usr "$out/sw"
echo "$label" >"$out/nixos-version"
echo "$behaviour" >"$out/behaviour"
echo "$kind" >"$out/kind"
echo "echo init of $out" >"$out/init"
# What the boot loader copies to /boot: a kernel with its initrd.
head -c 6000000 /dev/zero >"$out/kernel"
sed "s|@out@|$out|g" "$activate" >"$out/bin/switch-to-configuration"
chmod 755 "$out/bin/switch-to-configuration" "$out/init"
for unit in "$units"/*.service; do
	sed "s|@label@|$label|g" "$unit" >"$out/units/${unit##*/}"
done
if [ "$kind" = minimal ]; then
	rm "$out/units/app.service" "$out/units/secrets.service" "$out/units/access.service"
	printf '%s\n' "$rootKeys" >"$out/root-keys"
	mkdir -p "$out/etc/ssh/authorized_keys.d" # where NixOS has them
	ln -s ../../../root-keys "$out/etc/ssh/authorized_keys.d/root"
fi
case $behaviour in
fail-unit)
	sed -i "s|^ExecStart=.*|ExecStart=/bin/sh -c 'echo the database is of another version >\&2; exit 3'|" "$out/units/app.service"
	;;
no-secrets)
	rm "$out/units/secrets.service"
	;;
lock-out)
	sed -i "s|^ExecStart=.*|ExecStart=/bin/mv -T /home/nixos/.ssh /home/nixos/.ssh-off|" "$out/units/access.service"
	;;
cut)
	sed -i "s|^ExecStart=.*|ExecStart=/usr/bin/ip link set eth0 down|" "$out/units/network.service"
	;;
esac
