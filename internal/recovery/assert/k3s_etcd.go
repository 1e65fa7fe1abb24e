package assert

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"edge-actions/internal/command"
)

// etcdRestoreTime is how long etcdutl may take for a snapshot; etcd's own limit
// is 8 GB.
const etcdRestoreTime = 30 * time.Minute

// etcd holds a snapshot against its own hash, makes a data directory of it and
// asks a real etcd what is in it.
func (k *K3s) etcd(ctx context.Context, j *judge, password string) {
	const wanted = "an etcd snapshot that is what its hash says"
	p, err := newestSnapshot(j.tree, k.EtcdSnapshot)
	if err != nil {
		j.missing(K3sSnapshotHash, wanted, k.EtcdSnapshot, err)
		k.noDatastore(j)
		return
	}
	local, err := j.localSnapshot(ctx, p)
	if err != nil {
		j.missing(K3sSnapshotHash, wanted, p, deadlineOf(ctx, err))
		k.noDatastore(j)
		return
	}
	size, err := snapshotHash(ctx, local)
	switch {
	case errors.Is(err, errNoHash), errors.Is(err, errOtherHash):
		j.refuse(K3sSnapshotHash, wanted, fmt.Sprintf("%.300q, %d bytes %v", p, size, err), "take it with k3s etcd-snapshot save, and back it up when that has ended: a copy of the live database is no snapshot")
		k.noDatastore(j)
		return
	case err != nil:
		j.missing(K3sSnapshotHash, wanted, p, deadlineOf(ctx, err))
		k.noDatastore(j)
		return
	}
	j.prove(K3sSnapshotHash, wanted, fmt.Sprintf("%.300q, %d bytes", p, size))
	k.serve(ctx, j, local, password)
}

func (k *K3s) noDatastore(j *judge) {
	j.cannotTell(K3sDatastore, "a datastore beside the token", errors.New("the snapshot was not restored"), "see the check before this one")
}

// serve restores the snapshot into a data directory and reads it through etcd.
func (k *K3s) serve(ctx context.Context, j *judge, snapshot, password string) {
	const wanted = "the snapshot to become a datastore"
	const install = "install etcd and etcdutl on the runner: both are in etcd's release; or scripts/tools/install etcd builds them"
	etcd, err := j.find(j.tools.Etcd, "etcd")
	if err != nil {
		j.cannotTell(K3sDatastore, wanted, errors.New("no etcd on this runner"), install)
		return
	}
	etcdutl, err := j.find(j.tools.Etcdutl, "etcdutl")
	if err != nil {
		j.cannotTell(K3sDatastore, wanted, errors.New("no etcdutl on this runner"), install)
		return
	}
	data := filepath.Join(j.temp, "etcd-data")
	err = command.Run(ctx, command.Cmd{
		Path: etcdutl, Dir: j.temp, Env: etcdEnviron(j), Timeout: etcdRestoreTime, Grace: 5 * time.Second, Stdout: io.Discard,
		Args: []string{"snapshot", "restore", snapshot, "--data-dir", data, "--name", etcdMember, "--initial-cluster", etcdMember + "=" + etcdPeer, "--initial-advertise-peer-urls", etcdPeer},
	})
	switch {
	case command.Code(err) > 0:
		j.refuse(K3sDatastore, wanted, quiet(ctx, err).Error(), "try etcdutl snapshot restore by hand: the snapshot is damaged, or of a newer etcd than this etcdutl")
		return
	case err != nil:
		j.cannotTell(K3sDatastore, wanted, quiet(ctx, err), "see the free space")
		return
	}
	// An etcd makes what it does not find, and answers as well.
	if info, err := os.Stat(filepath.Join(data, "member/snap/db")); err != nil || info.Size() == 0 {
		j.cannotTell(K3sDatastore, wanted, errors.New("etcdutl left no database, with exit code 0"), "see which etcdutl that is")
		return
	}
	server, err := startEtcd(ctx, etcd, data, j)
	if err != nil {
		j.cannotTell(K3sDatastore, wanted, deadlineOf(ctx, err), "try etcd on the restored snapshot by hand")
		return
	}
	defer server.stop()
	revision, keys, err := server.count(ctx, "")
	if err != nil {
		j.cannotTell(K3sDatastore, wanted, deadlineOf(ctx, err), "try etcd on the restored snapshot by hand")
		return
	}
	j.prove(K3sDatastore, wanted, "an etcd that answers")
	k.keys(ctx, j, server, revision, keys)
	k.bootstrap(ctx, j, password, server)
}

func (k *K3s) keys(ctx context.Context, j *judge, server *etcdServer, revision, keys int64) {
	wanted := fmt.Sprintf("revision %d or later, at least %d keys, and %d keys by name", k.MinRevision, max(k.MinKeys, 1), len(k.RequiredKeys))
	var absent findings
	for _, key := range k.RequiredKeys {
		_, n, err := server.count(ctx, key)
		if err != nil {
			j.cannotTell(K3sSnapshotKeys, wanted, deadlineOf(ctx, err), "try etcd on the restored snapshot by hand")
			return
		}
		if n == 0 {
			absent.add("%.200q is missing", key)
		}
	}
	got := fmt.Sprintf("revision %d, %d keys", revision, keys)
	if absent.count > 0 {
		got += "\n" + absent.String()
	}
	if revision < k.MinRevision || keys < max(k.MinKeys, 1) || absent.count > 0 {
		j.refuse(K3sSnapshotKeys, wanted, got, "see when the snapshot was taken, and of which cluster")
		return
	}
	j.prove(K3sSnapshotKeys, wanted, got)
}

// newestSnapshot is the snapshot itself, or the newest file of the directory:
// K3s puts the time into their names, and restic brings their times back.
func newestSnapshot(t *restoredTree, p string) (string, error) {
	if err := t.isDir(p); err != nil {
		if errors.Is(err, errNotDir) {
			return p, nil
		}
		return "", err
	}
	entries, err := fs.ReadDir(t.root.FS(), inTree(p))
	if err != nil {
		return "", err
	}
	newest, at := "", time.Time{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", err
		}
		if info.Mode().IsRegular() && (newest == "" || !info.ModTime().Before(at)) {
			newest, at = e.Name(), info.ModTime()
		}
	}
	if newest == "" {
		return "", fs.ErrNotExist
	}
	return path.Join(p, newest), nil
}

// localSnapshot is where programs find the snapshot. One that K3s compressed is
// unpacked beside the tree.
func (j *judge) localSnapshot(ctx context.Context, p string) (string, error) {
	real, err := j.tree.path(p)
	if err != nil || !strings.HasSuffix(p, ".zip") {
		return real, err
	}
	archive, err := zip.OpenReader(real)
	if err != nil {
		return "", errors.New("is no ZIP archive that can be read")
	}
	defer archive.Close()
	if len(archive.File) != 1 {
		return "", fmt.Errorf("has %d files in its archive, not 1", len(archive.File))
	}
	from, err := archive.File[0].Open()
	if err != nil {
		return "", errors.New("is no ZIP archive that can be read")
	}
	defer from.Close()
	to, err := os.OpenFile(filepath.Join(j.temp, "snapshot.db"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	// etcd's limit for a database is 8 GB; more than twice that is no snapshot.
	n, err := io.Copy(to, io.LimitReader(&untilDone{ctx, from}, 16<<30))
	if err == nil && n == 16<<30 {
		err = errors.New("unpacks to more than any etcd has")
	}
	return to.Name(), errors.Join(err, to.Close())
}

var (
	errNoHash    = errors.New("without the hash that etcd puts at the end of a snapshot")
	errOtherHash = errors.New("that have another hash than the one at the end")
)

// snapshotHash holds a snapshot against the SHA-256 that its last 32 bytes are.
// A database is a number of 512-byte sectors, so one without a hash shows.
func snapshotHash(ctx context.Context, file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := info.Size()
	if size <= sha256.Size || size%512 != sha256.Size {
		return size, errNoHash
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(&untilDone{ctx, f}, size-sha256.Size)); err != nil {
		return size, err
	}
	end := make([]byte, sha256.Size)
	if _, err := f.ReadAt(end, size-sha256.Size); err != nil {
		return size, err
	}
	if !bytes.Equal(end, h.Sum(nil)) {
		return size, errOtherHash
	}
	return size, nil
}
