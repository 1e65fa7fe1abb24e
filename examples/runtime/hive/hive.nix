# The hive of the demo, for the double of Colmena: plain data, where a real one
# has NixOS modules that Colmena evaluates (internal/testing/colmenatest says
# what it leaves out). The options have the names that they have there.
{
  edge-1 = {
    deployment = {
      targetHost = "edge-1";
      targetUser = "nixos";
      tags = [ "edge" ];
    };
    networking.hostName = "edge-1";
    services.openssh = {
      enable = true;
      settings.PermitRootLogin = "no";
    };
    # The operator's public key lies beside this file.
    users.users.nixos.openssh.authorizedKeys.keyFiles = [ ./operator.pub ];
    sops.age.keyFile = "/var/lib/sops-nix/key.txt";
    system.build.toplevel = import ../../../internal/testing/lab/nix/system.nix {
      name = "edge-1";
      label = "demo";
      kernel = builtins.head (builtins.split "\n" (builtins.readFile "/proc/sys/kernel/osrelease"));
    };
  };
}
