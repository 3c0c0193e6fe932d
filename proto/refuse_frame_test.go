package proto

import (
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto/wire"
)

type leaseFrame = wire.LeaseFrame

func refuseFrame(t *testing.T, kind int, ms mutations[leaseFrame]) {
	t.Helper()
	checkRefusals(t, newMaker(1).frame(kind).Marshal(), ParseFrame, ms)
}

func task(field func(*leaseFrame) *wire.Task) mutations[leaseFrame] {
	set := func(edit func(*wire.Task)) func(*leaseFrame) { return func(w *leaseFrame) { edit(field(w)) } }
	return merge(fixed("an execution id", func(w *leaseFrame) *[]byte { return &field(w).Execution }), mutations[leaseFrame]{
		"a task of no tasks":           set(func(w *wire.Task) { w.Index, w.Count = 0, 0 }),
		"a task of 100,001":            set(func(w *wire.Task) { w.Count = MaxTasks + 1 }),
		"a task behind the last":       set(func(w *wire.Task) { w.Index = w.Count }),
		"a task far behind the last":   set(func(w *wire.Task) { w.Index = 1<<32 - 1 }),
		"a seed of 65 bytes":           set(func(w *wire.Task) { w.Seed = make([]byte, MaxSeed+1) }),
		"a standard input of one byte": set(func(w *wire.Task) { w.Stdin = []byte{1} }),
		"an input of one byte":         set(func(w *wire.Task) { w.Input = []byte{1} }),
	})
}

func TestParseFrameRefuses(t *testing.T) {
	t.Run("award", func(t *testing.T) {
		ms := task(func(w *leaseFrame) *wire.Task { return w.GetAward().Tasks[0] })
		ms["1025 tasks"] = func(w *leaseFrame) { w.GetAward().Tasks = make([]*wire.Task, maxTasks+1) }
		refuseFrame(t, 0, ms)
	})
	t.Run("reply", func(t *testing.T) {
		refuseFrame(t, 1, mutations[leaseFrame]{
			"a detail of 513 bytes": func(w *leaseFrame) { w.GetReply().Detail = strings.Repeat("d", maxDetail+1) },
		})
	})
	t.Run("task", func(t *testing.T) {
		refuseFrame(t, 2, task(func(w *leaseFrame) *wire.Task { return w.GetTask() }))
	})
	t.Run("answer", func(t *testing.T) {
		refuseFrame(t, 3, merge(cids(func(w *leaseFrame) *[]byte { return &w.GetAnswer().Blocks[0].Cid }), mutations[leaseFrame]{
			"65 blocks":           func(w *leaseFrame) { w.GetAnswer().Blocks = make([]*wire.Block, maxInline+1) },
			"a block without id":  func(w *leaseFrame) { w.GetAnswer().Blocks[0].Cid = nil },
			"blocks over 256 KiB": func(w *leaseFrame) { w.GetAnswer().Blocks[0].Data = make([]byte, MaxInline+1) },
		}))
	})
	t.Run("failure", func(t *testing.T) {
		refuseFrame(t, 4, merge(fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetFailure().Execution }), mutations[leaseFrame]{
			"a detail of 513 bytes": func(w *leaseFrame) { w.GetFailure().Detail = strings.Repeat("d", maxDetail+1) },
		}))
	})
	t.Run("ack", func(t *testing.T) {
		refuseFrame(t, 5, fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetAck().Execution }))
	})
	t.Run("cancel", func(t *testing.T) {
		refuseFrame(t, 6, fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetCancel().Execution }))
	})
	t.Run("log", func(t *testing.T) {
		refuseFrame(t, 7, merge(fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetLog().Execution }), mutations[leaseFrame]{
			"a piece over 64 KiB": func(w *leaseFrame) { w.GetLog().Data = make([]byte, MaxLogChunk+1) },
		}))
	})
	t.Run("started", func(t *testing.T) {
		refuseFrame(t, 8, fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetStarted().Execution }))
	})
	t.Run("attach", func(t *testing.T) {
		refuseFrame(t, 11, merge(fixed("a lease id", func(w *leaseFrame) *[]byte { return &w.GetAttach().Lease }),
			fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetAttach().Executions[0] }), mutations[leaseFrame]{
				"4097 executions":    func(w *leaseFrame) { w.GetAttach().Executions = executions(MaxAttach + 1) },
				"an execution twice": func(w *leaseFrame) { w.GetAttach().Executions = append(executions(3), executions(1)...) },
				"nothing":            func(w *leaseFrame) { w.GetAttach().Reset() },
			}))
	})
	t.Run("progress", func(t *testing.T) {
		refuseFrame(t, 12, merge(fixed("an execution id", func(w *leaseFrame) *[]byte { return &w.GetProgress().Execution }), mutations[leaseFrame]{
			"a text of 201 bytes":           func(w *leaseFrame) { w.GetProgress().Text = strings.Repeat("t", MaxProgress+1) },
			"a text with a control char":    func(w *leaseFrame) { w.GetProgress().Text = "50%\x1b[2J" },
			"a text of more than one line":  func(w *leaseFrame) { w.GetProgress().Text = "a\nb" },
			"a text that turns its own way": func(w *leaseFrame) { w.GetProgress().Text = "\u202e" },
			"nothing":                       func(w *leaseFrame) { w.GetProgress().Reset() },
		}))
	})
}

func TestAFrameOfNoKindIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "a later version's kind": {15<<3 | 2, 0}} {
		if f, err := ParseFrame(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, f, err)
		}
	}
}

// executions gives n different ids.
func executions(n int) (out [][]byte) {
	for i := range n {
		out = append(out, binary.BigEndian.AppendUint64(make([]byte, 8, 16), uint64(i)))
	}
	return out
}

func TestTheFullestAttachIsTaken(t *testing.T) {
	want := Attach{Lease: LeaseID{1}, Epoch: 1<<64 - 1}
	for _, e := range executions(MaxAttach) {
		want.Executions = append(want.Executions, ExecutionID(e))
	}
	b := Frame{Attach: &want}.Marshal()
	f, err := ParseFrame(b)
	if err != nil || f.Attach == nil || !reflect.DeepEqual(*f.Attach, want) || len(b) > MaxLeaseFrame {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if f, err := ParseFrame(Frame{Attach: &Attach{Lease: LeaseID{1}}}.Marshal()); err != nil || f.Attach == nil || f.Attach.Executions != nil {
		t.Errorf("an attach that wants nothing more: got %+v, %v", f.Attach, err)
	}
}

// What a guest says is a stranger's text to the provider; once clipped it must
// pass, whatever it was, or it would end the stream.
func TestAClippedProgressIsTaken(t *testing.T) {
	for _, s := range append(garbled, "", "half", "bad \xff text", strings.Repeat("x", MaxProgress), strings.Repeat("ü", MaxProgress), strings.Repeat("x", MaxProgress-1)+"中") {
		p := Progress{Execution: ExecutionID{1}, Fraction: 1<<32 - 1, Text: ClipProgress(s)}
		f, err := ParseFrame(Frame{Progress: &p}.Marshal())
		if err != nil || f.Progress == nil || *f.Progress != p {
			t.Errorf("%q: got %+v, %v", s, f.Progress, err)
		}
		if len(p.Text) > MaxProgress || len(s) >= MaxProgress && len(p.Text) < MaxProgress-2 {
			t.Errorf("%q clipped to %d bytes", s, len(p.Text))
		}
	}
}

func TestInlineFitsSaysWhatParseFrameTakes(t *testing.T) {
	for _, c := range []struct{ blocks, each int }{{1, MaxInline}, {1, MaxInline + 1}, {maxInline, 16}, {maxInline + 1, 16}} {
		f := Frame{Answer: &AnswerFrame{}}
		for range c.blocks {
			f.Answer.Blocks = append(f.Answer.Blocks, Block{RawCID(nil), make([]byte, c.each)})
		}
		_, err := ParseFrame(f.Marshal())
		if fits := InlineFits(c.blocks, int64(c.blocks*c.each)); fits != (err == nil) {
			t.Errorf("%d blocks of %d: fits is %t, the parser says %v", c.blocks, c.each, fits, err)
		}
	}
}
