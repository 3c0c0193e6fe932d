package requester

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
	"github.com/mustermesh/muster/trust"
)

// run is the loop of a job: its tasks, then its reduction.
func (j *Job) run(ctx context.Context) error {
	defer close(j.over)
	defer j.shed()
	j.ctx = ctx
	j.trail.run(j.id, len(j.spec.Tasks))
	defer j.observedEnd()
	if err := j.countRun(); err != nil {
		return err
	}
	for {
		if err := j.setPhase(); err != nil {
			return j.giveUp(err, nil)
		}
		if err := j.loop(ctx); err != nil || ctx.Err() != nil {
			return err
		}
		again, err := j.advance()
		if err != nil || !again {
			return err
		}
	}
}

// setPhase makes the state machine of the current phase, as far as it came in
// an earlier run.
func (j *Job) setPhase() error {
	j.mu.Lock()
	j.phase = j.progress.Phase
	j.mu.Unlock()
	j.prog, j.inputBytes = j.spec.Program, j.record.InputBytes
	if j.phase == phaseTasks {
		j.tasks = make([]proto.Task, len(j.spec.Tasks))
		for i := range j.tasks {
			j.tasks[i] = j.spec.Task(i)
		}
	} else if err := j.prepareReduce(); err != nil {
		return err
	}
	now := j.r.Now()
	conflicts, odd := j.r.conflicts.of(j.prog.Code, now)
	j.core = scheduler.NewJob(now, scheduler.JobConfig{
		Self: j.r.Self, Announcement: j.r.announcement(j, j.prog, len(j.tasks), 1), Tasks: len(j.tasks),
		Checkers: trust.Checkers(j.spec.Confidence), OwnRun: j.spec.Confidence > trust.Reached(trust.MaxCheckers), LocalSlots: j.localSlots(), LocalOnly: j.record.Local,
		Conflicts: conflicts, Odd: odd, Timeout: j.prog.Timeout, Startup: j.startup(), QueueTimeout: j.spec.QueueTimeout, StandIn: j.r.standIn,
		Epoch: epochOf(j.progress.Run, j.phase), Rand: newRand(), Grace: j.r.grace,
		Hedge: j.r.hedge, Speeds: j.r.speeds, Budget: j.r.budget, Kind: j.kind(),
		Deadline: j.deadline(), Retries: tries(j.spec.Retries),
	})
	j.taken, j.earlier = now, j.progress.Counts
	if err := j.resume(now); err != nil {
		return err
	}
	known := j.core.Count()
	j.earlier.Executions -= min(known.Executions, j.earlier.Executions)
	j.earlier.Hedges -= min(known.Hedges, j.earlier.Hedges)
	return nil
}

// shed lets go of what only the loop needs: jobs that ended are kept by the
// thousand.
func (j *Job) shed() {
	j.core, j.tasks, j.leases, j.local, j.later, j.puts, j.trash, j.told = nil, nil, nil, nil, nil, nil, nil, told{}
}

// tries is how many failures of a task give it up; 0: the default of package scheduler.
func tries(retries int) int {
	if retries == 0 {
		return 0
	}
	return retries + 1
}

// deadline is when the whole job must be over; zero: at no time.
func (j *Job) deadline() time.Time {
	if j.spec.TotalTimeout <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(j.since()).Add(j.spec.TotalTimeout)
}

// since is when the job began: when it was submitted, or last told to try again.
func (j *Job) since() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, h := range slices.Backward(j.progress.History) {
		if h.State == scheduler.Pending {
			return h.TimeMS
		}
	}
	return j.spec.Submitted.UnixMilli()
}

// A provider must fetch a task's program and input at this pace at least before
// it counts as stuck, after a time to begin with.
const (
	startupBase = 2 * time.Minute
	startupPace = 1 << 20 // bytes a second
)

func (j *Job) startup() time.Duration {
	return startupBase + time.Duration(j.inputBytes+int64(j.prog.CodeSize))*time.Second/startupPace
}

// localSlots is how many tasks this node can run itself; none where the sandbox
// cannot, or the referee's budget is less than one execution may take.
func (j *Job) localSlots() int {
	if err := j.r.box.Check(j.prog); err != nil {
		return 0
	}
	if !j.record.Local && j.spec.RefereeBudget < j.prog.Timeout {
		return 0
	}
	return j.r.localSlots
}

// giveUp ends a job whose outputs cannot be put together, on account of what they
// are; any other error is ours, and ends the node. What was settled is kept.
func (j *Job) giveUp(err error, settled []int) error {
	theirs := []error{content.ErrTooMany, content.ErrPath, content.ErrMalformed, content.ErrNotFound, content.ErrCorrupt}
	if !slices.ContainsFunc(theirs, func(e error) bool { return errors.Is(err, e) }) {
		return err
	}
	j.mu.Lock()
	j.progress.History = append(j.progress.History, transition{scheduler.Failed, "outputs: " + err.Error(), j.r.Now().UnixMilli()})
	j.mu.Unlock()
	due := j.receipts(settled)
	if err := j.write(context.WithoutCancel(j.ctx), settled, store.Durable); err != nil {
		return err
	}
	j.deliver(due)
	j.happened(eventlog.Event{Kind: eventlog.Job, State: string(scheduler.Failed), Text: "outputs: " + err.Error()})
	j.mu.Lock()
	j.finished, j.running = true, false
	j.mu.Unlock()
	return nil
}

// laterPause is how soon a job tries again what the node had no room for.
const laterPause = 5 * time.Millisecond

// loop runs one phase until the scheduler says that it ended.
func (j *Job) loop(ctx context.Context) error {
	wake := time.NewTimer(0)
	defer wake.Stop()
	defer j.dropLeases()
	j.core.Peers(j.r.Directory.Candidates(j.r.announcement(j, j.prog, len(j.tasks), 1), j.r.complete))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-wake.C:
		case event := <-j.events:
			event(j.core)
			j.drain()
		}
		later := j.later
		j.later = nil
		for _, event := range later {
			event(j.core)
		}
		if why := j.wantsCancel(); why != "" {
			j.core.Cancel(j.r.Now(), why)
		}
		actions := j.core.Step(j.r.Now())
		if err := j.recordAssigned(actions); err != nil {
			return fmt.Errorf("job %s: %w", j.id.Short(), err)
		}
		j.act(actions)
		if err := j.commit(actions); err != nil {
			return fmt.Errorf("job %s: %w", j.id.Short(), err)
		}
		if state, _ := j.core.State(); state.Ended() {
			return nil
		}
		actions.Wake = j.tellWords(actions.Wake)
		if len(j.later) > 0 {
			actions.Wake = j.r.Now().Add(laterPause)
		}
		if !actions.Wake.IsZero() {
			wake.Reset(max(actions.Wake.Sub(j.r.Now()), 0))
		}
	}
}

// drain takes the events that are waiting, so that one step and one write serve
// them all.
func (j *Job) drain() {
	for range cap(j.events) {
		select {
		case event := <-j.events:
			event(j.core)
		default:
			return
		}
	}
}

// act carries out what the scheduler decided. Nothing here waits for a peer or
// the disk.
func (j *Job) act(a scheduler.Actions) {
	if a.Announce > 0 {
		j.announce()
	}
	for _, o := range a.Open {
		j.openLease(o)
	}
	for _, at := range a.Attach {
		j.attach(at)
	}
	for _, as := range a.Assign {
		if l := j.leases[as.Lease]; l != nil {
			l.expect(as.Execution, as.Task) // before the answer can be here
			l.send(proto.Frame{Task: &proto.Assignment{Execution: as.Execution, Task: j.tasks[as.Task]}})
		}
	}
	for _, l := range a.Local {
		j.runLocal(l)
	}
	for _, f := range a.Fetch {
		j.fetch(f)
	}
	for _, c := range a.Cancel {
		if l := j.leases[c.Lease]; l != nil {
			l.send(proto.Frame{Cancel: &c.Execution})
			j.payFor(l, c)
		} else if c.Local {
			j.cancelLocal(c.Execution)
		}
	}
}

// commit writes what was settled and learnt, then closes leases and tells the
// watchers: nobody hears of a result that a crash could take back.
func (j *Job) commit(a scheduler.Actions) error {
	ctx := context.WithoutCancel(j.ctx) // a node that ends finishes what it writes
	if err := j.recordEvidence(a.Evidence); err != nil {
		return err
	}
	if len(a.Settled) > 0 {
		defer j.trail.begin("settle").End(nil)
	}
	state, _ := j.core.State()
	final := state.Ended()
	views := make([]scheduler.TaskView, 0, len(a.Changed))
	for _, i := range a.Changed {
		views = append(views, j.core.Task(i))
	}
	j.observed(a, views)
	if err := j.keepOutputs(ctx, a.Settled); err != nil {
		return err
	}
	if state == scheduler.Completed && !j.midway(state) {
		if err := j.buildOutput(ctx); err != nil {
			return j.giveUp(err, a.Settled)
		}
	}
	j.note(a)
	j.discard(a)
	if err := j.noteConflicts(a.Conflicts); err != nil {
		return err
	}
	due := j.receipts(a.Settled)
	if final && !j.midway(state) {
		if err := j.keepExplanation(); err != nil {
			return err
		}
	}
	if len(a.Settled) > 0 || len(a.States) > 0 || len(j.trash) > maxTrash || len(j.puts) > 0 {
		d := store.Lazy
		if len(a.Settled) > 0 || final {
			d = store.Durable
			if err := j.r.content().FlushFiles(ctx); err != nil {
				return err
			}
		}
		if err := j.write(ctx, a.Settled, d); err != nil {
			return err
		}
	}
	j.deliver(due)
	j.happenings(a, views)
	j.core.Settled(a.Settled)
	for _, id := range a.Gone {
		j.part(id)
	}
	for _, id := range a.Close {
		if l := j.leases[id]; l != nil {
			l.release()
		}
	}
	j.hush(views)
	j.tell(update{tasks: views, phase: j.phase})
	return nil
}

// noteConflicts has the next write take along who differed in the job's program.
func (j *Job) noteConflicts(peers []proto.PeerID) error {
	if len(peers) == 0 {
		return nil
	}
	v, err := j.r.conflicts.add(j.prog.Code, peers, j.r.Now())
	if err != nil {
		return err
	}
	j.puts = append(j.puts, record{[]byte(conflictsKey), v})
	return nil
}

func (j *Job) keepOutputs(ctx context.Context, settled []int) error {
	for _, i := range settled {
		v := j.core.Task(i)
		if v.Settlement.Output.IsZero() {
			continue
		}
		if err := j.retain(ctx, v.Settlement.Output, v.Executions); err != nil {
			return err
		}
	}
	return nil
}

// retain keeps the output of a settled task: pinned for the job, no longer for
// the execution that it came from.
func (j *Job) retain(ctx context.Context, output proto.CID, executions []scheduler.ExecView) error {
	store, tag := j.r.content(), sandbox.JobTag(j.r.Self, j.id)+outTag
	if err := store.Record(ctx, content.Node{CID: output}, content.Use{Class: content.Result, Tag: tag}); err != nil {
		return err
	}
	if err := store.Pin(ctx, output, tag); err != nil {
		return err
	}
	for _, e := range executions {
		_, h, answered := j.heldAnswer(e.ID)
		switch {
		case answered && len(h.blocks) > 0: // it was not pinned, so the store may have let it go
			if err := store.PutMany(ctx, h.blocks); err != nil {
				return err
			}
		case answered, e.Peer == j.r.Self:
			if err := store.Release(ctx, sandbox.ResultTag(j.r.Self, e.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// write puts on disk, in this order: settled tasks, the removal of what is of no
// use any more, what goes with the tasks, and the job's progress. It is one batch,
// or several where there is much of it.
func (j *Job) write(ctx context.Context, settled []int, d store.Durability) error {
	var b store.Batch
	for _, i := range settled {
		v, err := marshalTask(j.core.Task(i))
		if err != nil {
			return err
		}
		b.Put(taskKey(j.id, j.phase, i), v)
	}
	for _, key := range j.trash {
		b.Delete(key)
	}
	for _, r := range j.puts {
		b.Put(r.key, r.value)
	}
	p, err := json.Marshal(j.snapshot())
	if err != nil {
		return err
	}
	b.Put(jobKey(j.id, "/progress"), p)
	j.trash, j.puts = nil, nil
	return j.r.db.CommitAll(ctx, &b, d)
}

// note brings the visible progress up to date.
func (j *Job) note(a scheduler.Actions) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.r.Now()
	j.waiting = j.core.Why(now)
	if j.phase == phaseTasks {
		j.progress.Counts = j.core.Count()
		j.progress.Counts.Executions += j.earlier.Executions
		j.progress.Counts.Hedges += j.earlier.Hedges
	}
	j.progress.Reached, j.progress.How = j.reached()
	for _, s := range a.States {
		if j.midway(s.State) {
			continue // the reduction follows
		}
		if n := len(j.progress.History); n > 0 && j.progress.History[n-1].State == s.State {
			continue
		}
		j.progress.History = append(j.progress.History, transition{s.State, s.Reason, now.UnixMilli()})
	}
	for _, i := range a.Settled {
		s := j.core.Task(i).Settlement
		if s.Outcome.ExitCode != 0 && j.progress.Exit == 0 {
			j.progress.Exit = s.Outcome.ExitCode
		}
		j.progress.Late = j.progress.Late || s.TimedOut
		if j.phase == phaseReduce {
			j.progress.Reduced = s.Outcome.Fuel
		}
	}
}

// midway tells whether a state of this phase is not the job's end.
func (j *Job) midway(s scheduler.State) bool {
	return s == scheduler.Completed && j.phase == phaseTasks && j.spec.Reduce != nil
}

// advance follows a phase that ended: to the reduction, or to the end.
func (j *Job) advance() (again bool, err error) {
	state, _ := j.core.State()
	if j.midway(state) {
		j.mu.Lock()
		j.progress.Phase = phaseReduce
		j.mu.Unlock()
		return true, j.write(context.WithoutCancel(j.ctx), nil, store.Durable)
	}
	j.r.Directory.CloseJob(j.r.Self, j.id)
	j.mu.Lock()
	j.finished, j.running = true, false
	j.mu.Unlock()
	j.tell(update{phase: j.phase})
	return false, nil
}

// announce publishes the job, and keeps the announcement for those who connect
// later.
func (j *Job) announce() {
	r := j.r
	j.sequence = max(j.sequence+1, uint64(max(r.Now().UnixMilli(), 0))) // above those of earlier runs
	a := r.announcement(j, j.prog, len(j.tasks), j.sequence)
	env := r.Sign(proto.PurposeAnnouncement, proto.PeerID{}, overlay.AnnounceLifetime, a.Marshal())
	r.Directory.AddHeard(r.Self, a, env, r.Now().Add(overlay.AnnounceLifetime))
	if err := r.Net.Publish(j.ctx, overlay.TopicJobs, env); err != nil {
		r.Log.Warn("announcement not published", "job", j.id, "err", err)
	}
}

func (j *Job) recordEvidence(es []scheduler.Evidence) error {
	if len(es) == 0 {
		return nil
	}
	out := make([]trust.Evidence, 0, len(es))
	for _, e := range es {
		out = append(out, trust.Evidence{
			Peer: e.Peer, Kind: evidenceKinds[e.Kind], Time: j.r.Now(), Job: j.id, Task: e.Task,
			Digest: proto.TaskDigest(j.prog, j.tasks[e.Task]), Execution: e.Execution,
			Output: e.Output, Right: e.Right, Answer: j.proof(e), Detail: e.Detail,
		})
	}
	err := j.r.ledger.Record(context.WithoutCancel(j.ctx), j.r.Now(), out)
	for _, e := range es {
		if e.Kind == scheduler.EvidenceWrong {
			j.r.Log.Warn("peer proven wrong", "peer", e.Peer, "job", j.id, "task", e.Task)
			j.r.Workers.Try(func(context.Context) { j.r.peersChanged() })
		}
	}
	return err
}

var evidenceKinds = map[scheduler.EvidenceKind]trust.Kind{
	scheduler.EvidenceChecked:   trust.OKChecked,
	scheduler.EvidenceUnchecked: trust.OKUnchecked,
	scheduler.EvidenceWrong:     trust.WrongProven,
	scheduler.EvidenceFailed:    trust.Failed,
	scheduler.EvidenceLost:      trust.Lost,
}
