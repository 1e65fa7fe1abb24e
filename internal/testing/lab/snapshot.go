package lab

import (
	"fmt"
	"os"
	"path/filepath"
)

// Snapshot keeps the host's disk and its ESP as they are now, for Rollback, and
// boots it again.
func (h *Host) Snapshot() error {
	if err := h.lab.stock(); err != nil {
		return err
	}
	h.PowerOff()
	dir := h.path("snapshot")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, part := range []string{"upper", "boot"} {
		if _, err := run("cp", "-a", h.path(part), filepath.Join(dir, part)); err != nil {
			return err
		}
	}
	return h.PowerOn()
}

// Rollback has the disk and the ESP be what they were at the Snapshot, as a
// reinstallation does: the same host key, the same machine id, and nothing of
// what came since. It boots the host.
func (h *Host) Rollback() error {
	if err := h.lab.stock(); err != nil {
		return err
	}
	h.PowerOff()
	dir := h.path("snapshot")
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("%s has no snapshot to go back to: %w", h.Name, err)
	}
	if _, err := run("umount", "--lazy", h.path("root")); err != nil {
		return err
	}
	for _, old := range []string{"upper", "work", "lab/kexec", "lab/kexec.used", "lab/formatted", "lab/init"} {
		if err := os.RemoveAll(h.path(old)); err != nil {
			return err
		}
	}
	if _, err := run("cp", "-a", filepath.Join(dir, "upper"), h.path("upper")); err != nil {
		return err
	}
	if err := os.Mkdir(h.path("work"), 0o755); err != nil {
		return err
	}
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", h.lab.base, h.path("upper"), h.path("work"))
	if _, err := run("mount", "-t", "overlay", "overlay", "-o", overlay, h.path("root")); err != nil {
		return err
	}
	// The ESP is mounted where it is, so its content goes and not the place.
	if _, err := run("find", h.path("boot"), "-mindepth", "1", "-delete"); err != nil {
		return err
	}
	if _, err := run("cp", "-a", filepath.Join(dir, "boot")+"/.", h.path("boot")); err != nil {
		return err
	}
	return h.PowerOn()
}
