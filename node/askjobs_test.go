package node

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/content"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/node/sandbox"
	"github.com/mustermesh/muster/proto"
)

// asks gives the control API of a node that serves.
func (r *running) asks(t testing.TB) *Client {
	t.Helper()
	c, err := Dial(testContext(t), r.cfg, ReadOnly, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func explained(t testing.TB, c *Client, j *requester.Job) *api.ExplainJobResponse {
	t.Helper()
	r, err := c.API.ExplainJob(testContext(t), connect.NewRequest(&api.ExplainJobRequest{Job: j.ID().String()}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg
}

func receiptsOf(t testing.TB, c *Client, j *requester.Job) []*api.Receipt {
	t.Helper()
	r, err := c.API.JobReceipts(testContext(t), connect.NewRequest(&api.JobReceiptsRequest{Job: j.ID().String()}))
	if err != nil {
		t.Fatal(err)
	}
	return r.Msg.Receipts
}

// answers lets a lender answer every task of a lease.
func (l *lender) answers(t testing.TB, n *running, o *offer) {
	t.Helper()
	all := o.tasks
	for i := range all {
		o.tasks = all[i:]
		a, blocks := l.answer(t, n, o)
		o.says(t, l.sealed(n, a, blocks...))
	}
	o.tasks = all
}

func TestAJobThatWaitsSaysWhatIsMissing(t *testing.T) {
	n := newRequesterNode(t)
	c := n.asks(t)
	req := unchecked(t)
	req.Job.Resources.Memory = 64 << 30
	j := submit(t, n.node, req)
	x := explained(t, c, j)
	if x.Why != "It waits, with 0 of 1 task settled: no provider is known." || len(x.Change) == 0 || !strings.HasPrefix(x.Change[0], "start a provider") || x.ExpiresMs == 0 {
		t.Errorf("alone: %q, change %q, expires %d", x.Why, x.Change, x.ExpiresMs)
	}
	l := newLender(t, n)
	eventually(t, "the lender's memory is in the explanation", func() bool {
		x = explained(t, c, j)
		return strings.Contains(x.Why, "a task needs 64 GiB of memory; the only provider that is known, "+l.ID().Short()+", lends ")
	})
	if len(x.Peers) != 1 || x.Peers[0].Verdict != "unfit" || x.Peers[0].Class != "requirement" || x.Peers[0].Signed || !strings.HasPrefix(x.Change[0], "ask for at most ") {
		t.Errorf("peers %v, change %q", x.Peers, x.Change)
	}
	no := proto.Refusal{Job: j.ID(), Reason: proto.ReasonMemory, Detail: "not so much"}
	if _, err := l.Call(testContext(t), n.Self, overlay.ProtoBid, proto.BidFrame{Refusal: l.seal(proto.PurposeRefusal, n.Self, no.Marshal())}.Marshal(), 64); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its signed word is in the explanation", func() bool {
		p := explained(t, c, j).Peers[0]
		return p.Verdict == "refused" && p.Signed && p.Detail == "memory: not so much" && p.TimeMs > 0
	})
}

func TestWhyAJobEndedIsKnownAfterARestart(t *testing.T) {
	n := newRequesterNode(t)
	newLender(t, n)
	req := unchecked(t)
	req.Job.Resources.Memory, req.Job.QueueTimeoutMs = 64<<30, 1
	j := submit(t, n.node, req)
	if s := ends(t, j); s.State != "expired" {
		t.Fatalf("the job is %s", s.State)
	}
	before := explained(t, n.asks(t), j)
	n.stop()
	c, err := Dial(testContext(t), n.cfg, ReadOnly, testLog(t)) // the home alone
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	after := explained(t, c, j)
	if !strings.HasPrefix(after.Why, "It expired, with 0 of 1 task settled: ") || after.Why != before.Why || len(after.Peers) != len(before.Peers) || len(after.History) < 2 || after.Needs != before.Needs {
		t.Errorf("after the restart %q, %d peers, %d states; before %q, %d", after.Why, len(after.Peers), len(after.History), before.Why, len(before.Peers))
	}
}

func failed(e proto.ExecutionID) proto.Frame {
	return proto.Frame{Failure: &proto.Failure{Execution: e, Reason: proto.ReasonKilled, Detail: "as told"}}
}

// fails lets a lender fail whatever it is given of a job, on the lease o or
// another, until stop is called.
func (l *lender) fails(t testing.TB, n *running, j *requester.Job, o *offer) (stop func()) {
	over := make(chan struct{})
	var g sync.WaitGroup
	serve := func(o *offer) {
		for _, a := range o.tasks {
			_ = o.Send(failed(a.Execution).Marshal())
		}
		for {
			b, err := o.Recv()
			if err != nil {
				return
			}
			if f, err := proto.ParseFrame(b); err == nil && f.Task != nil {
				_ = o.Send(failed(f.Task.Execution).Marshal())
			}
		}
	}
	o.tasks = nil
	g.Go(func() { serve(o) })
	g.Go(func() {
		for {
			select {
			case o := <-l.offers:
				_ = o.Send(proto.Frame{Reply: &proto.AwardReply{Accepted: true}}.Marshal())
				g.Go(func() { serve(o); close(o.done) })
			case <-over:
				return
			}
		}
	})
	tick := time.NewTicker(50 * time.Millisecond)
	g.Go(func() { // its bid is void once it failed
		for {
			select {
			case <-tick.C:
				b := proto.Bid{Job: j.ID(), Slots: 2, Engine: l.engine}
				_, _ = l.Call(t.Context(), n.Self, overlay.ProtoBid, proto.BidFrame{Bid: l.seal(proto.PurposeBid, n.Self, b.Marshal())}.Marshal(), 64)
			case <-over:
				return
			}
		}
	})
	return func() { close(over); g.Wait(); tick.Stop() }
}

// TestATaskThatIsGivenUpIsExplainedAndRetried: dead, with the reasons; and a
// retry runs it, and it alone.
func TestATaskThatIsGivenUpIsExplainedAndRetried(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	c := n.asks(t)
	req := unchecked(t)
	req.Job.Count, req.Job.Retries, req.Job.RefereeBudgetMs = 2, 1, 1
	j := submit(t, n.node, req)
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	if len(o.tasks) != 2 {
		t.Fatalf("%d tasks, want 2", len(o.tasks))
	}
	bad := o.tasks[1].Task.Index
	all := o.tasks
	o.tasks = all[:1]
	l.answers(t, n, o)
	eventually(t, "the other task is settled", func() bool { return j.Summary().Accepted == 1 })
	o.says(t, failed(all[1].Execution))
	stop := l.fails(t, n, j, o)
	s := ends(t, j)
	if s.State != "failed" || s.Dead != 1 || s.Accepted != 1 || s.Executions < 3 {
		t.Fatalf("the job is %s (%s): %d dead, %d accepted, %d executions", s.State, s.Reason, s.Dead, s.Accepted, s.Executions)
	}
	stop()
	x := explained(t, c, j)
	if len(x.Tasks) != 1 || x.Tasks[0].State != "dead" || int(x.Tasks[0].Task) != bad || len(x.Tasks[0].Executions) != 2 || !strings.Contains(x.Tasks[0].Why, "given up after 2 failed executions") {
		t.Errorf("in trouble: %v", x.Tasks)
	}
	for _, e := range x.Tasks[0].Executions {
		if e.Reason != "as told" || e.CreatedMs == 0 || e.EndedMs == 0 {
			t.Errorf("an execution is told as %v", e)
		}
	}
	r, err := c.API.RetryJob(testContext(t), connect.NewRequest(&api.RetryJobRequest{Job: j.ID().String()}))
	if err != nil || r.Msg.Tasks != 1 || r.Msg.State != "pending" || r.Msg.Job != j.ID().String() {
		t.Fatalf("retry: %v, %v", r, err)
	}
	again, err := n.requester.Find(j.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	if s := again.Summary(); s.Dead != 0 || s.Failed != 0 || s.Accepted != 1 {
		t.Errorf("once it is retried: %d dead, %d failed, %d accepted; want 0, 0, 1", s.Dead, s.Failed, s.Accepted)
	}
	epoch := o.award.Epoch
	l = newLender(t, n) // of which nothing bad is known
	l.bids(t, n, again)
	o = l.next(t).accepts(t)
	if len(o.tasks) != 1 || o.tasks[0].Task.Index != bad || o.award.Epoch <= epoch {
		t.Fatalf("given out again: %v under epoch %d after %d; want task %d alone, and a later one", o.tasks, o.award.Epoch, epoch, bad)
	}
	l.answers(t, n, o)
	if s := ends(t, again); s.State != "completed" || s.Accepted != 2 || s.OutputRoot == "" || s.ExitCode != 0 {
		t.Errorf("at last %s (%s), %d accepted, outputs %q", s.State, s.Reason, s.Accepted, s.OutputRoot)
	}
	d := described(t, again)
	var states []string
	for _, h := range d.History {
		states = append(states, h.State+" "+h.Reason)
	}
	if !slices.Contains(states, "pending retried by its requester") {
		t.Errorf("its history is %q", states)
	}
	if got := receiptsOf(t, c, again); len(got) != 2 {
		t.Errorf("%d receipts, want 2", len(got))
	}
	if _, err := c.API.RetryJob(testContext(t), connect.NewRequest(&api.RetryJobRequest{Job: j.ID().String()})); connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "nothing to retry") {
		t.Errorf("a completed job is retried: %v", err)
	}
}

func TestACancelledJobWithAReductionIsRetried(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	req := unchecked(t)
	req.Job.Count, req.Job.Reduce = 2, &api.Program{Wasm: guest(t, "noop")}
	j := submit(t, n.node, req)
	if _, _, err := n.requester.Retry(t.Context(), j.ID()); err == nil || !strings.Contains(err.Error(), "still goes on") {
		t.Errorf("a job that goes on is retried: %v", err)
	}
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...))
	eventually(t, "one task is settled", func() bool { return j.Summary().Accepted == 1 })
	j.Cancel("to see")
	ends(t, j)
	again, tasks, err := n.requester.Retry(t.Context(), j.ID())
	if err != nil || tasks != 1 {
		t.Fatalf("retry: %d tasks, %v; want 1", tasks, err)
	}
	l.bids(t, n, again)
	o = l.next(t).accepts(t)
	l.answers(t, n, o)
	eventually(t, "the reduction begins", func() bool { return again.Summary().ReduceState == "running" })
	l.bids(t, n, again)
	o = l.next(t).accepts(t)
	l.answers(t, n, o)
	if s := ends(t, again); s.State != "completed" || s.Accepted != 2 || s.ReduceState != "completed" || s.OutputRoot == "" || s.Fuel != 3000 {
		t.Errorf("%s (%s), %d accepted, reduction %s, fuel %d; want all of it, and 3000 of fuel", s.State, s.Reason, s.Accepted, s.ReduceState, s.Fuel)
	}
}

func TestReceiptsAreKeptAsTheyWereSigned(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	req := unchecked(t)
	req.Job.Count = 3
	j := submit(t, n.node, req)
	l.bids(t, n, j)
	for answered := 0; answered < 3; {
		o := l.next(t).accepts(t)
		l.answers(t, n, o)
		for answered += len(o.tasks); answered < 3; answered++ {
			f := frameOf(t, o.Stream, func(f proto.Frame) bool { return f.Task != nil })
			o.tasks = []proto.Assignment{*f.Task}
			l.answers(t, n, o)
		}
	}
	if s := ends(t, j); s.Fuel != 3000 {
		t.Errorf("the job used %d units of fuel, want those of its 3 results, 3000", s.Fuel)
	}
	check := func(n *running) {
		t.Helper()
		got := receiptsOf(t, n.asks(t), j)
		if len(got) != 3 {
			t.Fatalf("%d receipts, want 3", len(got))
		}
		for i, r := range got {
			env, err := proto.OpenEnvelope(r.Envelope, proto.Expect{Network: n.Network, Purpose: proto.PurposeReceipt, Addressee: l.ID(), Now: time.Now()})
			if err != nil || env.Signer != n.Self || int(r.Task) != i || r.Peer != l.ID().String() || r.TimeMs == 0 || r.Reduce || r.Output == "" {
				t.Errorf("receipt %d: %v, %v", i, r, err)
			}
			signed, err := proto.ParseReceipt(env.Body)
			if err != nil || signed.Fuel != 1000 || signed.Engine != l.engine || r.Fuel != 1000 || r.Engine != l.engine.String() {
				t.Errorf("receipt %d: signed %+v, shown %v, %v; want 1000 units of fuel on %s", i, signed, r, err, l.engine)
			}
		}
	}
	check(n)
	n.stop()
	check(startNode(t, n.cfg))
}

// eventsOf reads a node's events up to one that is wanted.
func eventsOf(t testing.TB, c *Client, req *api.EventsRequest, last func(*api.Event) bool) (got []*api.Event) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	stream, err := c.API.Events(ctx, connect.NewRequest(req))
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for stream.Receive() {
		if got = append(got, stream.Msg()); last != nil && last(stream.Msg()) {
			return got
		}
	}
	if err := stream.Err(); err != nil || last != nil {
		t.Fatalf("the events end: %v, after %v", err, got)
	}
	return got
}

func stateIs(state string) func(*api.Event) bool {
	return func(e *api.Event) bool { return e.State == state }
}

func TestEventsAreFollowedAndGoneOnWith(t *testing.T) {
	n := newRequesterNode(t)
	c := n.asks(t)
	l := newLender(t, n)
	j := submit(t, n.node, unchecked(t))
	seen := make(chan []*api.Event, 1)
	go func() {
		seen <- eventsOf(t, c, &api.EventsRequest{Follow: true}, stateIs("completed"))
	}()
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	l.answers(t, n, o)
	s := ends(t, j)
	all := <-seen
	var states []string
	for i, e := range all {
		states = append(states, e.Kind+" "+e.State)
		if e.TimeMs == 0 || i > 0 && e.Sequence != all[i-1].Sequence+1 || e.Gap {
			t.Errorf("event %d: %v", i, e)
		}
	}
	for _, want := range []string{"node started", "job bidding", "lease opened", "lease accepted", "job running", "task accepted", "job completed"} {
		if !slices.Contains(states, want) {
			t.Errorf("no event %q in %q", want, states)
		}
	}
	if last := all[len(all)-1]; s.Sequence < last.Sequence || last.Job != j.ID().String() {
		t.Errorf("the summary names event %d, the last is %v", s.Sequence, last)
	}
	middle := all[len(all)/2]
	if rest := eventsOf(t, c, &api.EventsRequest{After: middle.Sequence}, nil); len(rest) == 0 || rest[0].Sequence != middle.Sequence+1 || rest[0].Gap {
		t.Errorf("after %d: %v", middle.Sequence, rest)
	}
	for _, e := range eventsOf(t, c, &api.EventsRequest{Job: j.ID().String()}, nil) {
		if e.Job != j.ID().String() {
			t.Errorf("an event of something else: %v", e)
		}
	}
	n.stop()
	again := startNode(t, n.cfg)
	rest := eventsOf(t, again.asks(t), &api.EventsRequest{After: middle.Sequence, Follow: true}, func(*api.Event) bool { return true })
	if rest[0].Sequence <= all[len(all)-1].Sequence || !rest[0].Gap {
		t.Errorf("after a restart: %v, want a later number, and a gap", rest[0])
	}
}

func TestFailuresOfExecutionsAreEvents(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	j := submit(t, n.node, unchecked(t))
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	o.says(t, proto.Frame{Failure: &proto.Failure{Execution: o.tasks[0].Execution, Reason: proto.ReasonKilled, Detail: "as told"}})
	got := eventsOf(t, n.asks(t), &api.EventsRequest{Follow: true, Job: j.ID().String()}, func(e *api.Event) bool { return e.Kind == "execution" })
	if e := got[len(got)-1]; e.State != "failed" || e.Text != "as told" || e.Peer != l.ID().String() || e.Execution != o.tasks[0].Execution.String() {
		t.Errorf("the event is %v", e)
	}
}

func filesOf(t testing.TB, c *Client, req *api.JobFilesRequest) (paths []string, err error) {
	t.Helper()
	stream, err := c.API.JobFiles(testContext(t), connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		paths = append(paths, stream.Msg().Path)
	}
	return paths, stream.Err()
}

func TestWhatThereIsSoFarOfAJobCanBeHad(t *testing.T) {
	n := newRequesterNode(t)
	l := newLender(t, n)
	c := n.asks(t)
	req := unchecked(t)
	req.Job.Count = 2
	j := submit(t, n.node, req)
	partial := &api.JobFilesRequest{Job: j.ID().String(), Partial: true}
	if _, err := filesOf(t, c, partial); connect.CodeOf(err) != connect.CodeFailedPrecondition || !strings.Contains(err.Error(), "no task is settled") {
		t.Errorf("before anything is settled: %v", err)
	}
	l.bids(t, n, j)
	o := l.next(t).accepts(t)
	a, blocks := l.answer(t, n, o)
	o.says(t, l.sealed(n, a, blocks...))
	eventually(t, "one task is settled and written", func() bool {
		got, err := filesOf(t, c, partial)
		return err == nil && slices.Equal(got, []string{fmt.Sprint(o.tasks[0].Task.Index)})
	})
	if _, err := filesOf(t, c, &api.JobFilesRequest{Job: j.ID().String()}); connect.CodeOf(err) != connect.CodeFailedPrecondition {
		t.Errorf("all of a job that runs: %v", err)
	}
}

func TestJobsThatEndedLongAgoAreRemoved(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	n := startNode(t, cfg)
	var jobs []*requester.Job
	for range 2 {
		j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true})
		if s := ends(t, j); s.State != "completed" {
			t.Fatalf("the job is %s", s.State)
		}
		jobs = append(jobs, j)
	}
	open := submit(t, n.node, unchecked(t))
	records := func(id proto.JobID) (n2 int) {
		err := n.db.Scan(keyOfJob(id, "/"), func(_, _ []byte) error { n2++; return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n2
	}
	if err := n.requester.Sweep(t.Context()); err != nil || records(jobs[0].ID()) == 0 {
		t.Fatalf("a job that ended just now is gone, err %v", err)
	}
	n.skew.Store(int64(n.cfg.KeepJobs + time.Hour))
	if err := n.requester.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if _, err := n.requester.Find(j.ID().String()); err == nil || records(j.ID()) > 0 {
			t.Errorf("a job that ended long ago is there: found %v, %d records", err == nil, records(j.ID()))
		}
		tag := sandbox.JobTag(n.Self, j.ID())
		if got := slices.Concat(n.pins(t, tag)); len(got) != 0 {
			t.Errorf("its content is pinned: %v", got)
		}
	}
	if _, err := n.requester.Find(open.ID().String()); err != nil || records(open.ID()) == 0 {
		t.Errorf("a job that is open was removed: %v", err)
	}
}

// TestAStoredJobHasItsWholeQueueTimeout: it does not run out while no node of the
// home runs.
func TestAStoredJobHasItsWholeQueueTimeout(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n, closeNode, err := open(t.Context(), cfg, testLog(t), Parts{}, true) // never served
	if err != nil {
		t.Fatal(err)
	}
	req := unchecked(t)
	req.Job.QueueTimeoutMs = time.Minute.Milliseconds()
	j := submit(t, n, req)
	long := time.Now().Add(-time.Hour).UnixMilli()
	put(t, n.db, keyOfJob(j.ID(), "/progress"), map[string]any{"version": 1, "history": []map[string]any{{"state": "pending", "time_ms": long}, {"state": "bidding", "time_ms": long}}})
	closeNode()
	again := startNode(t, cfg)
	stored, err := again.requester.Find(j.ID().String())
	if err != nil {
		t.Fatal(err)
	}
	var x *api.ExplainJobResponse
	c := again.asks(t)
	eventually(t, "the job was looked at", func() bool {
		x = explained(t, c, stored)
		return stored.Ended() || x.ExpiresMs > 0
	})
	if left := time.Until(time.UnixMilli(x.ExpiresMs)); stored.Ended() || left < 25*time.Second {
		t.Errorf("it is %s, and is given up in %s; want almost a minute", stored.Summary().State, left)
	}
}

func TestASplitIntoPiecesOfBytes(t *testing.T) {
	n := newRequesterNode(t)
	file := write(t, filepath.Join(t.TempDir(), "data"), strings.Repeat("0123456789", 10))
	job := small(t, "noop")
	job.Inputs = []*api.Input{{Source: file, Target: "/in/data", Split: "bytes:30"}}
	j, err := n.requester.Submit(t.Context(), &api.SubmitJobRequest{Job: job, ValidateOnly: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, task := range j.Specification().Tasks {
		f, err := n.content.Sub(t.Context(), task.Input, "in/data")
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(readFile(t, n, f)))
	}
	if want := []string{strings.Repeat("0123456789", 3), strings.Repeat("0123456789", 3), strings.Repeat("0123456789", 3), "0123456789"}; !slices.Equal(got, want) {
		t.Errorf("the pieces are %q, want %q", got, want)
	}
	for split, want := range map[string]string{"bytes:1MiB": "in digits alone", "bytes:0": "in digits alone", "bytes": "known: files", "bytes:-1": "in digits alone"} {
		job.Inputs[0].Split = split
		if _, err := n.requester.Submit(t.Context(), &api.SubmitJobRequest{Job: job, ValidateOnly: true}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("split %s: %v, want %q", split, err, want)
		}
	}
}

func readFile(t testing.TB, n *running, f content.Node) []byte {
	t.Helper()
	r, err := n.content.OpenFile(t.Context(), f.CID)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
