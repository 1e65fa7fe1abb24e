package assert

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" // of K3s' key derivation
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// bootstrapPrefix begins the names under which K3s keeps the cluster's own keys
// in the datastore, each sealed with a token and named for its hash
// (pkg/cluster/encrypt.go).
const (
	bootstrapPrefix = "/bootstrap/"
	bootstrapEnd    = "/bootstrap0" // the first name after all of them
)

// datastore is what a restored datastore is asked for: one value, nil if there
// is none, and how many names begin with bootstrapPrefix.
type datastore interface {
	value(ctx context.Context, key string) ([]byte, error)
	bootstraps(ctx context.Context) (int64, error)
}

// bootstrap opens what the token sealed. A token and a CA that fit each other say
// nothing of the datastore beside them: that of another cluster starts as well.
func (k *K3s) bootstrap(ctx context.Context, j *judge, password string, of datastore) {
	const wanted = "the cluster's own keys in the datastore, sealed with this token"
	const hint = "the token and the datastore are of two clusters, or the token was rotated between their backups: see that both are backed up at the same time"
	if password == "" {
		j.cannotTell(K3sBootstrap, wanted, errors.New("no password in the token"), "see the check of the token")
		return
	}
	sum := sha256.Sum256([]byte(password))
	sealed, err := of.value(ctx, bootstrapPrefix+hex.EncodeToString(sum[:])[:12])
	var others int64
	if err == nil && sealed == nil {
		others, err = of.bootstraps(ctx)
	}
	switch {
	case err != nil:
		j.cannotTell(K3sBootstrap, wanted, deadlineOf(ctx, err), "look at the restored datastore by hand")
		return
	case sealed == nil && others == 0:
		j.cannotTell(K3sBootstrap, wanted, errors.New("no such keys of any token"), "see whether this is the datastore of K3s' server")
		return
	case sealed == nil:
		j.refuse(K3sBootstrap, wanted, fmt.Sprintf("those of %d other tokens", others), hint)
		return
	}
	size, ok := unseal(password, sealed)
	if !ok {
		j.refuse(K3sBootstrap, wanted, fmt.Sprintf("%d bytes that the token does not open", len(sealed)), hint)
		return
	}
	j.prove(K3sBootstrap, wanted, fmt.Sprintf("opened, %d bytes", size))
}

// unseal opens a value of K3s' (salt, a colon, and nonce and ciphertext in
// base64) and returns the size of what is in it.
func unseal(password string, sealed []byte) (size int, ok bool) {
	salt, text, _ := bytes.Cut(sealed, []byte(":"))
	data, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return 0, false
	}
	key, err := pbkdf2.Key(sha1.New, password, salt, 4096, 32)
	if err != nil {
		return 0, false
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return 0, false
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil || len(data) < gcm.NonceSize() {
		return 0, false
	}
	plain, err := gcm.Open(nil, data[:gcm.NonceSize()], data[gcm.NonceSize():], nil)
	return len(plain), err == nil && len(plain) > 0
}

// kine is the datastore of a single server: each change is a row, the last one
// counts.
type kine struct{ db *sql.DB }

func (k kine) value(ctx context.Context, key string) ([]byte, error) {
	var deleted bool
	var value []byte
	err := k.db.QueryRowContext(ctx, `SELECT COALESCE(deleted, 0), COALESCE(value, '') FROM kine WHERE name = ? ORDER BY id DESC LIMIT 1`, key).Scan(&deleted, &value)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && deleted:
		return nil, nil
	case err != nil:
		return nil, sqliteError(ctx, err)
	}
	return append([]byte{}, value...), nil
}

func (k kine) bootstraps(ctx context.Context) (n int64, err error) {
	if err := k.db.QueryRowContext(ctx, `SELECT count(DISTINCT name) FROM kine WHERE name >= ? AND name < ?`, bootstrapPrefix, bootstrapEnd).Scan(&n); err != nil {
		return 0, sqliteError(ctx, err)
	}
	return n, nil
}
