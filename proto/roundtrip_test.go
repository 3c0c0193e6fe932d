package proto

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/mustermesh/muster/proto/wire"
)

// checkRoundTrip parses what random values marshal to, and asks for the same
// value and the same bytes.
func checkRoundTrip[T interface{ Marshal() []byte }](parse func([]byte) (T, error)) func(*testing.T) {
	return func(t *testing.T) {
		for seed := range uint64(300) {
			want := make1[T](newMaker(seed))
			b := want.Marshal()
			got, err := parse(b)
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, want, err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d: got %+v\nwant %+v", seed, got, want)
			}
			if !bytes.Equal(got.Marshal(), b) {
				t.Fatalf("seed %d: %+v marshals to other bytes the second time", seed, want)
			}
		}
	}
}

func TestWhatIsMarshalledParsesToTheSameValue(t *testing.T) {
	t.Run("announcement", checkRoundTrip(ParseAnnouncement))
	t.Run("advert", checkRoundTrip(ParseAdvert))
	t.Run("bid", checkRoundTrip(ParseBid))
	t.Run("refusal", checkRoundTrip(ParseRefusal))
	t.Run("award", checkRoundTrip(ParseAward))
	t.Run("answer", checkRoundTrip(ParseAnswer))
	t.Run("receipt", checkRoundTrip(ParseReceipt))
	t.Run("grant", checkRoundTrip(ParseGrant))
	t.Run("specification", checkRoundTrip(ParseSpecification))
	t.Run("hello", checkRoundTrip(ParseHello))
}

func TestEveryKindOfFrameParsesToTheSameValue(t *testing.T) {
	for n := range frameKinds * 30 {
		want := newMaker(uint64(n)).frame(n)
		got, err := ParseFrame(want.Marshal())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("frame %d: got %+v, %v\nwant %+v", n, got, err, want)
		}
	}
	for _, want := range []BidFrame{{Bid: []byte("b")}, {Refusal: []byte("r")}} {
		got, err := ParseBidFrame(want.Marshal())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// A kind that is added later and that the maker does not know would go untested.
func TestTheMakerMakesEveryKindOfFrame(t *testing.T) {
	made := map[string]bool{}
	for n := range frameKinds {
		v := reflect.ValueOf(newMaker(1).frame(n))
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				made[v.Type().Field(i).Name] = true
			}
		}
	}
	if fields := reflect.TypeFor[Frame]().NumField(); len(made) != frameKinds || fields != frameKinds {
		t.Errorf("%d kinds made %v; a frame has %d", frameKinds, made, fields)
	}
	if kinds := (&wire.LeaseFrame{}).ProtoReflect().Descriptor().Oneofs().ByName("kind").Fields().Len(); kinds != frameKinds {
		t.Errorf("the wire has %d kinds, the maker %d", kinds, frameKinds)
	}
}

// The round trips above would pass over a field that the maker leaves zero.
func TestTheMakerSetsEveryField(t *testing.T) {
	for _, v := range []any{
		new(Announcement), new(Advert), new(Bid), new(Refusal), new(Award), new(Answer), new(Receipt), new(Grant),
		new(Specification), new(Hello), new(AwardFrame), new(AwardReply), new(Assignment), new(AnswerFrame),
		new(Failure), new(Ack), new(Log), new(Attach), new(Progress), new(Program), new(Task), new(Resources), new(Engine), new(TaskInput),
	} {
		typ := reflect.TypeOf(v).Elem()
		seen := make([]bool, typ.NumField())
		for seed := range uint64(50) {
			newMaker(seed).fill(reflect.ValueOf(v).Elem())
			for i := range seen {
				seen[i] = seen[i] || !reflect.ValueOf(v).Elem().Field(i).IsZero()
			}
		}
		for i := range seen {
			if !seen[i] {
				t.Errorf("%s.%s is never set", typ.Name(), typ.Field(i).Name)
			}
		}
	}
}

func TestAHelloThatIsTooLongLosesItsLastAnnouncements(t *testing.T) {
	h := Hello{Advert: make([]byte, 1000)}
	for range 2 * MaxHello {
		h.Announcements = append(h.Announcements, make([]byte, 200))
	}
	got, err := ParseHello(h.Marshal())
	if err != nil || len(got.Announcements) != MaxHello {
		t.Errorf("got %d announcements, %v; want %d", len(got.Announcements), err, MaxHello)
	}
	for i := range h.Announcements {
		h.Announcements[i] = make([]byte, 4000)
	}
	got, err = ParseHello(h.Marshal())
	if err != nil || len(got.Announcements) != 16 {
		t.Errorf("got %d announcements of 4000 bytes, %v; want 16", len(got.Announcements), err)
	}
}
