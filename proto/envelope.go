package proto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// Limits of an envelope. docs/wire.md §2.
const (
	MaxEnvelope  = 4 << 20         // bytes, whole
	MaxBatch     = 1024            // leaves under one signature
	MaxSkew      = 2 * time.Minute // how far two clocks may differ
	MaxLifetime  = 24 * time.Hour  // between issue and expiry of what travels
	maxProof     = 10              // siblings: log2(MaxBatch)
	maxNetwork   = 64              // bytes of a network's name
	signDomain   = "muster-envelope-v1\x00"
	leafPrefix   = 0 // RFC 6962 §2.1: a leaf and an inner node hash differently
	parentPrefix = 1
)

// Why an envelope was refused; each is wrapped with the particulars.
var (
	ErrMalformed = errors.New("malformed message")
	ErrSignature = errors.New("wrong signature")
	ErrNetwork   = errors.New("message of another network")
	ErrPurpose   = errors.New("message of another purpose")
	ErrAddressee = errors.New("message for somebody else")
	ErrExpired   = errors.New("message expired")
	ErrSkew      = errors.New("clocks differ")
)

// A Purpose says what kind of body a statement has, so that bytes signed as one
// kind never pass as another.
type Purpose uint32

// Purposes. The numbers are part of the wire format.
const (
	PurposeSpecification Purpose = iota + 1
	PurposeAnnouncement
	PurposeAdvert
	PurposeBid
	PurposeRefusal
	PurposeAward
	PurposeAnswer
	PurposeReceipt
	PurposeGrant
)

var purposeNames = [...]string{"none", "specification", "announcement", "advert", "bid", "refusal", "award", "answer", "receipt", "grant"}

// String gives the purpose's name.
func (p Purpose) String() string {
	if p < Purpose(len(purposeNames)) {
		return purposeNames[p]
	}
	return fmt.Sprintf("purpose %d", uint32(p))
}

// addressed tells whether a statement of this purpose is for one peer alone.
// For the others an addressee is allowed and checked, but not asked for.
func (p Purpose) addressed() bool {
	switch p {
	case PurposeBid, PurposeRefusal, PurposeAward, PurposeAnswer, PurposeReceipt, PurposeGrant:
		return true
	}
	return false
}

// A Statement is what a node signs: a body, and all that says where and when
// the body counts. Times are kept to the millisecond.
type Statement struct {
	Network   string
	Purpose   Purpose
	Issued    time.Time
	Expires   time.Time
	Addressee PeerID // zero: for everybody; see docs/wire.md §2 for who must name one
	Body      []byte
}

// A Hash is the SHA-256 of an envelope's payload as a Merkle leaf; it names
// exactly what was signed.
type Hash [sha256.Size]byte

// An Envelope is a signed statement that was checked by [OpenEnvelope].
type Envelope struct {
	Statement
	Signer PeerID
	Hash   Hash
}

// Seal signs one statement and gives the envelope's bytes.
func Seal(key ed25519.PrivateKey, s Statement) []byte {
	return SealBatch(key, []Statement{s})[0]
}

// SealBatch signs up to [MaxBatch] statements with one signature. Each of the
// envelopes verifies alone. It panics on an empty or oversize batch.
func SealBatch(key ed25519.PrivateKey, batch []Statement) [][]byte {
	if len(batch) == 0 || len(batch) > MaxBatch {
		panic(fmt.Sprintf("proto: a batch of %d statements", len(batch)))
	}
	payloads := make([][]byte, len(batch))
	leaves := make([]Hash, len(batch))
	for i, s := range batch {
		payloads[i] = s.marshal()
		leaves[i] = leafHash(payloads[i])
	}
	tree := merkleTree(leaves)
	root := tree[len(tree)-1][0]
	signature := ed25519.Sign(key, append([]byte(signDomain), root[:]...))
	signer := key.Public().(ed25519.PublicKey)
	out := make([][]byte, len(batch))
	for i := range batch {
		out[i] = marshal(&wire.Envelope{
			Payload: payloads[i], Signer: signer, Signature: signature,
			Leaf: uint32(i), Leaves: uint32(len(batch)), Proof: merkleProof(tree, i),
		})
	}
	return out
}

func (s Statement) marshal() []byte {
	w := &wire.Statement{
		Network: s.Network, Purpose: uint32(s.Purpose),
		Issued: s.Issued.UnixMilli(), Expires: s.Expires.UnixMilli(), Body: s.Body,
	}
	if !s.Addressee.IsZero() {
		w.Addressee = s.Addressee[:]
	}
	return marshal(w)
}

// Expect says what a receiver takes.
type Expect struct {
	Network   string
	Purpose   Purpose
	Addressee PeerID    // who we are; zero: only statements for everybody
	Now       time.Time // zero: times are not checked (for what rests on disk)
}

// OpenEnvelope checks a stranger's envelope: sizes, Merkle proof, signature,
// network, purpose, addressee and times, in that order. The body is not looked
// at.
func OpenEnvelope(b []byte, want Expect) (Envelope, error) {
	env, _, err := openEnvelope(b, MaxEnvelope, want)
	return env, err
}

func openEnvelope(b []byte, most int, want Expect) (env Envelope, payload []byte, err error) {
	if len(b) > most {
		return Envelope{}, nil, fmt.Errorf("%w: envelope of %d bytes; at most %d", ErrMalformed, len(b), most)
	}
	var w wire.Envelope
	if err := unmarshal(b, &w, "envelope"); err != nil {
		return Envelope{}, nil, err
	}
	if env.Signer, err = parsePeer(w.Signer, "signer"); err != nil {
		return Envelope{}, nil, err
	}
	env.Hash = leafHash(w.Payload)
	root, err := rootFromProof(env.Hash, w.Leaf, w.Leaves, w.Proof)
	if err != nil {
		return Envelope{}, nil, err
	}
	if !ed25519.Verify(env.Signer[:], append([]byte(signDomain), root[:]...), w.Signature) {
		return Envelope{}, nil, fmt.Errorf("%w by %s", ErrSignature, env.Signer)
	}
	if env.Statement, err = parseStatement(w.Payload); err != nil {
		return Envelope{}, nil, err
	}
	if err := env.Statement.check(want); err != nil {
		return Envelope{}, nil, err
	}
	return env, w.Payload, nil
}

func parseStatement(b []byte) (s Statement, err error) {
	var w wire.Statement
	if err := unmarshal(b, &w, "statement"); err != nil {
		return s, err
	}
	if len(w.Network) > maxNetwork {
		return s, fmt.Errorf("%w: network name of %d bytes", ErrMalformed, len(w.Network))
	}
	s = Statement{Network: w.Network, Purpose: Purpose(w.Purpose), Body: w.Body}
	if s.Issued, err = parseTime(w.Issued); err != nil {
		return Statement{}, err
	}
	if s.Expires, err = parseTime(w.Expires); err != nil {
		return Statement{}, err
	}
	if len(w.Addressee) > 0 {
		s.Addressee, err = parsePeer(w.Addressee, "addressee")
	}
	return s, err
}

// parsePeer takes a public key: messages never hold the longer form.
func parsePeer(b []byte, what string) (PeerID, error) {
	if len(b) != ed25519.PublicKeySize {
		return PeerID{}, fmt.Errorf("%w: %s of %d bytes", ErrMalformed, what, len(b))
	}
	id, err := PeerIDFromBytes(b)
	if err != nil {
		return PeerID{}, fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	return id, nil
}

func (s Statement) check(want Expect) error {
	switch {
	case s.Network != want.Network:
		return fmt.Errorf("%w: %q, not %q", ErrNetwork, s.Network, want.Network)
	case s.Purpose != want.Purpose:
		return fmt.Errorf("%w: %s, not %s", ErrPurpose, s.Purpose, want.Purpose)
	case !s.Addressee.IsZero() && s.Addressee != want.Addressee:
		return fmt.Errorf("%w: %s", ErrAddressee, s.Addressee)
	case s.Addressee.IsZero() && s.Purpose.addressed():
		return fmt.Errorf("%w: a message of purpose %s names its addressee", ErrAddressee, s.Purpose)
	case s.Expires.Before(s.Issued):
		return fmt.Errorf("%w: it expires before it was issued", ErrMalformed)
	case want.Now.IsZero():
		return nil
	case s.Issued.After(want.Now.Add(MaxSkew)):
		return fmt.Errorf("%w: the signer's clock is %s ahead of ours (%s is allowed)", ErrSkew, s.Issued.Sub(want.Now).Round(time.Second), MaxSkew)
	case s.Expires.Sub(s.Issued) > MaxLifetime:
		return fmt.Errorf("%w: valid for %s, longer than %s", ErrMalformed, s.Expires.Sub(s.Issued), MaxLifetime)
	case want.Now.After(s.Expires.Add(MaxSkew)):
		return fmt.Errorf("%w: %s ago by our clock (%s of difference is allowed)", ErrExpired, want.Now.Sub(s.Expires).Round(time.Second), MaxSkew)
	}
	return nil
}

func leafHash(payload []byte) Hash {
	h := sha256.New()
	h.Write([]byte{leafPrefix})
	h.Write(payload)
	return Hash(h.Sum(nil))
}

func parentHash(l, r Hash) Hash {
	var b [1 + 2*sha256.Size]byte
	b[0] = parentPrefix
	copy(b[1:], l[:])
	copy(b[1+sha256.Size:], r[:])
	return sha256.Sum256(b[:])
}

// level pairs up hashes; an odd one rises as it is.
func level(hashes []Hash) []Hash {
	next := make([]Hash, 0, (len(hashes)+1)/2)
	for i := 0; i+1 < len(hashes); i += 2 {
		next = append(next, parentHash(hashes[i], hashes[i+1]))
	}
	if len(hashes)%2 == 1 {
		next = append(next, hashes[len(hashes)-1])
	}
	return next
}

// merkleTree gives all levels, from the leaves to the root alone.
func merkleTree(leaves []Hash) [][]Hash {
	tree := [][]Hash{leaves}
	for len(leaves) > 1 {
		leaves = level(leaves)
		tree = append(tree, leaves)
	}
	return tree
}

func merkleProof(tree [][]Hash, i int) (proof [][]byte) {
	for _, hashes := range tree[:len(tree)-1] {
		if sibling := i ^ 1; sibling < len(hashes) {
			proof = append(proof, hashes[sibling][:])
		}
		i /= 2
	}
	return proof
}

func rootFromProof(h Hash, leaf, leaves uint32, proof [][]byte) (Hash, error) {
	if leaves == 0 {
		leaves = 1
	}
	if leaves > MaxBatch || leaf >= leaves || len(proof) > maxProof {
		return Hash{}, fmt.Errorf("%w: leaf %d of %d with %d siblings", ErrMalformed, leaf, leaves, len(proof))
	}
	for i, n := leaf, leaves; n > 1; i, n = i/2, (n+1)/2 {
		if i^1 >= n {
			continue
		}
		if len(proof) == 0 || len(proof[0]) != sha256.Size {
			return Hash{}, fmt.Errorf("%w: inclusion proof too short", ErrMalformed)
		}
		sibling := Hash(proof[0])
		proof = proof[1:]
		if i%2 == 0 {
			h = parentHash(h, sibling)
		} else {
			h = parentHash(sibling, h)
		}
	}
	if len(proof) > 0 {
		return Hash{}, fmt.Errorf("%w: inclusion proof too long", ErrMalformed)
	}
	return h, nil
}
