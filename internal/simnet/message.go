package simnet

import (
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// signed is what an envelope says of when it was made.
type signed struct{ issued time.Time }

// fresh tells whether a statement of this life counts at a node, as
// proto.Open does.
func (s signed) fresh(now time.Time, life time.Duration) bool {
	return !s.issued.After(now.Add(proto.MaxSkew)) && !now.After(s.issued.Add(life+proto.MaxSkew))
}

// Lives of statements.
const (
	answerLife   = time.Hour
	announceLife = 30 * time.Second
)

// Messages without a stream.
type (
	announceMsg struct {
		signed
		a proto.Announcement
	}
	bidMsg struct {
		signed
		bid proto.Bid
		no  *scheduler.No
	}
	fetchMsg struct{ output proto.CID }
)

// Messages of a lease's stream.
type (
	awardMsg struct {
		signed
		award proto.Award
		tasks []proto.Assignment
	}
	attachMsg struct{ attach proto.Attach }
	replyMsg  struct{ no *scheduler.No }
	taskMsg   struct{ a proto.Assignment }
	startMsg  struct{ id proto.ExecutionID }
	answerMsg struct {
		signed
		lease proto.LeaseID
		epoch uint64
		id    proto.ExecutionID
		o     scheduler.Outcome
		made  time.Duration // true time; for the keeper
	}
	failMsg struct {
		id     proto.ExecutionID
		reason proto.Reason
	}
	ackMsg struct {
		id      proto.ExecutionID
		receipt bool
	}
	cancelMsg  struct{ id proto.ExecutionID }
	releaseMsg struct{}
)
