package proto

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto/wire"
	"google.golang.org/protobuf/proto"
)

func testStatement(i int) Statement {
	_, to := testKey(2)
	return Statement{
		Network: testNetwork, Purpose: PurposeBid, Issued: testNow, Expires: testNow.Add(time.Minute),
		Addressee: to, Body: fmt.Appendf(nil, "body %d", i),
	}
}

func testBatch(n int) []Statement {
	batch := make([]Statement, n)
	for i := range batch {
		batch[i] = testStatement(i)
	}
	return batch
}

func testExpect() Expect {
	_, to := testKey(2)
	return Expect{Network: testNetwork, Purpose: PurposeBid, Addressee: to, Now: testNow}
}

func TestEveryEnvelopeOfABatchVerifiesAlone(t *testing.T) {
	key, signer := testKey(1)
	for n := 1; n <= 70; n++ {
		batch := testBatch(n)
		hashes := map[Hash]bool{}
		for i, b := range SealBatch(key, batch) {
			env, err := OpenEnvelope(b, testExpect())
			if err != nil {
				t.Fatalf("leaf %d of %d: %v", i, n, err)
			}
			if env.Signer != signer || !reflect.DeepEqual(env.Statement, batch[i]) {
				t.Fatalf("leaf %d of %d: got %+v by %s", i, n, env.Statement, env.Signer)
			}
			hashes[env.Hash] = true
		}
		if len(hashes) != n {
			t.Fatalf("a batch of %d has %d hashes", n, len(hashes))
		}
	}
}

func TestAProofOfOneLeafProvesNoOther(t *testing.T) {
	for n := 1; n <= 70; n++ {
		leaves := make([]Hash, n)
		for i := range leaves {
			leaves[i] = leafHash([]byte{byte(i)})
		}
		tree := merkleTree(leaves)
		root := tree[len(tree)-1][0]
		for i := range n {
			proof := merkleProof(tree, i)
			for j := range n {
				got, err := rootFromProof(leaves[j], uint32(i), uint32(n), proof)
				if proves := err == nil && got == root; proves != (i == j) {
					t.Fatalf("of %d leaves, the proof of leaf %d proves leaf %d: %t (%v)", n, i, j, proves, err)
				}
			}
		}
	}
}

func TestAnInnerNodeIsNoLeaf(t *testing.T) {
	a, b := leafHash([]byte("a")), leafHash([]byte("b"))
	if leafHash(append(a[:], b[:]...)) == parentHash(a, b) {
		t.Error("a payload of two hashes has the hash of their parent")
	}
}

func TestTheLargestBatchFits(t *testing.T) {
	key, _ := testKey(1)
	out := SealBatch(key, testBatch(MaxBatch))
	for _, i := range []int{0, MaxBatch / 2, MaxBatch - 1} {
		if _, err := OpenEnvelope(out[i], testExpect()); err != nil {
			t.Errorf("leaf %d: %v", i, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a batch over the limit was sealed")
		}
	}()
	SealBatch(key, testBatch(MaxBatch+1))
}

// reseal edits the wire form of a good envelope, which leaves its signature as
// it was.
func reseal(t testing.TB, edit func(*wire.Envelope)) []byte {
	t.Helper()
	key, _ := testKey(1)
	w := openWire(t, SealBatch(key, testBatch(5))[2])
	edit(w)
	return marshal(w)
}

func TestOpenEnvelopeRefusesWhatWasTamperedWith(t *testing.T) {
	if _, err := OpenEnvelope(reseal(t, func(*wire.Envelope) {}), testExpect()); err != nil {
		t.Fatalf("the untouched envelope: %v", err)
	}
	_, other := testKey(3)
	for name, c := range map[string]struct {
		edit func(*wire.Envelope)
		want error
	}{
		"a bit of the payload":            {func(w *wire.Envelope) { w.Payload[len(w.Payload)-1] ^= 1 }, ErrSignature},
		"no payload":                      {func(w *wire.Envelope) { w.Payload = nil }, ErrSignature},
		"a bit of the signature":          {func(w *wire.Envelope) { w.Signature[0] ^= 1 }, ErrSignature},
		"half a signature":                {func(w *wire.Envelope) { w.Signature = w.Signature[:32] }, ErrSignature},
		"no signature":                    {func(w *wire.Envelope) { w.Signature = nil }, ErrSignature},
		"another signer":                  {func(w *wire.Envelope) { w.Signer = other[:] }, ErrSignature},
		"a signer that is not on a curve": {func(w *wire.Envelope) { w.Signer = append([]byte{2}, make([]byte, 31)...) }, ErrSignature},
		"half a signer":                   {func(w *wire.Envelope) { w.Signer = w.Signer[:16] }, ErrMalformed},
		"a signer in the longer form":     {func(w *wire.Envelope) { w.Signer = PeerID(w.Signer).Multihash() }, ErrMalformed},
		"no signer":                       {func(w *wire.Envelope) { w.Signer = nil }, ErrMalformed},
		"the signer of zeros":             {func(w *wire.Envelope) { w.Signer = make([]byte, 32) }, ErrMalformed},
		"a bit of the proof":              {func(w *wire.Envelope) { w.Proof[0][0] ^= 1 }, ErrSignature},
		"siblings in another order":       {func(w *wire.Envelope) { w.Proof[0], w.Proof[1] = w.Proof[1], w.Proof[0] }, ErrSignature},
		"half a sibling":                  {func(w *wire.Envelope) { w.Proof[0] = w.Proof[0][:16] }, ErrMalformed},
		"a sibling less":                  {func(w *wire.Envelope) { w.Proof = w.Proof[:2] }, ErrMalformed},
		"a sibling more":                  {func(w *wire.Envelope) { w.Proof = append(w.Proof, w.Proof[0]) }, ErrMalformed},
		"no proof":                        {func(w *wire.Envelope) { w.Proof = nil }, ErrMalformed},
		"the leaf beside":                 {func(w *wire.Envelope) { w.Leaf = 3 }, ErrSignature},
		"a leaf outside the batch":        {func(w *wire.Envelope) { w.Leaf = 5 }, ErrMalformed},
		"a leaf far outside the batch":    {func(w *wire.Envelope) { w.Leaf = 1 << 31 }, ErrMalformed},
		"a batch of one":                  {func(w *wire.Envelope) { w.Leaf, w.Leaves, w.Proof = 0, 1, nil }, ErrSignature},
		"a batch over the limit":          {func(w *wire.Envelope) { w.Leaves = MaxBatch + 1 }, ErrMalformed},
		"a batch far over the limit":      {func(w *wire.Envelope) { w.Leaves = 1<<32 - 1 }, ErrMalformed},
		"a size over the limit":           {func(w *wire.Envelope) { w.Payload = make([]byte, MaxEnvelope) }, ErrMalformed},
	} {
		if _, err := OpenEnvelope(reseal(t, c.edit), testExpect()); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	for _, junk := range []string{"", "\x00", "hello", strings.Repeat("\xff", 100)} {
		if _, err := OpenEnvelope([]byte(junk), testExpect()); !errors.Is(err, ErrMalformed) {
			t.Errorf("%.20q: got %v, want ErrMalformed", junk, err)
		}
	}
}

func TestOpenEnvelopeRefusesWhatIsNotForHereAndNow(t *testing.T) {
	key, _ := testKey(1)
	_, other := testKey(3)
	for name, c := range map[string]struct {
		edit func(*Statement)
		want error
		says string
	}{
		"another network":                        {func(s *Statement) { s.Network = "elsewhere" }, ErrNetwork, `"elsewhere", not "test-net"`},
		"no network":                             {func(s *Statement) { s.Network = "" }, ErrNetwork, ""},
		"a network's name of 65 bytes":           {func(s *Statement) { s.Network = strings.Repeat("n", 65) }, ErrMalformed, ""},
		"another purpose":                        {func(s *Statement) { s.Purpose = PurposeAward }, ErrPurpose, "award, not bid"},
		"a purpose that nobody knows":            {func(s *Statement) { s.Purpose = 1<<32 - 1 }, ErrPurpose, "purpose 4294967295"},
		"another addressee":                      {func(s *Statement) { s.Addressee = other }, ErrAddressee, other.String()},
		"nobody as addressee":                    {func(s *Statement) { s.Addressee = PeerID{} }, ErrAddressee, "names its addressee"},
		"a clock that is ahead":                  {func(s *Statement) { later(s, 3*time.Minute) }, ErrSkew, "signer's clock is 3m0s ahead of ours (2m0s is allowed)"},
		"a lifetime over a day":                  {func(s *Statement) { s.Expires = s.Issued.Add(MaxLifetime + time.Millisecond) }, ErrMalformed, "longer than 24h0m0s"},
		"an expiry that lies too far back":       {func(s *Statement) { later(s, -4*time.Minute) }, ErrExpired, "3m0s ago by our clock"},
		"an expiry before the issue":             {func(s *Statement) { s.Expires = s.Issued.Add(-time.Millisecond) }, ErrMalformed, "before it was issued"},
		"an issue before 1970":                   {func(s *Statement) { s.Issued = time.UnixMilli(-1) }, ErrMalformed, ""},
		"an expiry after the year 9999":          {func(s *Statement) { s.Expires = time.UnixMilli(maxTime + 1) }, ErrMalformed, ""},
		"an expiry at the end of all that fits":  {func(s *Statement) { s.Expires = time.UnixMilli(1<<63 - 1) }, ErrMalformed, ""},
		"an issue at the beginning of what fits": {func(s *Statement) { s.Issued = time.UnixMilli(-1 << 63) }, ErrMalformed, ""},
	} {
		s := testStatement(0)
		c.edit(&s)
		_, err := OpenEnvelope(Seal(key, s), testExpect())
		if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: got %v, want %v that says %q", name, err, c.want, c.says)
		}
	}
}

func later(s *Statement, d time.Duration) { s.Issued, s.Expires = s.Issued.Add(d), s.Expires.Add(d) }

func TestOpenEnvelopeTakesWhatLiesJustInside(t *testing.T) {
	key, _ := testKey(1)
	for name, edit := range map[string]func(*Statement){
		"a clock two minutes ahead":      func(s *Statement) { later(s, MaxSkew) },
		"a clock two minutes behind":     func(s *Statement) { later(s, -time.Minute-MaxSkew) },
		"a lifetime of a day":            func(s *Statement) { s.Expires = s.Issued.Add(MaxLifetime) },
		"a lifetime of nothing":          func(s *Statement) { s.Expires = s.Issued },
		"a body of nothing":              func(s *Statement) { s.Body = nil },
		"a network's name of 64 bytes":   func(s *Statement) { s.Network = strings.Repeat("n", 64) },
		"a statement that is for nobody": func(s *Statement) { s.Purpose, s.Addressee = PurposeAdvert, PeerID{} },
		"an advert sent to us alone":     func(s *Statement) { s.Purpose = PurposeAdvert },
	} {
		s := testStatement(0)
		edit(&s)
		want := testExpect()
		want.Network, want.Purpose = s.Network, s.Purpose
		if _, err := OpenEnvelope(Seal(key, s), want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatRestsOnDiskIsReadAtAnyTime(t *testing.T) {
	key, _ := testKey(1)
	want := testExpect()
	want.Now = time.Time{}
	s := testStatement(0)
	s.Issued, s.Expires = time.UnixMilli(0), time.UnixMilli(maxTime)
	if _, err := OpenEnvelope(Seal(key, s), want); err != nil {
		t.Error(err)
	}
	want.Addressee = PeerID{}
	if _, err := OpenEnvelope(Seal(key, s), want); !errors.Is(err, ErrAddressee) {
		t.Errorf("who is nobody opened what is for somebody: %v", err)
	}
}

func TestASignatureCoversNothingButTheRootUnderItsDomain(t *testing.T) {
	key, signer := testKey(1)
	s := testStatement(0)
	w := openWire(t, Seal(key, s))
	leaf := sha256.Sum256(append([]byte{0}, w.Payload...))
	if !ed25519.Verify(signer[:], append([]byte("muster-envelope-v1\x00"), leaf[:]...), w.Signature) {
		t.Error("a batch of one is not signed over its leaf")
	}
	w.Signature = ed25519.Sign(key, leaf[:])
	if _, err := OpenEnvelope(marshal(w), testExpect()); !errors.Is(err, ErrSignature) {
		t.Errorf("a signature without the domain: got %v", err)
	}
}

func TestPurposesHaveNames(t *testing.T) {
	for p := PurposeSpecification; p <= PurposeGrant; p++ {
		if strings.HasPrefix(p.String(), "purpose") || p.String() == "none" {
			t.Errorf("purpose %d has no name", uint32(p))
		}
	}
	if got := (PurposeGrant + 1).String(); got != "purpose 10" {
		t.Errorf("got %q", got)
	}
}

func openWire(t testing.TB, b []byte) *wire.Envelope {
	t.Helper()
	var w wire.Envelope
	if err := proto.Unmarshal(b, &w); err != nil {
		t.Fatal(err)
	}
	return &w
}
