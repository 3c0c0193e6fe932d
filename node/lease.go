package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// leaseGrace is how long a provider keeps finished results for a requester that
// went silent.
const leaseGrace = time.Minute

// A taken lease is the requester's end of one.
type taken struct {
	j     *job
	id    proto.LeaseID
	peer  proto.PeerID
	price proto.Credits
	epoch uint64
	phase int // of the job
	prog  proto.Program
	list  []proto.Task // of the phase
	out   chan []byte  // frames to send; more than can be in flight
	done  chan struct{}
	ctx   context.Context
	stop  context.CancelFunc

	mu      sync.Mutex
	tasks   map[proto.ExecutionID]int // in flight
	answers map[proto.ExecutionID]held
}

// leaseTag keeps the connection of a lease from being trimmed, whatever becomes of
// others with the same peer.
func leaseTag(id proto.LeaseID) string { return "lease:" + id.String() }

// A held answer waits for its task to be settled.
type held struct {
	envelope []byte
	hash     proto.Hash
	answer   proto.Answer
	blocks   []content.Block // that came with it: the store may have dropped them
}

// openLease awards a lease and follows it.
func (j *job) openLease(o scheduler.OpenLease) {
	ctx, stop := context.WithCancel(j.ctx)
	l := &taken{
		j: j, id: o.Lease, peer: o.Peer, price: o.Price, epoch: o.Epoch, phase: j.phase, prog: j.prog, list: j.tasks,
		out: make(chan []byte, min(16+16*len(j.tasks), 2048)), done: make(chan struct{}), ctx: ctx, stop: stop,
		tasks: make(map[proto.ExecutionID]int), answers: make(map[proto.ExecutionID]held),
	}
	frame := proto.AwardFrame{Award: j.r.sign(proto.PurposeAward, o.Peer, answerLife, proto.Award{
		Job: j.id, Lease: o.Lease, Epoch: o.Epoch, Slots: o.Slots, Price: o.Price, Grace: leaseGrace, Program: j.prog,
	}.Marshal())}
	for _, t := range o.Tasks {
		frame.Tasks = append(frame.Tasks, proto.Assignment{Execution: t.Execution, Task: j.tasks[t.Task]})
		l.expect(t.Execution, t.Task)
	}
	j.leases[o.Lease] = l
	j.r.noteLease(j.id, o.Peer, 1)
	if !j.r.crew.try(func(context.Context) { l.run(frame) }) {
		stop()
		close(l.done)
		j.r.noteLease(j.id, o.Peer, -1)
		j.soon(func(core *scheduler.Job) {
			core.LeaseDeclined(j.r.now(), o.Peer, o.Lease, scheduler.No{Reason: proto.ReasonBusy, Detail: "too many leases at once"})
		})
	}
}

// run follows a lease from award to end, and tells the job how it ended.
func (l *taken) run(frame proto.AwardFrame) {
	j := l.j
	defer close(l.done)
	defer l.stop()
	defer j.r.noteLease(j.id, l.peer, -1)
	no, err := l.follow(frame)
	j.post(func(core *scheduler.Job) {
		now := j.r.now()
		switch {
		case no != nil:
			core.LeaseDeclined(now, l.peer, l.id, *no)
		case err != nil:
			core.LeaseLost(now, l.peer, l.id, proto.ClipDetail(err.Error()))
		default:
			core.LeaseLost(now, l.peer, l.id, "the provider let the lease go")
		}
		if j.leases[l.id] == l && (no != nil || l.settled()) {
			delete(j.leases, l.id)
		}
	})
}

func (l *taken) follow(frame proto.AwardFrame) (*scheduler.No, error) {
	r := l.j.r
	if err := l.reach(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(l.ctx, bidTimeout)
	s, err := r.net.OpenStream(ctx, l.peer, protoLease, proto.MaxLeaseFrame)
	cancel()
	if err != nil {
		return nil, err
	}
	defer s.Reset()
	s.SetIdle(leaseSilence)
	if err := s.Send(proto.Frame{Award: &frame}.Marshal()); err != nil {
		return nil, err
	}
	reply, err := recvFrame(s)
	if err != nil {
		return nil, err
	}
	if reply.Reply == nil {
		return nil, r.strike(s, "lease stream without reply")
	}
	if !reply.Reply.Accepted {
		return &scheduler.No{Reason: reply.Reply.Reason, Detail: reply.Reply.Detail}, nil
	}
	l.post(func(core *scheduler.Job) { core.LeaseAccepted(l.peer, l.id) })
	r.net.Protect(l.peer, leaseTag(l.id))
	defer r.net.Unprotect(l.peer, leaseTag(l.id))
	return nil, l.exchange(s)
}

func (l *taken) reach() error {
	ctx, cancel := context.WithTimeout(l.ctx, bidTimeout)
	defer cancel()
	k, _ := l.j.r.directory.advertOf(l.peer)
	return l.j.r.reach(ctx, l.peer, k.advert.Addrs)
}

// exchange sends what is queued and reads what comes, until either side ends.
func (l *taken) exchange(s *p2p.Stream) error {
	sent := make(chan struct{})
	if !l.j.r.pingers.try(func(context.Context) { defer close(sent); l.pump(s) }) {
		return errors.New("too many leases at once")
	}
	defer func() { l.stop(); <-sent }()
	for {
		b, err := s.Recv()
		if err != nil {
			if l.ctx.Err() != nil {
				return nil
			}
			return err
		}
		frame, err := proto.ParseFrame(b)
		if err != nil {
			return l.j.r.strike(s, "malformed lease frame")
		}
		if frame.Release {
			return nil
		}
		if err := l.take(s, frame); err != nil {
			return err
		}
	}
}

// pump writes the frames of a lease, many at a time where many wait, and pings
// while there is nothing to say.
func (l *taken) pump(s *p2p.Stream) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		var batch [][]byte
		select {
		case <-l.ctx.Done():
			l.flush(s)
			return
		case b := <-l.out:
			batch = append(batch, b)
		case <-tick.C:
			batch = append(batch, proto.Frame{Ping: true}.Marshal())
		}
		for range len(l.out) {
			batch = append(batch, <-l.out)
		}
		if s.Send(batch...) != nil {
			s.Reset()
			return
		}
	}
}

// flush sends what is still queued, receipts above all, and ends the lease in
// good order.
func (l *taken) flush(s *p2p.Stream) {
	var batch [][]byte
	for range len(l.out) {
		batch = append(batch, <-l.out)
	}
	s.SetIdle(time.Second)
	if s.Send(append(batch, proto.Frame{Release: true}.Marshal())...) == nil {
		s.Close()
	} else {
		s.Reset()
	}
}

// send queues a frame. A peer that lets the queue fill up loses the lease.
func (l *taken) send(f proto.Frame) {
	select {
	case l.out <- f.Marshal():
	default:
		l.stop()
	}
}

// release ends the lease from our side.
func (l *taken) release() { l.stop() }

func (l *taken) expect(e proto.ExecutionID, task int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks[e] = task
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
				core.ExecutionFailed(j.r.now(), f.Failure.Execution, f.Failure.Reason, f.Failure.Detail)
			})
		}
	case f.Started != nil:
		l.post(func(core *scheduler.Job) { core.Started(j.r.now(), *f.Started) })
	case f.Ping, f.Log != nil:
	default:
		return j.r.strike(s, "lease frame out of turn")
	}
	return nil
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
	env, err := j.r.open(f.Answer, proto.PurposeAnswer)
	if err != nil {
		return j.r.strike(s, "bad answer envelope")
	}
	a, err := proto.ParseAnswer(env.Body)
	if err != nil || env.Signer != l.peer || env.Addressee != j.r.self {
		return j.r.strike(s, "bad answer")
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
		return j.r.strike(s, "answer to another task")
	}
	l.send(proto.Frame{Ack: &proto.Ack{Execution: a.Execution}})
	h := held{envelope: f.Answer, hash: env.Hash, answer: a, blocks: l.keepBlocks(f.Blocks)}
	l.mu.Lock()
	l.answers[a.Execution] = h
	l.mu.Unlock()
	complete, malformed := l.complete(a)
	l.post(func(core *scheduler.Job) {
		now := j.r.now()
		wanted := core.Answered(now, a.Execution, scheduler.Outcome{
			Output: a.Output, Engine: a.Engine, Result: a.Outcome, ExitCode: a.ExitCode, Trap: a.Trap, CPU: a.CPU, Wall: a.Wall,
		})
		switch {
		case wanted && malformed != nil:
			core.FetchFailed(now, a.Execution, proto.ClipDetail(malformed.Error()))
		case wanted && complete:
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
	if err := l.j.r.content().PutMany(l.ctx, list); err != nil {
		l.j.r.net.Misbehaved(l.peer, "blocks that do not match their ids")
		return nil
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
	return true, r.checkOutput(l.ctx, a)
}

// dropLeases ends all leases and waits for them: the phase is over.
func (j *job) dropLeases() {
	for _, l := range j.leases {
		l.release()
	}
	for id, l := range j.leases {
		j.await(l.done)
		delete(j.leases, id)
	}
}

// await waits for done and goes on taking events, so that whoever waits to hand
// one in is not in the way.
func (j *job) await(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case event := <-j.events:
			event(j.core)
		}
	}
}
