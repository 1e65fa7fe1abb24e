// Package backuphost gives a test host a backup as NixOS makes them: a wrapper
// restic-pi that knows a real repository and its password, a service
// restic-backups-pi that has run, and its timer. Repository and data are on the
// host's own disk.
package backuphost

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge-actions/internal/testing/lab"
	"edge-actions/internal/testing/realtools"
	"edge-actions/internal/testing/restictest"
)

// Secret is in every file that is backed up.
const Secret = "what-the-host-keeps-to-itself"

const (
	// Data is what is backed up, and Repository where to.
	Data       = "/srv/forgejo"
	Repository = "/var/lib/backup/repository"
	// Snapshots is the host name in the snapshots.
	Snapshots = "forgejo-pi"
	// User may read the repository and its password, and may not be logged in as.
	User = "backup" // Debian has one
)

// Host is a host with a backup.
type Host struct {
	*lab.Host
	// ID is the repository's own id.
	ID string

	t    testing.TB
	root string
}

// New prepares a host, and has its unit make a backup.
func New(t testing.TB, on *lab.Host) *Host {
	t.Helper()
	root, err := on.Root()
	if err != nil {
		t.Fatal(err)
	}
	h := &Host{Host: on, t: t, root: root}
	binary, err := os.ReadFile(realtools.Path(t, "restic"))
	if err != nil {
		t.Fatal(err)
	}
	h.Put("/usr/local/bin/restic", string(binary), 0o755)
	h.Put("/usr/local/bin/restic-pi", "#!/bin/sh\nexport RESTIC_REPOSITORY="+Repository+" RESTIC_PASSWORD_FILE=/var/lib/backup/key\nexec /usr/local/bin/restic \"$@\"\n", 0o755)
	h.Put("/etc/systemd/system/restic-backups-pi.service", "[Service]\nType=oneshot\nExecStart=/usr/local/bin/restic-pi backup --no-cache --host "+Snapshots+" "+Data+"\n", 0o644)
	h.Put("/etc/systemd/system/restic-backups-pi.timer", "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n", 0o644)
	h.Fresh()
	return h
}

// Fresh gives the host the data, the repository and the units as they were in the
// beginning.
func (h *Host) Fresh() {
	h.t.Helper()
	h.Do("rm -rf " + Data + " /var/lib/backup")
	for name, text := range map[string]string{"app.conf": Secret, "data/one": strings.Repeat(Secret, 1000), "repositories/ops/site.git/HEAD": Secret} {
		h.Put(filepath.Join(Data, name), text, 0o640)
	}
	h.ID = restictest.New(h.t, filepath.Join(h.root, Repository))
	h.Put("/var/lib/backup/key", restictest.Password+"\n", 0o600)
	// The units' clock ticks in seconds, the files' in nanoseconds.
	h.Do("chown -R " + User + " /var/lib/backup && chown 34:34 " + Data + "/app.conf && systemctl daemon-reload && systemctl enable --now restic-backups-pi.timer && systemctl start restic-backups-pi.service")
}

// Put writes a file of root's.
func (h *Host) Put(path, text string, mode os.FileMode) {
	h.t.Helper()
	at := filepath.Join(h.root, path)
	err := os.MkdirAll(filepath.Dir(at), 0o755)
	if err == nil {
		err = os.WriteFile(at, []byte(text), mode)
	}
	if err == nil {
		err = os.Chmod(at, mode)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// Do runs a script as root, and fails the test if it does not end well.
func (h *Host) Do(script string) string {
	h.t.Helper()
	out, err := h.Run(script)
	if err != nil {
		h.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// Digest is of the data and of the repository: names, modes, owners and contents.
func (h *Host) Digest() string {
	h.t.Helper()
	return h.Do("cd / && find ." + Data + " ." + Repository + " -printf '%p %M %u %g %s\\n' | LC_ALL=C sort | sha256sum; find ." + Data + " ." + Repository + " -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum")
}

// Left is what is still there of what ran on the host: processes, and files in
// the directories that were given to it.
func (h *Host) Left(dirs ...string) string {
	h.t.Helper()
	return strings.TrimSpace(h.Do("ps -eo args | grep -E '(^| |/)(agent|restic|etcd) ' | grep -v grep || :; for d in " + strings.Join(dirs, " ") + "; do find $d -mindepth 1 2>/dev/null || :; done"))
}
