package proto

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto/wire"
	"google.golang.org/protobuf/encoding/protowire"
)

func TestAnUnknownFieldIsPassedOver(t *testing.T) {
	want := Grant{Job: JobID{1}, Root: RawCID(nil)}
	b := protowire.AppendTag(want.Marshal(), 1000, protowire.BytesType)
	b = protowire.AppendString(b, "of a later version")
	got, err := ParseGrant(b)
	if err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if bytes.Equal(got.Marshal(), b) {
		t.Error("the unknown field came back: a value must hold what it says and no more")
	}
}

func TestTheLastOfAFieldSentTwiceCounts(t *testing.T) {
	first, last := Grant{Job: JobID{1}, Root: RawCID(nil)}, Grant{Job: JobID{2}, Root: RawCID([]byte("x"))}
	got, err := ParseGrant(append(first.Marshal(), last.Marshal()...))
	if err != nil || got != last {
		t.Errorf("got %+v, %v; want %+v", got, err, last)
	}
}

func TestTheLastKindOfAFrameCounts(t *testing.T) {
	e := ExecutionID{1}
	got, err := ParseFrame(append(Frame{Ping: true}.Marshal(), Frame{Cancel: &e}.Marshal()...))
	if err != nil || got.Ping || got.Cancel == nil || *got.Cancel != e {
		t.Errorf("a ping and a cancel in one frame: got %+v, %v", got, err)
	}
	bid, err := ParseBidFrame(append(BidFrame{Refusal: []byte("r")}.Marshal(), BidFrame{Bid: []byte("b")}.Marshal()...))
	if err != nil || bid.Refusal != nil || string(bid.Bid) != "b" {
		t.Errorf("a refusal and a bid in one frame: got %+v, %v", bid, err)
	}
}

func TestTextThatIsNotUTF8IsRefused(t *testing.T) {
	b := protowire.AppendTag(nil, 3, protowire.BytesType) // Refusal.detail
	b = protowire.AppendString(append(Refusal{}.Marshal(), b...), "bad \xff text")
	if got, err := ParseRefusal(b); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// A frame within its size must not take a hundred times that in memory.
func TestAFrameOfManyEmptyFieldsCostsLittle(t *testing.T) {
	tasks := protowire.AppendTag(nil, 1, protowire.BytesType) // LeaseFrame.award
	tasks = protowire.AppendBytes(tasks, bytes.Repeat([]byte{2<<3 | 2, 0}, MaxLeaseFrame/2-8))
	proof := bytes.Repeat([]byte{6<<3 | 2, 0}, MaxEnvelope/2)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := ParseFrame(tasks); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "fields") {
		t.Errorf("a frame of two million tasks: got %v", err)
	}
	if _, err := OpenEnvelope(proof, testExpect()); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "fields") {
		t.Errorf("an envelope of two million siblings: got %v", err)
	}
	runtime.ReadMemStats(&after)
	if grew := after.TotalAlloc - before.TotalAlloc; grew > 1<<20 {
		t.Errorf("refusing them took %d bytes", grew)
	}
}

// What the limits allow must pass the count of fields.
func TestTheFullestMessagesAreWithinTheLimits(t *testing.T) {
	key, to := testKey(1)
	m := newMaker(1)
	program := fullestProgram(m)
	award := make1[Award](m)
	award.Program, award.Grants = program, make([][]byte, maxGrants)
	for i := range award.Grants {
		award.Grants[i] = make([]byte, 400)
	}
	s := testStatement(0)
	s.Purpose, s.Addressee, s.Body = PurposeAward, to, award.Marshal()
	f := Frame{Award: &AwardFrame{Award: Seal(key, s), Tasks: make([]Assignment, maxTasks)}}
	for i := range f.Award.Tasks {
		f.Award.Tasks[i] = fullestAssignment(m)
	}
	b := f.Marshal()
	got, err := ParseFrame(b)
	if err != nil || len(b) > MaxLeaseFrame {
		t.Fatalf("the fullest first frame has %d bytes: %v", len(b), err)
	}
	env, err := OpenEnvelope(got.Award.Award, Expect{Network: testNetwork, Purpose: PurposeAward, Addressee: to, Now: testNow})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseAward(env.Body); err != nil {
		t.Errorf("the fullest award: %v", err)
	}
}

func fullestProgram(m maker) Program {
	p := make1[Program](m)
	p.Args, p.Env, p.Outputs = nil, nil, nil
	for i := range MaxArgs {
		p.Args = append(p.Args, strings.Repeat("a", 100))
		p.Env = append(p.Env, string(rune(0x4e00+i))+"="+strings.Repeat("v", 150))
	}
	for i := range MaxOutputs {
		p.Outputs = append(p.Outputs, "/"+string(rune(0x4e00+i))+strings.Repeat("/"+strings.Repeat("p", 250), 16))
	}
	return p
}

func fullestAssignment(m maker) Assignment {
	return Assignment{make1[ExecutionID](m), Task{Index: MaxTasks - 1, Count: MaxTasks, Stdin: m.cid(), Input: m.cid(), Seed: make([]byte, MaxSeed)}}
}

func TestTheFullestSpecificationOpensAgain(t *testing.T) {
	key, _ := testKey(1)
	m := newMaker(1)
	s := make1[Specification](m)
	s.Program, s.Reduce = fullestProgram(m), new(fullestProgram(m))
	s.Tasks = make([]TaskInput, MaxTasks)
	for i := range s.Tasks {
		s.Tasks[i] = TaskInput{Input: m.cid(), Stdin: m.cid()}
	}
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	b, id := SignSpecification(key, testNetwork, s)
	got, _, again, err := OpenSpecification(b, testNetwork)
	if err != nil || again != id || len(got.Tasks) != MaxTasks {
		t.Errorf("of %d bytes: got %d tasks, id %s, %v; want id %s", len(b), len(got.Tasks), again, err, id)
	}
}

// What everybody hears must fit into a gossip message, even as one of a large
// batch: a valid job that cannot be announced would wait for ever.
func TestTheFullestGossipFits(t *testing.T) {
	key, _ := testKey(1)
	word := strings.Repeat("w", maxWord)
	words := func(n, size int) (out []string) {
		for range n {
			out = append(out, strings.Repeat("x", size))
		}
		return out
	}
	labels := Labels{}
	for i := range maxLabels {
		labels[string(rune('A'+i))] = strings.Repeat("v", maxLabelBytes/maxLabels-1)
	}
	big := Resources{maxCPU, maxBytes, maxBytes, maxGPU}
	an := Announcement{
		Job: JobID{1}, Executor: word, Profile: word, Needs: big, Program: RawCID(nil), ProgramSize: maxBytes, Tasks: MaxTasks,
		MaxPrice: maxCredits, BidsWanted: MaxTasks, Sequence: 1<<64 - 1,
		Constraints: words(maxConstraints, maxConstraintBytes/maxConstraints), Addrs: words(20, maxAddrBytes/maxAddrs),
	}
	ad := Advert{
		Executor: word, Profile: word, Engine: Engine{word, word, word}, Isolation: word, Offered: big, Free: big, Slots: MaxSlots,
		FreeSlots: MaxSlots, Price: maxCredits, Labels: labels, Addrs: words(20, maxAddrBytes/maxAddrs), Sequence: 1<<64 - 1, Version: word,
	}
	batch := testBatch(MaxBatch)
	batch[0] = Statement{strings.Repeat("n", maxNetwork), PurposeAnnouncement, testNow, testNow, PeerID{}, an.Marshal()}
	batch[1] = Statement{strings.Repeat("n", maxNetwork), PurposeAdvert, testNow, testNow, PeerID{}, ad.Marshal()}
	sealed := SealBatch(key, batch)
	for i, parse := range []func([]byte) error{
		func(b []byte) error { _, err := ParseAnnouncement(b); return err },
		func(b []byte) error { _, err := ParseAdvert(b); return err },
	} {
		if err := parse(batch[i].Body); err != nil {
			t.Errorf("%s: %v", batch[i].Purpose, err)
		}
		if len(sealed[i]) > MaxGossip {
			t.Errorf("%s: %d bytes, more than %d", batch[i].Purpose, len(sealed[i]), MaxGossip)
		}
	}
}

func TestAddressesThatDoNotFitAreLeftOut(t *testing.T) {
	long := strings.Repeat("x", maxAddr+1)
	a := make1[Advert](newMaker(1))
	a.Addrs = []string{long, "/ip4/1.2.3.4/tcp/1", "2", "3", "4", "5", "6", "7", "8", "9"}
	got, err := ParseAdvert(a.Marshal())
	if err != nil || strings.Join(got.Addrs, " ") != "/ip4/1.2.3.4/tcp/1 2 3 4 5 6 7 8" {
		t.Errorf("got %q, %v", got.Addrs, err)
	}
}

func TestCountFieldsGivesUpJustAboveItsLimit(t *testing.T) {
	d := (&wire.LeaseFrame{}).ProtoReflect().Descriptor()
	task := protowire.AppendBytes([]byte{2<<3 | 2}, []byte{2 << 3, 1, 3 << 3, 1}) // AwardFrame.tasks with two fields
	b := protowire.AppendBytes([]byte{1<<3 | 2}, bytes.Repeat(task, 100))
	if got := countFields(b, d, 1000); got != 301 {
		t.Errorf("got %d fields, want 301", got)
	}
	if got := countFields(b, d, 50); got <= 50 || got > 54 {
		t.Errorf("got %d, want just above 50", got)
	}
}
