# nixos-rebuild asks for a flake; the doubles look at hive.nix beside it.
{ }
