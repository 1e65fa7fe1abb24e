package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/poly1305" //nolint:staticcheck // restic's format is Poly1305-AES, for which there is nothing else
)

// masterKey is what everything in a repository is sealed with. restic itself
// shows it to who has the password; with it, what would take restic an hour to
// make is written in restic's format (its design document) in a second.
type masterKey struct {
	MAC struct {
		K []byte `json:"k"`
		R []byte `json:"r"`
	} `json:"mac"`
	Encrypt []byte `json:"encrypt"`
}

func (v *vault) master() (*masterKey, error) {
	said, err := v.restic("cat", "masterkey")
	if err != nil {
		return nil, err
	}
	k := &masterKey{}
	return k, json.Unmarshal(said, k)
}

func (k *masterKey) seal(plain []byte) ([]byte, error) {
	out := make([]byte, 16, len(plain)+32)
	rand.Read(out) // never fails
	block, err := aes.NewCipher(k.Encrypt)
	if err != nil {
		return nil, err
	}
	mac, err := aes.NewCipher(k.MAC.K)
	if err != nil {
		return nil, err
	}
	nonce := out[:16]
	out = append(out, plain...)
	cipher.NewCTR(block, nonce).XORKeyStream(out[16:], plain)
	var key [32]byte
	copy(key[:16], k.MAC.R)
	mac.Encrypt(key[16:], nonce)
	var tag [16]byte
	poly1305.Sum(&tag, out[16:], &key)
	return append(out, tag[:]...), nil
}

// put writes a document among the files of one kind ("snapshots", "index") and
// returns its id.
func (v *vault) put(k *masterKey, kind string, document any) (id string, err error) {
	plain, err := json.Marshal(document)
	if err != nil {
		return "", err
	}
	sealed, err := k.seal(plain) // what begins with a brace is not compressed
	if err != nil {
		return "", err
	}
	return v.write(kind, sealed)
}

// write gives a file the name of its content.
func (v *vault) write(kind string, data []byte) (id string, err error) {
	id = fmt.Sprintf("%x", sha256.Sum256(data))
	dir := filepath.Join(v.repo, kind)
	if kind == "data" {
		dir = filepath.Join(dir, id[:2])
	}
	return id, os.WriteFile(filepath.Join(dir, id), data, 0o600)
}

// pack collects directories, which in a repository are blobs that name others.
type pack struct {
	data   bytes.Buffer
	header bytes.Buffer
	blobs  []packed
}

type packed struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

// tree adds a directory and returns its id.
func (p *pack) tree(k *masterKey, nodes []sealedNode) (id string, err error) {
	plain, err := json.Marshal(map[string]any{"nodes": nodes})
	if err != nil {
		return "", err
	}
	plain = append(plain, '\n')
	sum := sha256.Sum256(plain)
	sealed, err := k.seal(plain)
	if err != nil {
		return "", err
	}
	b := packed{ID: fmt.Sprintf("%x", sum), Type: "tree", Offset: p.data.Len(), Length: len(sealed)}
	p.data.Write(sealed)
	p.header.WriteByte(1) // a directory that is not compressed
	p.header.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(sealed))))
	p.header.Write(sum[:])
	p.blobs = append(p.blobs, b)
	return b.ID, nil
}

// pack writes a pack and the index that names it.
func (v *vault) pack(k *masterKey, p *pack) error {
	header, err := k.seal(p.header.Bytes())
	if err != nil {
		return err
	}
	p.data.Write(header)
	p.data.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(header))))
	id, err := v.write("data", p.data.Bytes())
	if err != nil {
		return err
	}
	_, err = v.put(k, "index", map[string]any{"packs": []any{map[string]any{"id": id, "blobs": p.blobs}}})
	return err
}
