package lab

// StateFile is where the doubles of a host read a State.
const StateFile = "/var/lib/lab/state.json"

// State is what the doubles of a host are told. The zero value is a host on
// which all is well.
type State struct {
	K3s struct {
		// StaleStatus: the kubelet never reports this boot.
		StaleStatus bool `json:"stale_status,omitempty"`
		// StaleContainers: they are said to run since before the boot.
		StaleContainers bool `json:"stale_containers,omitempty"`
		// StaleGeneration: the controllers have not seen the latest spec.
		StaleGeneration bool `json:"stale_generation,omitempty"`
		NotReady        bool `json:"not_ready,omitempty"`
		// Missing are the deployments without a pod.
		Missing     []string `json:"missing,omitempty"`
		ClosedPorts []int    `json:"closed_ports,omitempty"`
		// ReportAfterSeconds is how long after its start the kubelet reports.
		ReportAfterSeconds float64 `json:"report_after_seconds,omitempty"`
	} `json:"k3s"`
	Tailscale struct {
		BackendState string   `json:"backend_state,omitempty"` // "Running" if empty
		Offline      bool     `json:"offline,omitempty"`
		Health       []string `json:"health"`
		KeyExpiry    string   `json:"key_expiry,omitempty"` // RFC 3339; in 90 days if empty
	} `json:"tailscale"`
	// Disk is what lsblk and findmnt show; see labhost.
	Disk struct {
		// RootLabel is "cloudimg-rootfs" if empty, and none if "-".
		RootLabel string `json:"root_label,omitempty"`
		// ESPLabel is "UEFI" if empty, and none if "-".
		ESPLabel string `json:"esp_label,omitempty"`
		ESPSize  uint64 `json:"esp_size,omitempty"` // bytes; 100 MiB if 0
		ESPFree  uint64 `json:"esp_free,omitempty"` // bytes; 90 MiB if 0
		// ESPMissing: there is no such partition.
		ESPMissing bool `json:"esp_missing,omitempty"`
	} `json:"disk"`
	// Transition is what goes wrong on the way to NixOS: at the boot that
	// /etc/NIXOS_LUSTRATE, kexec or a formatted disk makes another system's. The
	// machinery is supervisor.sh's; DiesInBuild is package infecttest's.
	Transition struct {
		DiesInBuild bool `json:"dies_in_build,omitempty"`
		// HostKeyChanges: sshd has another key then.
		HostKeyChanges bool `json:"host_key_changes,omitempty"`
		// NeverBack: the host stays off, until Release.
		NeverBack bool `json:"never_back,omitempty"`
		// OldSystem: the boot is the old system's once more.
		OldSystem       bool    `json:"old_system,omitempty"`
		SlowBootSeconds float64 `json:"slow_boot_seconds,omitempty"`
	} `json:"transition"`
	// InstanceID is what the metadata service says; nothing if empty.
	InstanceID string `json:"instance_id,omitempty"`
}
