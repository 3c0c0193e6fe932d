package eventlog

import (
	"sync"
	"time"

	"github.com/mustermesh/muster/proto"
)

// A Kind says what an event is about.
type Kind string

// Kinds of events.
const (
	Job       Kind = "job"       // a job changed its state
	Task      Kind = "task"      // a task was settled
	Execution Kind = "execution" // an execution failed, was lost or declined
	Lease     Kind = "lease"     // one was awarded, accepted, declined, broke, was taken up again or is over
	Progress  Kind = "progress"  // a guest said how far it is
	Provider  Kind = "provider"  // what this node does for others
	Node      Kind = "node"
)

// MaxText is how many bytes of an event's text are kept; the rest is cut.
const MaxText = 512

// An Event is something that happened. Of its fields those are set that the kind
// has a use for.
type Event struct {
	Sequence  uint64 // given by [Log.Add]
	TimeMS    int64  // Unix milliseconds
	Kind      Kind
	Job       proto.JobID
	Task      int
	Execution proto.ExecutionID
	Peer      proto.PeerID
	State     string
	Text      string
	Fraction  float64 // of a guest's progress, 0 to 1; below 0: unknown
}

// A Log keeps the latest events. Safe for concurrent use.
type Log struct {
	base uint64 // the first event has the next number

	mu    sync.Mutex // guards all below
	ring  []Event
	last  uint64        // number of the latest event; base: none yet
	news  chan struct{} // closed when there is a new event
	await bool          // somebody has news
}

// numberBits is how many events one millisecond has numbers for; so they stay
// below 2^53, which is as far as every reader of JSON counts.
const numberBits = 10

// New makes a log of at most size events, above zero, whose numbers begin above
// those of every log that was made a millisecond or more before: they grow over
// restarts, as long as the clock does.
func New(size int, now time.Time) *Log {
	base := uint64(max(now.UnixMilli(), 0)) << numberBits
	return &Log{base: base, last: base, ring: make([]Event, size), news: make(chan struct{})}
}

// Add takes an event and gives its number. It never waits for a reader: where
// there is no room the oldest event goes.
func (l *Log) Add(e Event) uint64 {
	if len(e.Text) > MaxText {
		e.Text = proto.ClipDetail(e.Text[:MaxText])
	}
	l.mu.Lock()
	l.last++
	e.Sequence = l.last
	l.ring[l.last%uint64(len(l.ring))] = e
	if l.await {
		close(l.news)
		l.news, l.await = make(chan struct{}), false
	}
	l.mu.Unlock()
	return e.Sequence
}

// Last gives the number of the latest event; where there was none, the number
// after which the first will be.
func (l *Log) Last() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// A Page is a piece of the log.
type Page struct {
	Events []Event         // in order
	Gap    bool            // events between the number that was asked after and the first of these are gone
	More   <-chan struct{} // closed when there is more; nil where there is more now
}

// maxPage is how many events a page has at most.
const maxPage = 256

// After gives the events that follow number after, the oldest that are kept
// where it is 0. A number of an earlier run of the node is one whose followers
// are gone.
func (l *Log) After(after uint64) Page {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.base + 1
	if kept := uint64(len(l.ring)); l.last-l.base > kept {
		oldest = l.last - kept + 1
	}
	first := max(after+1, oldest)
	page := Page{Gap: after != 0 && after+1 < oldest}
	for n := first; n <= l.last && len(page.Events) < maxPage; n++ {
		page.Events = append(page.Events, l.ring[n%uint64(len(l.ring))])
	}
	if first+uint64(len(page.Events)) > l.last {
		page.More, l.await = l.news, true
	}
	return page
}
