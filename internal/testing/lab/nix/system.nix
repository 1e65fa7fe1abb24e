# A system in the shape of NixOS's, as far as an activation, a boot or a check
# can see it, built from nothing but /bin/sh. `behaviour` is what goes wrong
# with it; see switch-to-configuration beside this file. `kind` is "minimal" for
# what nixos-infect builds, which has nothing of a node but root's keys.
{ name ? "lab", label ? "1", behaviour ? "good", kernel ? "unknown", kind ? "node", rootKeys ? [ ] }:
derivation {
  name = "nixos-system-${name}-${label}";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  PATH = "/usr/bin:/bin";
  inherit label behaviour kernel kind;
  rootKeys = builtins.concatStringsSep "\n" rootKeys;
  activate = ./switch-to-configuration;
  units = ./units;
  args = [ ./build.sh ];
}
