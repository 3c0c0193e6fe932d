package proto

import (
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// MaxGossip is the longest gossip message, envelope included, in bytes.
const MaxGossip = 4 << 10

const (
	maxConstraints     = 16
	maxConstraint      = 256  // bytes
	maxConstraintBytes = 1536 // of all together: they travel by gossip
)

// An Announcement tells everybody that a job wants bids. It says what a
// provider must know to bid, and nothing about the tasks.
type Announcement struct {
	Job         JobID
	Executor    string
	Profile     string
	Needs       Resources // of one task
	Program     CID
	ProgramSize uint64 // bytes
	Tasks       int
	MaxPrice    Credits // of a core-hour
	BidsWanted  int
	Constraints []string // see scheduler.ParseConstraint
	Addrs       []string // where the requester listens
	Sequence    uint64   // grows with every repetition
}

// Marshal gives the body of a statement of [PurposeAnnouncement], leaving out
// addresses beyond what a message may hold.
func (a Announcement) Marshal() []byte {
	return marshal(&wire.Announcement{
		Job: a.Job[:], Executor: a.Executor, Profile: a.Profile, Needs: a.Needs.wire(),
		Program: a.Program.Bytes(), ProgramSize: a.ProgramSize, Tasks: uint32(a.Tasks),
		MaxPrice: uint64(a.MaxPrice), BidsWanted: uint32(a.BidsWanted),
		Constraints: a.Constraints, Addrs: clipAddrs(a.Addrs), Sequence: a.Sequence,
	})
}

// ParseAnnouncement checks the body of a stranger's announcement.
func ParseAnnouncement(b []byte) (a Announcement, err error) {
	var w wire.Announcement
	if err := unmarshal(b, &w, "announcement"); err != nil {
		return a, err
	}
	if w.Tasks > MaxTasks || w.BidsWanted > MaxTasks {
		return a, fmt.Errorf("%w: announcement of %d tasks for %d bids", ErrMalformed, w.Tasks, w.BidsWanted)
	}
	a = Announcement{
		Executor: w.Executor, Profile: w.Profile, ProgramSize: w.ProgramSize, Tasks: int(w.Tasks),
		MaxPrice: Credits(w.MaxPrice), BidsWanted: int(w.BidsWanted),
		Constraints: w.Constraints, Addrs: w.Addrs, Sequence: w.Sequence,
	}
	if a.Job, err = parseJobID(w.Job); err != nil {
		return Announcement{}, err
	}
	if a.Program, err = CIDFromBytes(w.Program); err != nil {
		return Announcement{}, fmt.Errorf("%w: program: %v", ErrMalformed, err)
	}
	if a.Needs, err = parseResources(w.Needs); err != nil {
		return Announcement{}, err
	}
	return a, a.validate()
}

func (a Announcement) validate() error {
	if a.Tasks < 1 || a.MaxPrice > maxCredits || a.ProgramSize > maxBytes {
		return fmt.Errorf("%w: announcement out of range", ErrMalformed)
	}
	if err := checkNames(a.Executor, a.Profile); err != nil {
		return err
	}
	if err := CheckConstraints(a.Constraints); err != nil {
		return err
	}
	return checkAddrs(a.Addrs)
}

// CheckConstraints bounds the number and size of constraints; their grammar is
// the scheduler's.
func CheckConstraints(cs []string) error {
	if len(cs) > maxConstraints {
		return fmt.Errorf("%w: %d constraints; at most %d", ErrMalformed, len(cs), maxConstraints)
	}
	size := 0
	for _, c := range cs {
		if err := checkName("constraint", c, maxConstraint); err != nil {
			return err
		}
		size += len(c)
	}
	if size > maxConstraintBytes {
		return fmt.Errorf("%w: constraints of %d bytes together; at most %d", ErrMalformed, size, maxConstraintBytes)
	}
	return nil
}

// An Advert is a provider's signed word about what it lends now.
type Advert struct {
	Executor  string
	Profile   string
	Engine    Engine
	Isolation string // level, as the executor reports it
	Offered   Resources
	Free      Resources
	Slots     int
	FreeSlots int
	Price     Credits // of a core-hour
	Labels    Labels
	Addrs     []string
	Sequence  uint64
	Version   string // of muster
}

// Marshal gives the body of a statement of [PurposeAdvert], leaving out
// addresses beyond what a message may hold.
func (a Advert) Marshal() []byte {
	return marshal(&wire.Advert{
		Executor: a.Executor, Profile: a.Profile, Engine: a.Engine.wire(), Isolation: a.Isolation,
		Offered: a.Offered.wire(), Free: a.Free.wire(), Slots: uint32(a.Slots), FreeSlots: uint32(a.FreeSlots),
		Price: uint64(a.Price), Labels: a.Labels.wire(), Addrs: clipAddrs(a.Addrs), Sequence: a.Sequence, Version: a.Version,
	})
}

// ParseAdvert checks the body of a stranger's advert.
func ParseAdvert(b []byte) (a Advert, err error) {
	var w wire.Advert
	if err := unmarshal(b, &w, "advert"); err != nil {
		return a, err
	}
	if w.Slots > MaxSlots || w.FreeSlots > w.Slots || w.Price > maxCredits {
		return a, fmt.Errorf("%w: advert out of range", ErrMalformed)
	}
	a = Advert{
		Executor: w.Executor, Profile: w.Profile, Isolation: w.Isolation,
		Slots: int(w.Slots), FreeSlots: int(w.FreeSlots), Price: Credits(w.Price),
		Addrs: w.Addrs, Sequence: w.Sequence, Version: w.Version,
	}
	if a.Engine, err = parseEngine(w.Engine); err != nil {
		return Advert{}, err
	}
	if a.Offered, err = parseResources(w.Offered); err != nil {
		return Advert{}, err
	}
	if a.Free, err = parseResources(w.Free); err != nil {
		return Advert{}, err
	}
	if a.Labels, err = parseLabels(w.Labels); err != nil {
		return Advert{}, err
	}
	if err := checkNames(a.Executor, a.Profile, a.Isolation, a.Version); err != nil {
		return Advert{}, err
	}
	return a, checkAddrs(a.Addrs)
}

// MaxSlots is the most slots that one node can lend.
const MaxSlots = 4096

// A Bid is a provider's offer for one job. It reserves nothing, and promises
// nothing for longer than [BidPromise].
type Bid struct {
	Job           JobID
	Price         Credits // of a core-hour
	Slots         int
	StartAfter    time.Duration // until the first task could start; at most [MaxTimeout], to the millisecond
	ProgramCached bool
	Engine        Engine
}

// BidPromise is how long a bid's word about free slots is worth anything.
const BidPromise = 250 * time.Millisecond

// Marshal gives the body of a statement of [PurposeBid].
func (b Bid) Marshal() []byte {
	return marshal(&wire.Bid{
		Job: b.Job[:], Price: uint64(b.Price), Slots: uint32(b.Slots),
		StartAfter: uint32(max(0, min(b.StartAfter, MaxTimeout)).Milliseconds()), ProgramCached: b.ProgramCached, Engine: b.Engine.wire(),
	})
}

// ParseBid checks the body of a stranger's bid.
func ParseBid(body []byte) (b Bid, err error) {
	var w wire.Bid
	if err := unmarshal(body, &w, "bid"); err != nil {
		return b, err
	}
	if w.Slots < 1 || w.Slots > MaxSlots || w.Price > maxCredits {
		return b, fmt.Errorf("%w: bid out of range", ErrMalformed)
	}
	b = Bid{Price: Credits(w.Price), Slots: int(w.Slots), ProgramCached: w.ProgramCached}
	if b.Job, err = parseJobID(w.Job); err != nil {
		return Bid{}, err
	}
	if b.StartAfter, err = parseDuration(int64(w.StartAfter)); err != nil {
		return Bid{}, err
	}
	b.Engine, err = parseEngine(w.Engine)
	return b, err
}

// A Reason says why a provider refused a job, or an execution ended without an
// answer. The numbers are part of the wire format.
type Reason uint32

// Reasons of a refusal, and of a failure.
const (
	ReasonOther      Reason = iota
	ReasonBusy              // no slot free now
	ReasonExecutor          // executor or profile not offered
	ReasonCPU               // resources never enough
	ReasonMemory            //
	ReasonDisk              //
	ReasonGPU               //
	ReasonPrice             // asks more than the job pays
	ReasonCredit            // the requester's balance is at its limit
	ReasonPolicy            // the owner's rules: hours, load and the like; requesters and programs that are allowed or denied
	ReasonConstraint        // a constraint of the job does not hold here
	ReasonDraining          // takes nothing new
	ReasonInput             // program or input could not be fetched
	ReasonTimeout           // the execution reached its timeout
	ReasonKilled            // the sandbox died
	ReasonNoLease           // no such lease, or an older epoch
	ReasonCancelled         // on the requester's word
	reasonEnd
)

var reasonNames = [...]string{
	"other", "busy", "executor", "cpu", "memory", "disk", "gpu", "price", "credit", "policy",
	"constraint", "draining", "input", "timeout", "killed", "no lease", "cancelled",
}

// String gives the reason's word.
func (r Reason) String() string {
	if r < reasonEnd {
		return reasonNames[r]
	}
	return reasonNames[ReasonOther]
}

func parseReason(n uint32, detail string) (Reason, error) {
	if err := checkName("detail", detail, maxDetail); err != nil {
		return 0, err
	}
	if n >= uint32(reasonEnd) {
		return ReasonOther, nil // a newer peer's reason
	}
	return Reason(n), nil
}

const maxDetail = 512 // bytes

// ClipDetail makes text fit for a detail field: cut to its limit, control
// characters replaced.
func ClipDetail(s string) string { return clip(s, maxDetail) }

func clip(s string, most int) string {
	out := make([]rune, 0, min(len(s), most))
	size := 0
	for _, r := range s {
		if garbles(r) {
			r = ' '
		}
		if size += len(string(r)); size > most {
			break
		}
		out = append(out, r)
	}
	return string(out)
}

// A Refusal is a provider's signed no to one job.
type Refusal struct {
	Job    JobID
	Reason Reason
	Detail string // for people; see [ClipDetail]
}

// Marshal gives the body of a statement of [PurposeRefusal].
func (r Refusal) Marshal() []byte {
	return marshal(&wire.Refusal{Job: r.Job[:], Reason: uint32(r.Reason), Detail: r.Detail})
}

// ParseRefusal checks the body of a stranger's refusal.
func ParseRefusal(b []byte) (r Refusal, err error) {
	var w wire.Refusal
	if err := unmarshal(b, &w, "refusal"); err != nil {
		return r, err
	}
	if r.Job, err = parseJobID(w.Job); err != nil {
		return Refusal{}, err
	}
	r.Detail = w.Detail
	r.Reason, err = parseReason(w.Reason, w.Detail)
	return r, err
}

// A BidFrame is what a provider sends on a bid stream: the envelope of a bid,
// or of a refusal; exactly one is set.
type BidFrame struct{ Bid, Refusal []byte }

// Marshal gives the frame's bytes.
func (f BidFrame) Marshal() []byte {
	if f.Bid != nil {
		return marshal(&wire.BidFrame{Kind: &wire.BidFrame_Bid{Bid: f.Bid}})
	}
	return marshal(&wire.BidFrame{Kind: &wire.BidFrame_Refusal{Refusal: f.Refusal}})
}

// ParseBidFrame reads a stranger's frame; the envelope inside is not opened.
func ParseBidFrame(b []byte) (f BidFrame, err error) {
	var w wire.BidFrame
	if err := unmarshal(b, &w, "bid frame"); err != nil {
		return f, err
	}
	f = BidFrame{Bid: w.GetBid(), Refusal: w.GetRefusal()}
	if len(f.Bid) == 0 && len(f.Refusal) == 0 {
		return f, fmt.Errorf("%w: empty bid frame", ErrMalformed)
	}
	return f, nil
}

// Hello is what two nodes tell each other on a new connection.
type Hello struct {
	Advert        []byte   // envelope; none from a node that lends nothing
	Announcements [][]byte // envelopes of open jobs, at most [MaxHello]
}

// Limits of a hello.
const (
	MaxHello      = 256      // announcements
	MaxHelloBytes = 64 << 10 // whole
)

// Marshal gives the hello's bytes, dropping announcements that do not fit.
func (h Hello) Marshal() []byte {
	size, kept := len(h.Advert)+16, h.Announcements
	for i, a := range h.Announcements {
		if size += len(a) + 8; size > MaxHelloBytes || i == MaxHello {
			kept = h.Announcements[:i]
			break
		}
	}
	return marshal(&wire.HelloReply{Advert: h.Advert, Announcements: kept})
}

// ParseHello reads a stranger's hello; the envelopes inside are not opened.
func ParseHello(b []byte) (Hello, error) {
	var w wire.HelloReply
	if len(b) > MaxHelloBytes {
		return Hello{}, fmt.Errorf("%w: hello of %d bytes", ErrMalformed, len(b))
	}
	if err := unmarshal(b, &w, "hello"); err != nil {
		return Hello{}, err
	}
	if len(w.Announcements) > MaxHello {
		return Hello{}, fmt.Errorf("%w: %d announcements", ErrMalformed, len(w.Announcements))
	}
	return Hello{Advert: w.Advert, Announcements: w.Announcements}, nil
}

func checkNames(names ...string) error {
	for _, n := range names {
		if err := checkName("name", n, maxWord); err != nil {
			return err
		}
	}
	return nil
}
