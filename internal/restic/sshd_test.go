package restic

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"edge-actions/internal/testing/realtools"
)

// host is a real sshd of the current user's, whose sessions have a variable
// that would hide snapshots.
type host struct {
	t                     testing.TB
	address, dir          string
	identity, hostKeyFile string
	cmd                   *exec.Cmd
	log                   *lockedBuffer
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, address: freeAddress(t), dir: t.TempDir(), log: &lockedBuffer{}}
	h.identity, h.hostKeyFile = filepath.Join(h.dir, "identity"), filepath.Join(h.dir, "host")
	for _, key := range []string{h.identity, h.hostKeyFile} {
		realtools.Output(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // as its unit does
			t.Fatal(err)
		}
	}
	config := write(t, filepath.Join(h.dir, "sshd_config"), strings.Join([]string{
		"ListenAddress " + h.address, "PidFile none", "StrictModes no", "UsePAM no", "PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"HostKey " + h.hostKeyFile, "AuthorizedKeysFile " + h.identity + ".pub", "Subsystem sftp internal-sftp", "SetEnv RESTIC_HOST=nobody RESTIC_PASSWORD=hunter2 STRANGER=hunter2",
	}, "\n")+"\n")
	sshd := "/usr/sbin/sshd" // not on the PATH of everybody
	if _, err := os.Stat(sshd); err != nil {
		sshd = realtools.Path(t, "sshd")
	}
	h.cmd = exec.Command(sshd, "-D", "-e", "-f", config)
	h.cmd.Stderr, h.cmd.WaitDelay = h.log, time.Second // children of sshd hold its stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.stop)
	listens(t, h.address)
	return h
}

func (h *host) stop() {
	if h.cmd.ProcessState == nil {
		h.cmd.Process.Kill()
		h.cmd.Wait()
	}
	if h.t.Failed() {
		h.t.Logf("sshd said:\n%s", h.log)
	}
}

func (h *host) port() string {
	_, port, _ := net.SplitHostPort(h.address)
	return port
}

func (h *host) hostKey() string {
	b, err := os.ReadFile(h.hostKeyFile + ".pub")
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (h *host) knownHosts() string { return fmt.Sprintf("[127.0.0.1]:%s %s\n", h.port(), h.hostKey()) }
