package double

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRebuildCalls(t *testing.T) {
	r := newRig(t)
	const control = "-F /c -o ControlMaster=auto -o ControlPath=TMP/ssh-%n -o ControlPersist=60"
	const unit = "systemd-run -E LOCALE_ARCHIVE -E NIXOS_INSTALL_BOOTLOADER -E NIXOS_NO_CHECK --collect --no-ask-password --pipe --quiet --service-type=exec --unit=nixos-rebuild-switch-to-configuration "
	at := func(host, words string) string { return "ssh " + control + " " + host + " -- " + words + "\n" }
	const clean = "env -i PATH=${PATH-} "
	activate := func(sudo, loader, action string) string {
		return at("u@h", clean+"test -d /run/systemd/system") +
			at("u@h", sudo+clean+"LOCALE_ARCHIVE=${LOCALE_ARCHIVE-} NIXOS_NO_CHECK=${NIXOS_NO_CHECK-} NIXOS_INSTALL_BOOTLOADER="+loader+" "+unit+"/nix/store/y-a/bin/switch-to-configuration "+action)
	}
	set := func(sudo string) string {
		return at("u@h", clean+"test -f /nix/store/y-a/nixos-version") + at("u@h", sudo+clean+"nix-env -p /nix/var/nix/profiles/system --set /nix/store/y-a")
	}
	const realise = "nix-store --no-gc-warning --realise /nix/store/x-a.drv\n"
	push := func(direction, host, path string) string {
		return "nix-copy-closure " + direction + " " + host + " " + path + " {" + control + "}\n"
	}
	remote := push("--to", "u@b", "/nix/store/x-a.drv") + at("u@b", clean+"nix-store --realise /nix/store/x-a.drv")
	for line, want := range map[string]string{
		"switch --flake .#a --target-host u@h":                                   realise + push("--to", "u@h", "/nix/store/y-a") + set("") + activate("", "0", "switch"),
		"switch --flake .#a --target-host u@h --install-bootloader --sudo":       realise + push("--to", "u@h", "/nix/store/y-a") + set("sudo ") + activate("sudo ", "1", "switch"),
		"boot --flake .#a --target-host u@h --use-remote-sudo":                   realise + push("--to", "u@h", "/nix/store/y-a") + set("sudo ") + activate("sudo ", "0", "boot"),
		"test --flake .#a --target-host u@h":                                     realise + push("--to", "u@h", "/nix/store/y-a") + activate("", "0", "test"),
		"test --flake .#a --target-host u@h --build-host u@h":                    strings.ReplaceAll(remote, "u@b", "u@h") + activate("", "0", "test"),
		"build --flake .#a --build-host u@b":                                     remote + push("--from", "u@b", "/nix/store/y-a"),
		"build --flake .#a --option sandbox false":                               "nix-store --no-gc-warning --realise /nix/store/x-a.drv --option sandbox false\n",
		"test --flake .#a --target-host u@h --build-host u@b --no-reexec --fast": remote + "nix --extra-experimental-features nix-command flakes copy --from ssh://u@b --to ssh://u@h /nix/store/y-a {" + control + "}\n" + activate("", "0", "test"),
	} {
		code, got := r.run("nixos-rebuild "+line, "NIX_SSHOPTS=-F /c")
		got = regexp.MustCompile(`ControlPath=/tmp/[^/ ]*`).ReplaceAllString(got, "ControlPath=TMP")
		got = strings.ReplaceAll(got, " {-F /c}", "") // nix-store inherits it
		if diff := cmp.Diff(want, got); diff != "" || code != 0 {
			t.Errorf("%s: exit code %d (-want +got):\n%s\n%s", line, code, diff, r.stderr.String())
		}
		if r.stdout.String() != "/nix/store/y-a\n" || !strings.HasSuffix(r.stderr.String(), "building the system configuration...\nDone. The new configuration is ") {
			t.Errorf("%s: %q %q", line, r.stdout.String(), r.stderr.String())
		}
	}
	// The flaw is here, too: the profile is set when the activation fails.
	code, calls := r.run("nixos-rebuild switch --flake .#a --target-host u@h --sudo", "FAIL=ssh*configuration switch", "CODE=4")
	if code != 1 || !strings.Contains(calls, "--set") || !strings.Contains(r.stderr.String(), "did you forget to use --ask-sudo-password?") || !strings.HasSuffix(r.stderr.String(), "switch' returned non-zero exit status 4.\n") {
		t.Errorf("exit code %d\n%s\n%s", code, r.stderr.String(), calls)
	}
	code, calls = r.run("nixos-rebuild switch --flake .#a --target-host u@h", "FAIL=ssh*nixos-version", "CODE=1")
	if code != 1 || strings.Contains(calls, "--set") {
		t.Errorf("exit code %d\n%s\n%s", code, r.stderr.String(), calls)
	}
	// No systemd on the host: no unit.
	if code, calls = r.run("nixos-rebuild test --flake .#a --target-host u@h", "FAIL=ssh*-d /run/systemd/system", "CODE=1"); code != 0 || strings.Contains(calls, "systemd-run") {
		t.Errorf("exit code %d\n%s", code, calls)
	}
	for line, want := range map[string]int{
		"nixos-rebuild switch --flake .#a":                    70,
		"nixos-rebuild switch --target-host u@h":              70,
		"nixos-rebuild edit --flake .#a":                      70,
		"nixos-rebuild switch boot --flake .#a":               2,
		"nixos-rebuild switch --flake .#a --no-such-option x": 2,
		"nixos-rebuild switch --flake .#a --target-host":      2,
	} {
		if code, calls := r.run(line); code != want || calls != "" {
			t.Errorf("%s: exit code %d, want %d\n%s", line, code, want, r.stderr.String())
		}
	}
}
