package tfstate

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// It is what encoding/json makes, which is what OpenTofu uses, however the bytes
// come in.
func TestIndenter(t *testing.T) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, stateOf(5, 10, "l")); err != nil {
		t.Fatal(err)
	}
	for _, doc := range []string{
		compact.String(), `{}`, `[]`, `{"a":{},"b":[],"c":[{}],"d":[[],[1,2]]}`, `{"a":"\"}{][,:\\","b":null,"c":-1.5e3,"d":true}`, `{"e":"\\\\","f":" spaces stay "}`,
		" { \"a\" :\n[ 1 ,\t2 ] }\n",
	} {
		var want bytes.Buffer
		if err := json.Indent(&want, append(bytes.TrimSpace([]byte(doc)), '\n'), "", "  "); err != nil {
			t.Fatal(err)
		}
		want.WriteByte('\n')
		for _, size := range []int{1, 3, len(doc)} {
			var got bytes.Buffer
			n := NewIndenter(&got)
			for rest := []byte(doc); len(rest) > 0; rest = rest[min(size, len(rest)):] {
				if _, err := n.Write(rest[:min(size, len(rest))]); err != nil {
					t.Fatal(err)
				}
			}
			if err := n.Flush(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), got.String()); diff != "" {
				t.Errorf("%s in pieces of %d (-want +got):\n%s", doc, size, diff)
			}
		}
	}
	n := NewIndenter(full{})
	n.Write([]byte(`{"a":1}`))
	if err := n.Flush(); !errors.Is(err, errFull) {
		t.Errorf("a disk that is full: %v", err)
	}
}

var errFull = errors.New("no room")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }
