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
	// InstanceID is what the metadata service says; nothing if empty.
	InstanceID string `json:"instance_id,omitempty"`
}
