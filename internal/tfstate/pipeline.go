package tfstate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"runtime"
	"sync"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"
)

// chunkSize is how much of the state is one zstd frame. Frames are compressed
// side by side; a file of several frames is a zstd file like any other. It is
// also what bounds the memory: a few chunks are in flight, whatever the size.
const (
	chunkSize  = 1 << 20
	maxWorkers = 4
)

// Digest is the SHA-256 and the size of a stream.
type Digest struct {
	SHA256 string `json:"sha256"` // lower-case hex
	Size   int64  `json:"size"`   // bytes
}

type digester struct {
	hash.Hash
	size int64
}

func newDigester() *digester { return &digester{Hash: sha256.New()} }

func (d *digester) Write(p []byte) (int, error) {
	d.size += int64(len(p))
	return d.Hash.Write(p)
}

func (d *digester) Digest() Digest { return Digest{hex.EncodeToString(d.Sum(nil)), d.size} }

// witness is an age recipient that remembers the key of the contents when it
// wraps it for the real recipient, so that the same process can open the file
// again and compare. Recipients are public keys: without it, an archive could
// only be proved where their secret keys are.
type witness struct {
	age.Recipient
	fileKey []byte
}

func (w *witness) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	stanzas, _, err := w.WrapWithLabels(fileKey)
	return stanzas, err
}

// WrapWithLabels keeps the labels, by which age refuses to mix post-quantum
// recipients with classic ones.
func (w *witness) WrapWithLabels(fileKey []byte) ([]*age.Stanza, []string, error) {
	w.fileKey = bytes.Clone(fileKey)
	if r, ok := w.Recipient.(age.RecipientWithLabels); ok {
		return r.WrapWithLabels(fileKey)
	}
	stanzas, err := w.Recipient.Wrap(fileKey)
	return stanzas, nil, err
}

// Unwrap makes the witness the identity that opens what it has seen sealed.
func (w *witness) Unwrap([]*age.Stanza) ([]byte, error) {
	if w.fileKey == nil {
		return nil, age.ErrIncorrectIdentity
	}
	return w.fileKey, nil
}

// sealed is what one pass over a state has found out.
type sealed struct {
	state, archive Digest
	meta           Meta
	metaErr        error // the state is not whole, see scanner.Meta
	proof          *proof
}

// proof is what lets check compare an archive with the state that went into
// it, without the state and without a secret key: the key of the contents and,
// for each chunk, its packed size and a hash of its plain bytes. The hash is
// keyed anew in each process and never leaves it, so 64 bits are plenty, at a
// tenth of the cost of a second SHA-256.
type proof struct {
	key    *witness
	seed   maphash.Seed
	chunks []chunkProof
}

type chunkProof struct {
	packed, plain int
	sum           uint64
}

// chunk is one piece of the state on its way to the archive.
type chunk struct {
	plain, packed []byte
	sum           uint64
	ready         chan struct{}  // closed when packed and sum are set
	readers       sync.WaitGroup // who still looks at plain
}

// seal reads a state from src once and writes its archive to dst: zstd, then
// age to the recipients. On the same pass it takes both digests, the Meta and
// the proof.
func seal(ctx context.Context, dst io.Writer, src io.Reader, recipients []age.Recipient) (*sealed, error) {
	if len(recipients) == 0 {
		return nil, errors.New("encrypting: no recipients")
	}
	out := &sealed{proof: &proof{key: &witness{Recipient: recipients[0]}, seed: maphash.MakeSeed()}}
	archiveSum := newDigester()
	enc, err := age.Encrypt(io.MultiWriter(dst, archiveSum), append([]age.Recipient{out.proof.key}, recipients[1:]...)...)
	if err != nil {
		return nil, fmt.Errorf("encrypting: %w", err)
	}
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	var (
		pool  = make(chan *chunk, 2*workers+4)
		pack  = make(chan *chunk, cap(pool))
		sums  = make(chan *chunk, cap(pool))
		scans = make(chan *chunk, cap(pool))
		write = make(chan *chunk, cap(pool))
		wg    sync.WaitGroup
	)
	for range cap(pool) {
		pool <- &chunk{plain: make([]byte, 0, chunkSize)}
	}
	for range workers {
		// A state repeats itself in short distances: the fastest level packs it
		// ten to one and costs half of the next. age authenticates every byte, so
		// zstd's own checksum would only cost time, twice.
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(chunkSize), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			for c := range pack {
				c.packed = z.EncodeAll(c.plain, c.packed[:0])
				c.sum = maphash.Bytes(out.proof.seed, c.plain)
				close(c.ready)
			}
		})
	}
	// The digest and the scan each go through the state in order, so each is a
	// goroutine of its own: together they would take longer than the packing.
	stateSum, scan := newDigester(), newScanner()
	for look, in := range map[io.Writer]chan *chunk{stateSum: sums, scan: scans} {
		wg.Go(func() {
			for c := range in {
				_, _ = look.Write(c.plain) // neither can fail
				c.readers.Done()
			}
		})
	}
	var writeErr error
	wg.Go(func() {
		for c := range write {
			<-c.ready
			if writeErr == nil {
				_, writeErr = enc.Write(c.packed)
			}
			out.proof.chunks = append(out.proof.chunks, chunkProof{len(c.packed), len(c.plain), c.sum})
			c.readers.Wait()
			pool <- c
		}
	})
	var readErr error
	for readErr == nil {
		c := <-pool
		var n int
		n, readErr = io.ReadFull(src, c.plain[:chunkSize])
		if ctx.Err() != nil {
			readErr = context.Cause(ctx)
			break
		}
		if n == 0 {
			break
		}
		c.plain, c.ready = c.plain[:n], make(chan struct{})
		c.readers.Add(2)
		for _, stage := range []chan *chunk{pack, sums, scans, write} {
			stage <- c
		}
	}
	for _, stage := range []chan *chunk{pack, sums, scans, write} {
		close(stage)
	}
	wg.Wait()
	if !errors.Is(readErr, io.EOF) && !errors.Is(readErr, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("reading the state: %w", readErr)
	}
	if writeErr == nil {
		writeErr = enc.Close()
	}
	if writeErr != nil {
		return nil, fmt.Errorf("writing the archive: %w", writeErr)
	}
	out.state, out.archive = stateSum.Digest(), archiveSum.Digest()
	out.meta, out.metaErr = scan.Meta()
	return out, nil
}

// check reads an archive back from src and returns nil only if it decrypts,
// unpacks and is, byte for byte, the state that was sealed. The identities are
// tried where their owner has them on this machine; else the witness opens it.
func (s *sealed) check(src io.Reader, identities ...age.Identity) error {
	if len(identities) == 0 {
		identities = []age.Identity{s.proof.key}
	}
	archiveSum := newDigester()
	src = io.TeeReader(src, archiveSum)
	plain, err := age.Decrypt(src, identities...)
	if err != nil {
		return fmt.Errorf("decrypting: %w", err)
	}
	type job struct {
		packed []byte
		want   chunkProof
		index  int
	}
	workers := min(runtime.GOMAXPROCS(0), maxWorkers)
	jobs, buffers := make(chan job), make(chan []byte, 2*workers)
	for range cap(buffers) {
		buffers <- nil
	}
	failed := make(chan error, workers)
	var wg sync.WaitGroup
	for range workers {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(2*chunkSize))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer z.Close()
			var out []byte
			for j := range jobs {
				var err error
				out, err = z.DecodeAll(j.packed, out[:0])
				if err == nil && (len(out) != j.want.plain || maphash.Bytes(s.proof.seed, out) != j.want.sum) {
					err = errors.New("other bytes than the state's")
				}
				if err != nil {
					select {
					case failed <- fmt.Errorf("unpacking part %d: %w", j.index, err):
					default:
					}
				}
				buffers <- j.packed
			}
		})
	}
	var readErr error
	for i, want := range s.proof.chunks {
		b := <-buffers
		if cap(b) < want.packed {
			b = make([]byte, want.packed)
		}
		b = b[:want.packed]
		if _, readErr = io.ReadFull(plain, b); readErr != nil {
			break
		}
		jobs <- job{b, want, i}
	}
	close(jobs)
	wg.Wait()
	if readErr == nil {
		// To the very end: age authenticates the last part only there.
		_, readErr = io.Copy(io.Discard, plain)
	}
	if readErr != nil {
		return fmt.Errorf("reading the archive: %w", readErr)
	}
	select {
	case err := <-failed:
		return err
	default:
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return fmt.Errorf("reading the archive: %w", err)
	}
	if got := archiveSum.Digest(); got != s.archive {
		return fmt.Errorf("its sha256 is %s (%d bytes), not %s (%d bytes)", got.SHA256, got.Size, s.archive.SHA256, s.archive.Size)
	}
	return nil
}
