// Package contracts knows what an operator promises to be able to recover, and
// holds each promise against the evidence: snapshots in a restic repository,
// LFS objects on an rclone remote, archives of an OpenTofu state. The unit that
// makes a backup only corroborates; that it said yes is no evidence. It refuses
// to pass over anything: what is disabled, empty, unreachable or was left out is
// unproven, unless the operator wrote down who it is, why, and until when.
package contracts

import (
	"time"
)

// The ids of the checks of this package. Those of a snapshot are package
// recovery's, those of restic, rclone and the state's archives are theirs.
const (
	// Locks are locks of restics that are dead.
	Locks = "repository-locks"
	// Checked is restic's own check, with the part of the data that was read.
	Checked = "repository-check"
	// Covered is that what lies on the host is in the snapshot.
	Covered = "coverage"
	// Service is how the unit that makes the backup ended.
	Service = "unit-service"
	// Timer is whether it will be started again.
	Timer = "unit-timer"
	// LFSExpected is what the forge's database says should be there.
	LFSExpected = "lfs-expected"
	// LFSPresent are the objects on the remote against that.
	LFSPresent = "lfs-present"
	// LFSContent are the objects' contents against their names.
	LFSContent = "lfs-content"
)

// Contract is one promise. Exactly one of Restic, LFS and State is set.
type Contract struct {
	Name string `yaml:"name"`
	// Host is where it is looked at, by a name that the inputs or ssh_config
	// know; "" is the runner. User is whom it is looked at as there: "" is the
	// login.
	Host string `yaml:"host"`
	User string `yaml:"user"`
	// MaxAge is how old the evidence may be.
	MaxAge Duration `yaml:"max_age"`
	// Units are systemd services by name without a suffix, each with a timer of
	// its name.
	Units []string `yaml:"units"`

	Restic *Restic `yaml:"restic"`
	LFS    *LFS    `yaml:"lfs"`
	State  *State  `yaml:"state"`
}

// Restic is a snapshot in a repository.
type Restic struct {
	// Program is restic, or a wrapper that knows the repository and its password
	// (NixOS' restic-NAME); then there is no repository and no password here.
	Program        string   `yaml:"program"`
	Repository     string   `yaml:"repository"`
	RepositoryFile string   `yaml:"repository_file"`
	PasswordFile   string   `yaml:"password_file"`
	CACert         string   `yaml:"cacert"`
	Options        []string `yaml:"options"`
	RepositoryID   string   `yaml:"repository_id"`
	// SnapshotHost is the host name in the snapshots; "" is the contract's Host.
	SnapshotHost       string   `yaml:"snapshot_host"`
	Paths              []string `yaml:"paths"`
	MaxSkew            Duration `yaml:"max_skew"`
	MinFiles           uint64   `yaml:"min_files"`
	MinMiB             uint64   `yaml:"min_mib"`
	MinPercentOfMedian int      `yaml:"min_percent_of_median"`
	// CheckParts is in how many parts the data is read, one a run.
	CheckParts int `yaml:"check_parts"`
	// Exclude are the absolute paths and patterns that the backup leaves out.
	Exclude []string `yaml:"exclude"`
}

// LFS are the objects of a forge on an rclone remote.
type LFS struct {
	Remote string `yaml:"remote"`
	// Database is Forgejo's, a SQLite file: which objects there should be.
	Database string `yaml:"database"`
	// Sample is how many objects are downloaded where the remote knows no
	// SHA-256.
	Sample int `yaml:"sample"`
	// Program is rclone.
	Program string `yaml:"program"`
	// Config is rclone's configuration; "" is the user's own.
	Config string `yaml:"config"`
}

// State are archives of an OpenTofu state, as tofu-plan-with-state-backup makes
// them.
type State struct {
	Stack string `yaml:"stack"`
	// RunnerDir is that action's input runner_dir, and Stack its input stack.
	RunnerDir string `yaml:"runner_dir"`
	// Offsite is a directory or an rclone remote, as that action's input is.
	Offsite string `yaml:"offsite"`
	// IdentityFile opens the archives.
	IdentityFile string `yaml:"age_identity_file"`
	MinResources int    `yaml:"min_resources"`
	Program      string `yaml:"program"`
}

// Waiver lets one check of one contract be other than proven, for a while.
type Waiver struct {
	Contract string `yaml:"contract"`
	Check    string `yaml:"check"`
	Reason   string `yaml:"reason"`
	// Until is the last day, UTC.
	Until Day `yaml:"until"`
}

// File is what an operator wrote down.
type File struct {
	Contracts []Contract `yaml:"contracts"`
	Waivers   []Waiver   `yaml:"waivers"`
}

// Duration is a time with its unit, days ("8d") among them.
type Duration time.Duration

// Day is a date without a time, 2006-01-02.
type Day time.Time
