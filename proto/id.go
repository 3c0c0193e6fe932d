package proto

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// ErrID is wrapped by every error about a malformed id.
var ErrID = errors.New("malformed id")

// A PeerID names a node: it is the node's Ed25519 public key. Its text form is
// the libp2p peer id (12D3Koo…). The zero value names nobody.
type PeerID [ed25519.PublicKeySize]byte

// peerIDPrefix is what a libp2p peer id of an Ed25519 key holds before the key:
// an identity multihash (0x00) of 36 bytes, holding a protobuf of type 1
// (Ed25519) and 32 bytes of data.
var peerIDPrefix = [6]byte{0x00, 0x24, 0x08, 0x01, 0x12, 0x20}

// PeerIDFromBytes takes the 32 bytes of a public key, or the 38 bytes of a
// libp2p peer id.
func PeerIDFromBytes(b []byte) (PeerID, error) {
	if len(b) == len(peerIDPrefix)+ed25519.PublicKeySize && string(b[:len(peerIDPrefix)]) == string(peerIDPrefix[:]) {
		b = b[len(peerIDPrefix):]
	}
	if len(b) != ed25519.PublicKeySize {
		return PeerID{}, fmt.Errorf("%w: a peer id has %d bytes, not %d", ErrID, ed25519.PublicKeySize, len(b))
	}
	id := PeerID(b)
	if id.IsZero() {
		return PeerID{}, fmt.Errorf("%w: the zero peer id", ErrID)
	}
	return id, nil
}

// ParsePeerID reads the text form, 12D3Koo….
func ParsePeerID(s string) (PeerID, error) {
	if len(s) > 64 {
		return PeerID{}, fmt.Errorf("%w: peer id of %d characters", ErrID, len(s))
	}
	b, err := base58Decode(s)
	if err != nil {
		return PeerID{}, fmt.Errorf("%w: peer id %q: %v", ErrID, s, err)
	}
	if len(b) != len(peerIDPrefix)+ed25519.PublicKeySize || !bytes.HasPrefix(b, peerIDPrefix[:]) {
		return PeerID{}, fmt.Errorf("%w: %q is not the id of an Ed25519 peer (12D3Koo…)", ErrID, s)
	}
	return PeerIDFromBytes(b)
}

// String gives the libp2p text form.
func (p PeerID) String() string { return base58Encode(p.Multihash()) }

// Short gives the last eight characters of the text form, for people: the first
// ones are the same for every Ed25519 peer.
func (p PeerID) Short() string {
	s := p.String()
	return s[len(s)-8:]
}

// Multihash gives the 38 bytes of the libp2p peer id.
func (p PeerID) Multihash() []byte { return append(peerIDPrefix[:], p[:]...) }

// IsZero tells whether p names nobody.
func (p PeerID) IsZero() bool { return p == PeerID{} }

// MarshalText gives the text form.
func (p PeerID) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the text form.
func (p *PeerID) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePeerID(string(b))
	return err
}

// A CID is a content id: IPFS CIDv1 with SHA-256 and codec raw or dag-pb, the
// only ones that the profile unixfs-v1-2025 makes. The zero value is no id.
type CID struct {
	codec byte
	hash  [sha256.Size]byte
}

// Codecs of a CID.
const (
	codecRaw   = 0x55
	codecDagPB = 0x70
)

// RawCID computes the id of a raw block.
func RawCID(block []byte) CID { return CID{codec: codecRaw, hash: sha256.Sum256(block)} }

// CIDFromBytes takes the 36 bytes of the binary form.
func CIDFromBytes(b []byte) (CID, error) {
	if len(b) != 4+sha256.Size || b[0] != 1 || b[2] != 0x12 || b[3] != sha256.Size {
		return CID{}, fmt.Errorf("%w: not a CIDv1 with SHA-256", ErrID)
	}
	if b[1] != codecRaw && b[1] != codecDagPB {
		return CID{}, fmt.Errorf("%w: a CID's codec is raw or dag-pb, not %#x", ErrID, b[1])
	}
	return CID{codec: b[1], hash: [sha256.Size]byte(b[4:])}, nil
}

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseCID reads the text form in base32 (bafy…, bafk…).
func ParseCID(s string) (CID, error) {
	if len(s) != 59 || s[0] != 'b' {
		return CID{}, fmt.Errorf("%w: %.80q is not a CID (bafy… or bafk…, 59 characters)", ErrID, s)
	}
	b, err := base32Lower.DecodeString(s[1:])
	if err != nil {
		return CID{}, fmt.Errorf("%w: CID %q: %v", ErrID, s, err)
	}
	c, err := CIDFromBytes(b)
	if err == nil && c.String() != s {
		return CID{}, fmt.Errorf("%w: CID %q has bits after its end", ErrID, s)
	}
	return c, err
}

// Bytes gives the 36 bytes of the binary form. It panics on the zero CID.
func (c CID) Bytes() []byte {
	if c.IsZero() {
		panic("proto: bytes of the zero CID")
	}
	return append([]byte{1, c.codec, 0x12, sha256.Size}, c.hash[:]...)
}

// String gives the text form in base32; of the zero CID, nothing.
func (c CID) String() string {
	if c.IsZero() {
		return ""
	}
	return "b" + base32Lower.EncodeToString(c.Bytes())
}

// IsZero tells whether c is no id.
func (c CID) IsZero() bool { return c.codec == 0 }

// IsRaw tells whether the block that c names holds bytes alone, no links.
func (c CID) IsRaw() bool { return c.codec == codecRaw }

// Verify tells whether block is what c names.
func (c CID) Verify(block []byte) bool { return !c.IsZero() && sha256.Sum256(block) == c.hash }

// MarshalText gives the text form.
func (c CID) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the text form; nothing gives the zero CID.
func (c *CID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*c = CID{}
		return nil
	}
	*c, err = ParseCID(string(b))
	return err
}

// A JobID is the SHA-256 of the exact bytes of a signed specification.
type JobID [sha256.Size]byte

// ParseJobID reads the 64 hexadecimal digits of a whole id.
func ParseJobID(s string) (JobID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size || s != strings.ToLower(s) {
		return JobID{}, fmt.Errorf("%w: %.80q is not a job id (64 hexadecimal digits)", ErrID, s)
	}
	return JobID(b), nil
}

// String gives 64 hexadecimal digits.
func (j JobID) String() string { return hex.EncodeToString(j[:]) }

// Short gives the first eight digits, for people.
func (j JobID) Short() string { return j.String()[:8] }

// MarshalText gives the text form.
func (j JobID) MarshalText() ([]byte, error) { return []byte(j.String()), nil }

// UnmarshalText reads the text form.
func (j *JobID) UnmarshalText(b []byte) (err error) {
	*j, err = ParseJobID(string(b))
	return err
}

// An ExecutionID names one attempt at one task on one node; the requester draws
// it at random, so it tells a provider nothing about the other attempts.
type ExecutionID [16]byte

// String gives 32 hexadecimal digits.
func (e ExecutionID) String() string { return hex.EncodeToString(e[:]) }

// MarshalText gives the text form.
func (e ExecutionID) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads the text form.
func (e *ExecutionID) UnmarshalText(b []byte) error {
	d, err := hex.DecodeString(string(b))
	if err != nil || len(d) != len(e) {
		return fmt.Errorf("%w: %.80q is not an execution id", ErrID, b)
	}
	*e = ExecutionID(d)
	return nil
}

const base58Alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

// base58Encode is base58btc, as libp2p writes peer ids. proto may not import
// the library that p2p has.
func base58Encode(b []byte) string {
	var out []byte
	n, radix, digit := new(big.Int).SetBytes(b), big.NewInt(58), new(big.Int)
	for n.Sign() > 0 {
		n.DivMod(n, radix, digit)
		out = append(out, base58Alphabet[digit.Int64()])
	}
	for i := 0; i < len(b) && b[i] == 0; i++ {
		out = append(out, base58Alphabet[0])
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return string(out)
}

func base58Decode(s string) ([]byte, error) {
	n, radix := new(big.Int), big.NewInt(58)
	zeros, leading := 0, true
	for i := range len(s) {
		d := strings.IndexByte(base58Alphabet, s[i])
		if d < 0 {
			return nil, fmt.Errorf("character %q is not base58", s[i])
		}
		if leading = leading && d == 0; leading {
			zeros++
		}
		n.Add(n.Mul(n, radix), big.NewInt(int64(d)))
	}
	return append(make([]byte, zeros), n.Bytes()...), nil
}
