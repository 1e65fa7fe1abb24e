package jobtest

import "slices"

// WrongRoads are wrong values of the inputs that say how a host edge-1 is
// reached on which the action itself runs.
func WrongRoads() []Wrong {
	shared := []string{
		"hosts", "host_keys", "handoff_path", "handoff_sha256", "handoff_signer", "user", "identity_file", "ssh_config", "known_hosts", "connect_timeout", "tailnet", "tailscale_path", "key_margin",
	}
	out := []Wrong{
		{Input: "agent_dir", Value: "tmp", Wanted: "an absolute path on the hosts"},
		{Input: "agent_dir", Value: "/", Wanted: "an absolute path on the hosts"},
		{Input: "agent_dir", Value: "/tmp", Wanted: "two levels deep"},
		{Input: "agent_dir", Value: "/var/../tmp", Wanted: "an absolute path on the hosts"},
	}
	for _, w := range WrongWays {
		if slices.Contains(shared, w.Input) {
			out = append(out, w)
		}
	}
	return out
}
