package content

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// vectors.json tells where each id comes from: other implementations of the same
// profile.
type vectors struct {
	Files []struct {
		From, Name, Content, Text, Seed string
		Size                            int64
		CID                             proto.CID
	}
	Dirs []struct {
		From, Name, Content, Seed string
		Entries, Last             int
		Dag                       int64
		CID                       proto.CID
	}
}

func loadVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestFileIDsAreThoseOfOtherImplementations(t *testing.T) {
	for _, v := range loadVectors(t).Files {
		t.Run(v.From+" "+v.Name, func(t *testing.T) {
			if v.Size > 1<<30-1 && testing.Short() {
				t.Skip("NOT CHECKED in short mode: files of a GiB")
			}
			var in io.Reader
			switch v.Content {
			case "text":
				in = strings.NewReader(v.Text)
			case "zeros":
				in = io.LimitReader(zeros{}, v.Size)
			case "pattern":
				in = bytes.NewReader(pattern(int(v.Size)))
			case "chacha":
				in = io.LimitReader(newChacha(v.Seed), v.Size)
			}
			n, err := openStore(t).AddReader(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if n.CID != v.CID || n.Size != v.Size || n.Dir {
				t.Errorf("got %+v, want %s of %d bytes", n, v.CID, v.Size)
			}
		})
	}
}

func TestDirectoryIDsAreThoseOfOtherImplementations(t *testing.T) {
	for _, v := range loadVectors(t).Dirs {
		t.Run(v.From+" "+v.Name, func(t *testing.T) {
			s := openStore(t)
			var parts []Part
			switch v.Content {
			case "three":
				for i, p := range []string{"a.txt", "b.txt", "z/c.txt"} {
					parts = append(parts, Part{p, s.add(t, strings.Repeat(string("abc"[i]), i+1)+"\n")})
				}
			case "numbered":
				for i := range v.Entries {
					text := fmt.Sprintf("content %d\n", i)
					n := Node{CID: proto.RawCID([]byte(text)), Size: int64(len(text))}
					parts = append(parts, Part{fmt.Sprintf("file-%06d.txt", i), n})
				}
			case "chacha names":
				for _, name := range chachaNames(v.Seed, v.Entries, v.Last) {
					parts = append(parts, Part{name, Node{CID: proto.RawCID([]byte("x")), Size: 1}})
				}
			}
			n, err := s.BuildTree(t.Context(), parts)
			if err != nil {
				t.Fatal(err)
			}
			if n.CID != v.CID || !n.Dir || v.Dag != 0 && n.DAGSize != v.Dag {
				t.Errorf("got %+v, want %s of %d bytes of blocks", n, v.CID, v.Dag)
			}
			want := len(parts)
			if v.Content == "three" {
				want++ // z/
			}
			if got := len(s.tree(t, n.CID).Entries()); got != want {
				t.Errorf("read back: %d entries, want %d", got, want)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// chachaNames makes the file names of kubo's vectors.
func chachaNames(seed string, count, last int) []string {
	const alphabet = "abcdefghijklmnopqrstuvwxyz01234567890-_"
	in := newChacha(seed)
	names := make([]string, count)
	for i := range names {
		size := 11
		if i == count-1 {
			size = last
		}
		b := make([]byte, size)
		in.Read(b)
		for j := range b {
			b[j] = alphabet[int(b[j])%len(alphabet)]
		}
		names[i] = string(b)
	}
	return names
}

// chacha is the stream of ChaCha20 (RFC 8439) with key SHA-256(seed), nonce 0,
// from block 0 on: the bytes of kubo's vectors.
type chacha struct {
	state [16]uint32
	block [64]byte
	used  int
}

func newChacha(seed string) *chacha {
	c := &chacha{used: 64}
	key := sha256.Sum256([]byte(seed))
	copy(c.state[:], []uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574})
	for i := range 8 {
		c.state[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return c
}

func (c *chacha) Read(p []byte) (int, error) {
	for i := range p {
		if c.used == len(c.block) {
			c.next()
		}
		p[i] = c.block[c.used]
		c.used++
	}
	return len(p), nil
}

func (c *chacha) next() {
	x := c.state
	quarter := func(a, b, d, e int) {
		x[a] += x[b]
		x[e] = bits.RotateLeft32(x[e]^x[a], 16)
		x[d] += x[e]
		x[b] = bits.RotateLeft32(x[b]^x[d], 12)
		x[a] += x[b]
		x[e] = bits.RotateLeft32(x[e]^x[a], 8)
		x[d] += x[e]
		x[b] = bits.RotateLeft32(x[b]^x[d], 7)
	}
	for range 10 {
		for i := range 4 {
			quarter(i, 4+i, 8+i, 12+i)
		}
		for i := range 4 {
			quarter(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4)
		}
	}
	for i := range x {
		binary.LittleEndian.PutUint32(c.block[4*i:], x[i]+c.state[i])
	}
	c.state[12]++
	c.used = 0
}
