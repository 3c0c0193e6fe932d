package requester

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mustermesh/muster/internal/livelog"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A scripted desk answers what the test says.
type scriptedDesk struct {
	*ear
	logs *livelog.Spool

	mu      sync.Mutex // guards all below
	views   map[int]scheduler.TaskView
	outputs map[proto.CID]string
	over    chan struct{}
}

func (d *scriptedDesk) look(_ context.Context, tasks []int) (map[int]scheduler.TaskView, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[int]scheduler.TaskView)
	for _, i := range tasks {
		if v, ok := d.views[i]; ok {
			out[i] = v
		}
	}
	return out, nil
}

func (d *scriptedDesk) live(ctx context.Context, k livelog.Key, offset uint64) (livelog.Chunk, error) {
	return jobDesk{j: &Job{r: &Requester{logs: d.logs}}}.live(ctx, k, offset)
}

func (d *scriptedDesk) output(_ context.Context, _ int, root proto.CID, _ bool) (*io.SectionReader, string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.outputs[root]
	return io.NewSectionReader(strings.NewReader(s), 0, int64(len(s))), "", nil
}

func execOf(n byte) proto.ExecutionID { return proto.ExecutionID{n} }

// state puts a task's executions into states, by their number; the first one's
// peer is 1 and so on.
func (d *scriptedDesk) state(task int, states ...scheduler.ExecState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.views[task]
	v.Index, v.Executions = task, nil
	for i, s := range states {
		e := scheduler.ExecView{ID: execOf(byte(10*task + i + 1)), Peer: proto.PeerID{byte(i + 1)}, State: s}
		d.logs.Begin(e.ID)
		if s != scheduler.ExecRunning && s != scheduler.ExecAssigned {
			d.logs.End(e.ID)
		}
		v.Executions = append(v.Executions, e)
	}
	d.views[task] = v
	d.change(d.phase, task)
}

func (d *scriptedDesk) prints(t *testing.T, e byte, offset int, text string) {
	t.Helper()
	if err := d.logs.Write(proto.Log{Execution: execOf(e), Offset: uint64(offset), Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	d.print(d.phase, int(e)/10)
}

// settles says that a task's output was verified.
func (d *scriptedDesk) settles(task int, output string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.views[task]
	root := proto.RawCID([]byte(output))
	v.Index, v.Settlement, d.outputs[root] = task, &scheduler.Settlement{Output: root, State: scheduler.TaskVerified}, output
	d.views[task] = v
	d.change(d.phase, task)
}

// fails says that a task has no result.
func (d *scriptedDesk) fails(task int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.views[task]
	v.Index, v.Settlement, v.State = task, &scheduler.Settlement{}, scheduler.TaskFailed
	d.views[task] = v
	d.change(d.phase, task)
}

// A heard reader writes what it gets as one text: [live] and =verified= pieces,
// with a new line where something begins again.
type heardText struct {
	mu    sync.Mutex // guards all below
	b     bytes.Buffer
	notes []string
}

func (h *heardText) send(c *api.LogChunk) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.Note != "" {
		h.notes = append(h.notes, c.Note)
		return nil
	}
	kind := "="
	if c.Live {
		kind = "~"
	}
	fmt.Fprintf(&h.b, "%d%s%d", c.Task, kind, c.Offset)
	if c.Cut > 0 {
		fmt.Fprintf(&h.b, "(%d cut)", c.Cut)
	}
	fmt.Fprintf(&h.b, ":%s ", c.Data)
	return nil
}

func (h *heardText) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.TrimSpace(h.b.String())
}

func newDesk(t *testing.T) *scriptedDesk {
	t.Helper()
	logs, err := livelog.Open(livelog.Config{Dir: t.TempDir(), PerStream: 128 << 10, Total: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logs.Close() })
	return &scriptedDesk{
		ear: newEar(phaseTasks), logs: logs, views: make(map[int]scheduler.TaskView), outputs: make(map[proto.CID]string), over: make(chan struct{}),
	}
}

// followed plays a script to a reader that follows two tasks; step waits until
// the reader has nothing to do.
func followed(t *testing.T, req *api.JobLogsRequest, script func(d *scriptedDesk, step func())) (text string, notes []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		d, h := newDesk(t), &heardText{}
		r := newLogReader(d, proto.PeerID{9}, req, h.send)
		result := make(chan error, 1)
		tasks := []int{0, 1}
		if req.Task >= 0 {
			tasks = []int{int(req.Task)}
		}
		go func() {
			result <- r.follow(t.Context(), tasks, d.ear, d.over, nil, func() bool {
				select {
				case <-d.over:
					return true
				default:
					return false
				}
			})
		}()
		script(d, synctest.Wait)
		close(d.over)
		if err := <-result; err != nil {
			t.Error(err)
		}
		text, notes = h.text(), h.notes
	})
	return text, notes
}

const (
	running  = scheduler.ExecRunning
	lost     = scheduler.ExecLost
	answered = scheduler.ExecAnswered
)

func TestFollowing(t *testing.T) {
	for _, c := range []struct {
		name   string
		script func(t *testing.T, d *scriptedDesk, step func())
		want   string
		notes  []string // how each begins
	}{
		{"what was shown goes on in the verified output", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "ab")
			step()
			d.prints(t, 1, 2, "cd")
			step()
			d.state(0, answered)
			d.settles(0, "abcdef")
		}, "0~0:ab 0~2:cd 0=4:ef", []string{"task 0: what it prints while it runs is the word of one provider"}},
		{"a liar's log is followed by the whole verified output", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "lies")
			step()
			d.settles(0, "truth")
		}, "0~0:lies 0=0:truth", []string{"task 0: what it prints", "task 0: what was shown differs"}},
		{"a log that went on too long", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "truth and more")
			step()
			d.settles(0, "truth")
		}, "0~0:truth and more 0=0:truth", []string{"task 0: what it prints", "task 0: what was shown differs"}},
		{"a gap is said, and compared around", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "ab")
			step()
			d.prints(t, 1, 5, "fg")
			step()
			d.settles(0, "abcdefgh")
		}, "0~0:ab 0~5(3 cut):fg 0=7:h", []string{"task 0: what it prints", "task 0: what was left out"}},
		{"another provider prints the same, and nothing is repeated", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "abc")
			step()
			d.state(0, lost, running)
			d.prints(t, 2, 0, "ab")
			step()
			d.prints(t, 2, 2, "cde")
			step()
			d.settles(0, "abcdef")
		}, "0~0:abc 0~3:de 0=5:f", []string{"task 0: what it prints", "task 0: execution 01000000 is over", "task 0: what it prints"}},
		{"another provider prints something else", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "abc")
			step()
			d.state(0, lost, running)
			d.prints(t, 2, 0, "xyz1")
			step()
			d.settles(0, "xyz12")
		}, "0~0:abc 0~0:xyz1 0=4:2", []string{"task 0: what it prints", "task 0: execution 01000000 is over", "task 0: execution 02000000 prints something else", "task 0: what it prints"}},
		{"another provider's beginning is not kept", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "abc")
			step()
			d.state(0, lost, running)
			d.prints(t, 2, 2, "cde")
			step()
			d.settles(0, "abcde")
		}, "0~0:abc 0~3:de", []string{"task 0: what it prints", "task 0: execution 01000000 is over", "task 0: whether execution 02000000", "task 0: what it prints"}},
		{"of an execution that was lost before it was read nothing is shown", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "abc")
			d.state(0, lost, running)
			step()
			d.settles(0, "abcd")
		}, "0=0:abcd", nil},
		{"running tasks interleave, settled ones come in order", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.state(1, running)
			d.prints(t, 1, 0, "a")
			step()
			d.prints(t, 11, 0, "b")
			step()
			d.prints(t, 1, 1, "c")
			step()
			d.settles(1, "bB")
			d.settles(0, "acA")
		}, "0~0:a 1~0:b 0~1:c 0=2:A 1=1:B", []string{"task 0: what it prints", "task 1: what it prints"}},
		{"of a task without a result what is there is shown", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "abc")
			d.state(0, scheduler.ExecFailed)
			d.fails(0)
		}, "0~0:abc", []string{"task 0: what it prints", "task 0 is failed: it has no verified output"}},
		{"silence of days is nothing", func(t *testing.T, d *scriptedDesk, step func()) {
			d.state(0, running)
			d.prints(t, 1, 0, "a")
			step()
			<-time.After(10 * time.Minute)
			d.prints(t, 1, 1, "b")
			step()
			<-time.After(72 * time.Hour)
			d.prints(t, 1, 2, "c")
			step()
			d.settles(0, "abc")
		}, "0~0:a 0~1:b 0~2:c", []string{"task 0: what it prints"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, notes := followed(t, &api.JobLogsRequest{Follow: true, Task: logsAll}, func(d *scriptedDesk, step func()) { c.script(t, d, step) })
			if text != c.want {
				t.Errorf("got  %s\nwant %s", text, c.want)
			}
			if len(notes) != len(c.notes) {
				t.Fatalf("notes %q, want %q", notes, c.notes)
			}
			for i, n := range notes {
				if !strings.HasPrefix(n, c.notes[i]) {
					t.Errorf("note %q, want %q", n, c.notes[i])
				}
			}
		})
	}
}

func TestAReaderGoesOnWhereItWas(t *testing.T) {
	text, _ := followed(t, &api.JobLogsRequest{Follow: true, Task: 1, Offset: 2}, func(d *scriptedDesk, step func()) {
		d.state(1, running)
		d.prints(t, 11, 0, "abcd")
		step()
		d.settles(1, "abcdef")
	})
	if want := "1~2:cd 1=4:ef"; text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestAReaderOfWhatThereIsDoesNotWait(t *testing.T) {
	d, h := newDesk(t), &heardText{}
	d.state(0, running)
	d.prints(t, 1, 0, "so far")
	d.settles(1, "done")
	if err := newLogReader(d, proto.PeerID{9}, &api.JobLogsRequest{Task: logsAll}, h.send).all(t.Context(), []int{0, 1, 2}); err != nil {
		t.Fatal(err)
	}
	if got, want := h.text(), "0~0:so far 1=0:done"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	h = &heardText{}
	if err := newLogReader(d, proto.PeerID{9}, &api.JobLogsRequest{Task: logsResult}, h.send).all(t.Context(), []int{0, 1}); err != nil {
		t.Fatal(err)
	}
	if got, want := h.text(), "1=0:done"; got != want {
		t.Errorf("the result is %s, want %s", got, want)
	}
}

func TestANodeThatLeavesEndsItsReaders(t *testing.T) {
	d := newDesk(t)
	r := newLogReader(d, proto.PeerID{}, &api.JobLogsRequest{Follow: true, Task: logsAll}, func(*api.LogChunk) error { return nil })
	close(d.over)
	if err := r.follow(t.Context(), []int{0}, d.ear, d.over, nil, func() bool { return false }); !errors.Is(err, ErrLeaving) {
		t.Errorf("got %v, want %v", err, ErrLeaving)
	}
}

func TestWhatWasShownIsBounded(t *testing.T) {
	s := newShown(0)
	for i := range 3 * maxSpans {
		s.add(uint64(3*i), []byte("x"))
	}
	if len(s.spans) > maxSpans || !s.vague || s.whole() || !s.any() {
		t.Errorf("%d spans, vague %v", len(s.spans), s.vague)
	}
	if same, err := s.in(bytes.NewReader(make([]byte, 9*maxSpans)), int64(9*maxSpans)); same || err != nil {
		t.Errorf("it is the same as zeros: %v, %v", same, err)
	}
}

func TestWordsAreToldTwiceASecond(t *testing.T) {
	var w words
	now := time.Unix(1000, 0)
	if !w.hear(phaseTasks, 3, proto.Progress{Execution: execOf(1), Fraction: proto.ProgressUnit / 4}) {
		t.Error("the first word wakes nobody")
	}
	if w.hear(phaseTasks, 5, proto.Progress{Execution: execOf(2), Fraction: proto.ProgressUnit / 2}) {
		t.Error("the second word wakes somebody again")
	}
	w.hear(phaseTasks, 5, proto.Progress{Execution: execOf(3), Fraction: proto.ProgressUnit + 1})
	if tasks, _ := w.due(now); len(tasks) != 2 {
		t.Errorf("tasks %v, want two", tasks)
	}
	w.hear(phaseTasks, 3, proto.Progress{Execution: execOf(1), Fraction: proto.ProgressUnit})
	if tasks, next := w.due(now.Add(toldEvery / 2)); tasks != nil || next != now.Add(toldEvery) {
		t.Errorf("after a moment %v, next at %v", tasks, next)
	}
	if tasks, next := w.due(now.Add(toldEvery)); len(tasks) != 1 || !next.IsZero() {
		t.Errorf("then %v, next at %v", tasks, next)
	}
	if got := w.sum(phaseTasks); got != 1.5 {
		t.Errorf("together %v, want 1.5", got)
	}
	w.forget(execOf(1))
	if got := w.sum(phaseTasks); got != 0.5 || w.of(execOf(1)) != nil {
		t.Errorf("without one that is over %v, want 0.5", got)
	}
}
