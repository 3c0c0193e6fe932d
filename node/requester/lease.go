package requester

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A taken lease is the requester's end of one. It outlives its stream.
type taken struct {
	j     *Job
	id    proto.LeaseID
	peer  proto.PeerID
	price proto.Credits
	epoch uint64
	phase int // of the job
	prog  proto.Program
	list  []proto.Task // of the phase
	ctx   context.Context
	stop  context.CancelFunc
	done  chan struct{} // closed when its stream is over; the loop's

	mu       sync.Mutex // guards all below
	up       bool       // there is a stream
	ended    bool       // there is none, and none is being opened
	released bool       // let go by us
	parting  bool       // the job needs it no longer
	ignorant bool       // its provider may hold it, and was not told that it is over
	told     bool       // it was told
	queue    []outgoing
	news     chan struct{}             // something was queued; one wake-up is enough
	tasks    map[proto.ExecutionID]int // in flight
	answers  map[proto.ExecutionID]held
}

// An outgoing frame waits to be sent. A receipt waits for the next stream, too.
type outgoing struct {
	receipt proto.ExecutionID // zero: none
	bytes   []byte
}

// maxOutgoing is how many frames may wait for a provider: more than can be in
// flight.
const maxOutgoing = 8192

// newTaken makes the requester's end of a lease; one that was restored is known
// to its provider.
func (j *Job) newTaken(r scheduler.LeaseRecord, restored bool) *taken {
	ctx, stop := context.WithCancel(j.ctx)
	l := &taken{
		j: j, id: r.Lease, peer: r.Peer, price: r.Price, epoch: r.Epoch, phase: j.phase, prog: j.prog, list: j.tasks,
		ctx: ctx, stop: stop, done: make(chan struct{}), news: make(chan struct{}, 1),
		tasks: make(map[proto.ExecutionID]int), answers: make(map[proto.ExecutionID]held),
	}
	close(l.done)
	l.ended, l.ignorant = true, restored
	j.leases[r.Lease] = l
	return l
}

// A held answer waits for its task to be settled.
type held struct {
	envelope []byte
	hash     proto.Hash
	answer   proto.Answer
	blocks   []content.Block // that came with it: the store may have dropped them
}

// openLease awards a lease and follows it.
func (j *Job) openLease(o scheduler.OpenLease) {
	l := j.newTaken(scheduler.LeaseRecord{Lease: o.Lease, Peer: o.Peer, Epoch: o.Epoch, Price: o.Price}, false)
	frame := proto.AwardFrame{Award: j.r.Sign(proto.PurposeAward, o.Peer, overlay.AnswerLife, proto.Award{
		Job: j.id, Lease: o.Lease, Epoch: o.Epoch, Slots: o.Slots, Price: o.Price, Grace: j.r.grace, Silence: j.r.silence,
		Program: j.prog, Trace: j.spec.Trace,
	}.Marshal())}
	for _, t := range o.Tasks {
		frame.Tasks = append(frame.Tasks, proto.Assignment{Execution: t.Execution, Task: j.tasks[t.Task]})
		l.expect(t.Execution, t.Task)
	}
	l.up = true // what comes before the answer waits for it
	l.happened("opened", fmt.Sprintf("%d slots, %d tasks with it", o.Slots, len(o.Tasks)))
	j.connect(l, proto.Frame{Award: &frame}, func(core *scheduler.Job) {
		core.LeaseDeclined(j.r.Now(), o.Peer, o.Lease, scheduler.No{Reason: proto.ReasonBusy, Detail: tooManyLeases})
	})
}

// attach takes up a lease again.
func (j *Job) attach(a scheduler.Attach) {
	l := j.leases[a.Lease]
	if l == nil {
		return // it has ended meanwhile
	}
	frame := &proto.Attach{Lease: a.Lease, Epoch: a.Epoch, Executions: l.withReceipts(a.Executions)}
	<-l.done // of the stream before, which has told its end
	j.connect(l, proto.Frame{Attach: frame}, func(core *scheduler.Job) {
		core.AttachFailed(j.r.Now(), a.Peer, a.Lease, tooManyLeases)
	})
}

const tooManyLeases = "too many leases at once"

// connect opens a stream for a lease with its first frame, and follows it;
// refused is the event where the node has no room for that.
func (j *Job) connect(l *taken, first proto.Frame, refused func(*scheduler.Job)) {
	done := make(chan struct{})
	l.done = done
	l.begins(true)
	j.r.noteLease(j.id, l.peer, 1)
	if j.r.Workers.Try(func(context.Context) { l.run(first, done) }) {
		return
	}
	l.begins(false)
	close(done)
	j.r.noteLease(j.id, l.peer, -1)
	j.soon(refused)
}

// withReceipts adds the executions whose receipts are still to be sent: their
// provider must not forget them before.
func (l *taken) withReceipts(es []proto.ExecutionID) []proto.ExecutionID {
	l.mu.Lock()
	defer l.mu.Unlock()
	asked := make(map[proto.ExecutionID]bool, len(es))
	for _, e := range es {
		asked[e] = true
	}
	for _, o := range l.queue {
		if !asked[o.receipt] && o.receipt != (proto.ExecutionID{}) && len(es) < proto.MaxAttach {
			asked[o.receipt] = true
			es = append(es, o.receipt)
		}
	}
	return es
}

// An ending is how a lease's stream came to its end.
type ending struct {
	no    *scheduler.No // the provider declined
	met   bool          // it had accepted
	err   error         // nil: it let the lease go, or we did
	fault bool          // err is a breach of the protocol
}

// run follows a stream of a lease, and tells the job how it ended.
func (l *taken) run(first proto.Frame, done chan struct{}) {
	j := l.j
	defer close(done)
	defer j.r.noteLease(j.id, l.peer, -1)
	end := l.follow(first)
	l.down(end, first.Attach != nil)
	j.post(func(core *scheduler.Job) {
		l.over(core, end, first.Attach != nil)
	})
}

func (l *taken) over(core *scheduler.Job, end ending, attach bool) {
	j, now := l.j, l.j.r.Now()
	broken := false
	switch {
	case end.no != nil && attach:
		core.LeaseLost(now, l.peer, l.id, "its provider does not know it any more: "+end.no.Detail)
	case end.no != nil:
		core.LeaseDeclined(now, l.peer, l.id, *end.no)
	case end.err == nil:
		core.LeaseLost(now, l.peer, l.id, "the provider let the lease go")
	case end.fault:
		core.LeaseLost(now, l.peer, l.id, proto.ClipDetail(end.err.Error()))
	case attach && !end.met:
		core.AttachFailed(now, l.peer, l.id, proto.ClipDetail(end.err.Error()))
		broken = true
	default:
		core.LeaseBroken(now, l.peer, l.id, proto.ClipDetail(end.err.Error()))
		broken = true
	}
	if !attach || !broken { // else it is known to be away
		l.happened(end.words(broken && core.Holds(l.peer, l.id)))
	}
	if !core.Holds(l.peer, l.id) {
		j.part(l.id)
	}
	if j.leases[l.id] == l && !(broken && core.Holds(l.peer, l.id)) && (end.no != nil || l.settled()) {
		delete(j.leases, l.id)
		l.stop()
	}
}

// down notes that the stream is over. Of what waited to be sent only receipts are
// of use to the next.
func (l *taken) down(end ending, attach bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.up, l.ended = false, true
	declined := end.no != nil && (!attach || end.no.Reason == proto.ReasonNoLease) // else it says no more than not now
	l.ignorant = l.ignorant && !l.told && !declined
	if l.parting {
		l.bye()
	}
	l.queue = slices.DeleteFunc(l.queue, func(o outgoing) bool { return o.receipt == proto.ExecutionID{} })
}

func (l *taken) follow(first proto.Frame) (end ending) {
	r := l.j.r
	if end.err = l.reach(); end.err != nil {
		return end
	}
	ctx, cancel := context.WithTimeout(l.ctx, overlay.BidTimeout)
	s, err := r.Net.OpenStream(ctx, l.peer, overlay.ProtoLease, proto.MaxLeaseFrame)
	cancel()
	if err != nil {
		return ending{err: err}
	}
	defer s.Reset()
	s.SetIdle(overlay.LeaseSilence)
	l.asked()
	if err := s.Send(first.Marshal()); err != nil {
		return ending{err: err}
	}
	wait := context.AfterFunc(l.ctx, s.Reset) // nobody waits for a reply once the job is over
	reply, err := overlay.RecvFrame(s)
	wait()
	switch {
	case err != nil:
		return ending{err: err, fault: errors.Is(err, proto.ErrMalformed)}
	case reply.Reply == nil:
		return ending{err: r.Strike(s, "lease stream without reply"), fault: true}
	case !reply.Reply.Accepted:
		return ending{no: &scheduler.No{Reason: reply.Reply.Reason, Detail: reply.Reply.Detail}}
	}
	l.mu.Lock()
	l.up = true
	l.mu.Unlock()
	l.post(func(core *scheduler.Job) {
		if first.Attach != nil {
			core.LeaseAttached(r.Now(), l.peer, l.id)
			l.happened("attached", "")
		} else {
			core.LeaseAccepted(l.peer, l.id)
			l.happened("accepted", "")
		}
	})
	r.Net.Protect(l.peer, overlay.LeaseTag(l.id))
	defer r.Net.Unprotect(l.peer, overlay.LeaseTag(l.id))
	end = l.exchange(s)
	end.met = true
	return end
}

func (l *taken) reach() error {
	ctx, cancel := context.WithTimeout(l.ctx, overlay.BidTimeout)
	defer cancel()
	k, _ := l.j.r.Directory.AdvertOf(l.peer)
	return l.j.r.Reach(ctx, l.peer, k.Advert.Addrs)
}

// exchange sends what is queued and reads what comes, until either side ends.
func (l *taken) exchange(s *p2p.Stream) ending {
	ctx, cancel := context.WithCancel(l.ctx)
	sent := make(chan struct{})
	if !l.j.r.Pingers.Try(func(context.Context) { defer close(sent); l.pump(ctx, s) }) {
		cancel()
		return ending{err: errors.New(tooManyLeases)}
	}
	defer func() { cancel(); <-sent }()
	for {
		b, err := s.Recv()
		if err != nil {
			if l.letGo() {
				return ending{}
			}
			return ending{err: err}
		}
		frame, err := proto.ParseFrame(b)
		if err != nil {
			return ending{err: l.j.r.Strike(s, "malformed lease frame"), fault: true}
		}
		if frame.Release {
			return ending{}
		}
		if nothingLeft(frame) && l.letGo() {
			l.heardOut()
			return ending{}
		}
		if err := l.take(s, frame); err != nil {
			return ending{err: err, fault: true}
		}
	}
}

// pump writes the frames of a lease, many at a time where many wait, and pings
// while there is nothing to say.
func (l *taken) pump(ctx context.Context, s *p2p.Stream) {
	tick := time.NewTicker(overlay.PingEvery)
	defer tick.Stop()
	for {
		var batch [][]byte
		select {
		case <-ctx.Done():
			l.flush(s)
			return
		case <-l.news:
			batch = l.unsent()
		case <-tick.C:
			batch = append(batch, proto.Frame{Ping: true}.Marshal())
		}
		if len(batch) > 0 && s.Send(batch...) != nil {
			s.Reset()
			return
		}
	}
}

// nothingLeft tells whether a frame is the provider's word that it has removed all
// that it had of the lease.
func nothingLeft(f proto.Frame) bool {
	return f.Reply != nil && !f.Reply.Accepted && f.Reply.Reason == proto.ReasonNoLease
}

// heardOut notes that the provider knows that the lease is over.
func (l *taken) heardOut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = true
}

// unsent gives what is queued, which is then taken to be sent.
func (l *taken) unsent() (batch [][]byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.queue {
		batch = append(batch, o.bytes)
	}
	l.queue = l.queue[:0]
	return batch
}

// flush sends what is still queued, receipts above all. A lease that we let go
// ends in good order; any other goes on without its stream.
func (l *taken) flush(s *p2p.Stream) {
	batch := l.unsent()
	if !l.letGo() {
		if s.SetIdle(time.Second); len(batch) > 0 {
			_ = s.Send(batch...) // it breaks now in any case
		}
		s.Reset()
		return
	}
	s.SetIdle(farewellLimit)
	if s.Send(append(batch, proto.Frame{Release: true}.Marshal())...) != nil || s.CloseWrite() != nil {
		s.Reset()
		return
	}
	time.AfterFunc(farewellLimit, s.Reset) // its provider says when nothing is left
}

// farewellLimit is how long a provider may take to let a lease go, before it is
// told so once more.
const farewellLimit = 2 * time.Second

// send queues a frame. While there is no stream, receipts alone are kept; a peer
// that lets the queue fill up loses what does not fit.
func (l *taken) send(f proto.Frame) {
	o := outgoing{bytes: f.Marshal()}
	if f.Ack != nil && len(f.Ack.Receipt) > 0 {
		o.receipt = f.Ack.Execution
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up && o.receipt == (proto.ExecutionID{}) || len(l.queue) >= maxOutgoing {
		return
	}
	l.queue = append(l.queue, o)
	select {
	case l.news <- struct{}{}:
	default: // it is awake
	}
}

// release ends the lease from our side.
func (l *taken) release() {
	l.mu.Lock()
	l.released = true
	l.mu.Unlock()
	l.stop()
}

func (l *taken) letGo() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.released
}

func (l *taken) expect(e proto.ExecutionID, task int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks[e] = task
	l.j.r.logs.Begin(e)
}

func (l *taken) settled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.answers) == 0
}

// take handles one frame of the provider.
func (l *taken) take(s *p2p.Stream, f proto.Frame) error {
	j := l.j
	switch {
	case f.Answer != nil:
		return l.takeAnswer(s, f.Answer)
	case f.Failure != nil:
		if l.forget(f.Failure.Execution) {
			l.post(func(core *scheduler.Job) {
				core.ExecutionFailed(j.r.Now(), f.Failure.Execution, f.Failure.Reason, f.Failure.Detail)
			})
		}
	case f.Started != nil:
		l.post(func(core *scheduler.Job) { core.Started(j.r.Now(), *f.Started) })
	case f.Log != nil:
		return l.takeLog(s, *f.Log)
	case f.Progress != nil:
		if task, ok := l.inFlight(f.Progress.Execution); ok {
			j.heard(l.phase, task, *f.Progress)
		}
	case f.Ping:
	default:
		return j.r.Strike(s, "lease frame out of turn")
	}
	return nil
}

// takeLog keeps a piece of what a guest prints, if its execution is in flight on
// this lease.
func (l *taken) takeLog(s *p2p.Stream, p proto.Log) error {
	task, ok := l.inFlight(p.Execution)
	if !ok {
		return nil // it was answered or cancelled meanwhile
	}
	err := l.j.r.logs.Write(p)
	switch {
	case errors.Is(err, livelog.ErrOffset):
		return l.j.r.Strike(s, "a log without end")
	case err == nil:
		l.j.printed(l.phase, task)
	case !errors.Is(err, livelog.ErrUnknown) && !errors.Is(err, livelog.ErrClosed):
		l.j.r.Log.Warn("live log cut", "exec", p.Execution, "err", err)
	}
	return nil
}

func (l *taken) inFlight(e proto.ExecutionID) (task int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	task, ok = l.tasks[e]
	return task, ok
}

func (l *taken) forget(e proto.ExecutionID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.tasks[e]
	delete(l.tasks, e)
	return ok
}

// takeAnswer checks an answer: signed by this peer for us, under this lease and
// epoch, for a task that is in flight, about exactly that task.
func (l *taken) takeAnswer(s *p2p.Stream, f *proto.AnswerFrame) error {
	j := l.j
	env, err := j.r.Open(f.Answer, proto.PurposeAnswer)
	if err != nil {
		return j.r.Strike(s, "bad answer envelope")
	}
	a, err := proto.ParseAnswer(env.Body)
	if err != nil || env.Signer != l.peer || env.Addressee != j.r.Self {
		return j.r.Strike(s, "bad answer")
	}
	l.mu.Lock()
	index, ok := l.tasks[a.Execution]
	if ok = ok && a.Lease == l.id && a.Epoch == l.epoch; ok {
		delete(l.tasks, a.Execution)
	}
	l.mu.Unlock()
	if !ok {
		return nil // cancelled meanwhile, or fenced off
	}
	if a.Digest != proto.TaskDigest(l.prog, l.list[index]) {
		return j.r.Strike(s, "answer to another task")
	}
	l.send(proto.Frame{Ack: &proto.Ack{Execution: a.Execution}})
	h := held{envelope: f.Answer, hash: env.Hash, answer: a, blocks: l.keepBlocks(f.Blocks)}
	l.mu.Lock()
	l.answers[a.Execution] = h
	l.mu.Unlock()
	complete, malformed := l.complete(a)
	l.post(func(core *scheduler.Job) {
		now := j.r.Now()
		wanted := core.Answered(now, a.Execution, scheduler.OutcomeOf(a))
		switch {
		case !wanted:
			l.drop(a.Execution)
		case malformed != nil:
			core.FetchFailed(now, a.Execution, proto.ClipDetail(malformed.Error()))
		case complete:
			core.Held(now, index, a.Output)
		}
	})
	return nil
}

// post hands in an event of the lease's phase; one that comes when the next has
// begun is dropped.
func (l *taken) post(event func(*scheduler.Job)) {
	l.j.post(func(core *scheduler.Job) {
		if l.j.phase == l.phase {
			event(core)
		}
	})
}

// keepBlocks stores the blocks that came with an answer, and gives those that
// are what they say.
func (l *taken) keepBlocks(bs []proto.Block) []content.Block {
	if len(bs) == 0 {
		return nil
	}
	list := make([]content.Block, len(bs))
	for i, b := range bs {
		list[i] = content.Block{CID: b.CID, Data: b.Data}
	}
	err := l.j.r.content().PutMany(l.ctx, list)
	switch {
	case errors.Is(err, content.ErrMismatch), errors.Is(err, content.ErrTooLarge):
		l.j.r.Net.Misbehaved(l.peer, "blocks that do not match their ids")
		return nil
	case err != nil:
		return nil // they are fetched, where they are needed
	}
	return list
}

// complete tells whether the whole output of an answer is here, and if so, what
// is wrong with its form.
func (l *taken) complete(a proto.Answer) (yes bool, malformed error) {
	r := l.j.r
	missing, err := r.content().Missing(l.ctx, a.Output, 1)
	if err != nil || len(missing) > 0 {
		return false, nil
	}
	return true, r.box.CheckOutput(l.ctx, a)
}

// dropLeases lets go of all leases and waits for their streams: the phase is
// over. Of a job that goes on in the node's next run, the leases stay with their
// providers.
func (j *Job) dropLeases() {
	state, _ := j.core.State()
	for _, l := range j.leases {
		if state.Ended() {
			l.release()
		} else {
			l.stop()
		}
	}
	for id, l := range j.leases {
		j.await(l.done)
		l.hush()
		delete(j.leases, id)
	}
}

// await waits for done and goes on taking events, so that whoever waits to hand
// one in is not in the way.
func (j *Job) await(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case event := <-j.events:
			event(j.core)
		}
	}
}
