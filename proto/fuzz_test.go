package proto

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"
)

// fuzzParse says of a parser: it never panics, and what it takes, marshals to
// bytes that parse to the same again.
func fuzzParse[T any](f *testing.F, parse func([]byte) (T, error), marshal func(T) []byte, seeds ...T) {
	for _, s := range seeds {
		f.Add(marshal(s))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parse(b)
		if err != nil {
			return
		}
		first := marshal(v)
		again, err := parse(first)
		if err != nil {
			t.Fatalf("%+v, which we took, we refuse after marshalling: %v", v, err)
		}
		if second := marshal(again); !bytes.Equal(first, second) {
			t.Fatalf("%+v became %+v", v, again)
		}
	})
}

// seeds gives a few random valid values.
func seeds[T any]() (out []T) {
	for n := range uint64(4) {
		out = append(out, make1[T](newMaker(n)))
	}
	return out
}

func fuzzMessage[T interface{ Marshal() []byte }](f *testing.F, parse func([]byte) (T, error)) {
	fuzzParse(f, parse, T.Marshal, seeds[T]()...)
}

func FuzzParseAnnouncement(f *testing.F)  { fuzzMessage(f, ParseAnnouncement) }
func FuzzParseAdvert(f *testing.F)        { fuzzMessage(f, ParseAdvert) }
func FuzzParseBid(f *testing.F)           { fuzzMessage(f, ParseBid) }
func FuzzParseRefusal(f *testing.F)       { fuzzMessage(f, ParseRefusal) }
func FuzzParseAward(f *testing.F)         { fuzzMessage(f, ParseAward) }
func FuzzParseAnswer(f *testing.F)        { fuzzMessage(f, ParseAnswer) }
func FuzzParseReceipt(f *testing.F)       { fuzzMessage(f, ParseReceipt) }
func FuzzParseGrant(f *testing.F)         { fuzzMessage(f, ParseGrant) }
func FuzzParseSpecification(f *testing.F) { fuzzMessage(f, ParseSpecification) }
func FuzzParseHello(f *testing.F)         { fuzzMessage(f, ParseHello) }

func FuzzParseBidFrame(f *testing.F) {
	fuzzParse(f, ParseBidFrame, BidFrame.Marshal, BidFrame{Bid: []byte("b")}, BidFrame{Refusal: []byte("r")})
}

func FuzzParseFrame(f *testing.F) {
	var kinds []Frame
	for n := range frameKinds {
		kinds = append(kinds, newMaker(uint64(n)).frame(n))
	}
	e := ExecutionID{1}
	kinds = append(kinds, // the edges of the younger kinds
		Frame{Attach: &Attach{}}, Frame{Attach: &Attach{Epoch: 1<<64 - 1, Executions: []ExecutionID{e, e}}},
		Frame{Progress: &Progress{Execution: e, Fraction: 1<<32 - 1, Text: strings.Repeat("t", MaxProgress+1)}})
	fuzzParse(f, ParseFrame, Frame.Marshal, kinds...)
}

func FuzzOpenEnvelope(f *testing.F) {
	key, _ := testKey(1)
	for _, n := range []int{1, 2, 5} {
		for _, b := range SealBatch(key, testBatch(n)) {
			f.Add(b)
		}
	}
	good, err := OpenEnvelope(Seal(key, testStatement(0)), testExpect())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		env, err := OpenEnvelope(b, testExpect())
		if err != nil {
			return
		}
		if env.Signer != good.Signer || !bytes.HasPrefix(env.Body, []byte("body ")) || env.Purpose != good.Purpose {
			t.Fatalf("a forgery: %+v", env)
		}
	})
}

// FuzzParseStatement reaches what lies behind the signature.
func FuzzParseStatement(f *testing.F) {
	fuzzParse(f, parseStatement, Statement.marshal, testStatement(0), Statement{Network: testNetwork, Expires: time.UnixMilli(maxTime)})
}

func FuzzOpenSpecification(f *testing.F) {
	key, _ := testKey(1)
	b, _ := SignSpecification(key, testNetwork, make1[Specification](newMaker(1)))
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, id, err := OpenSpecification(b, testNetwork)
		if err != nil {
			return
		}
		if s.Validate() != nil || id == (JobID{}) {
			t.Fatalf("job %s opened as %+v", id, s)
		}
	})
}

// fuzzText says of a text form: what parses has no other text.
func fuzzText[T interface {
	comparable
	String() string
}](f *testing.F, parse func(string) (T, error), seeds ...string) {
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := parse(s)
		if err != nil {
			return
		}
		if v.String() != s {
			t.Fatalf("%q parses to %s", s, v)
		}
	})
}

func FuzzParsePeerID(f *testing.F) {
	_, id := testKey(1)
	fuzzText(f, ParsePeerID, id.String(), "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
}

func FuzzParseCID(f *testing.F) {
	fuzzText(f, ParseCID, RawCID(nil).String(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354")
}

func FuzzParseJobID(f *testing.F) { fuzzText(f, ParseJobID, JobID{1}.String()) }

func FuzzCIDFromBytes(f *testing.F) {
	fuzzParse(f, CIDFromBytes, CID.Bytes, RawCID(nil))
}

func FuzzPeerIDFromBytes(f *testing.F) {
	fuzzParse(f, PeerIDFromBytes, PeerID.Multihash, PeerID{1})
}

func FuzzCheckGuestPath(f *testing.F) {
	f.Add("/out/a")
	f.Add("/a/../b")
	f.Fuzz(func(t *testing.T, p string) {
		if CheckGuestPath(p) != nil {
			return
		}
		got := make1[Program](newMaker(1))
		got.Outputs = []string{p}
		again, err := parseProgram(got.wire())
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Fatalf("%q is a guest path, but a program with it is %+v, %v", p, again, err)
		}
	})
}
