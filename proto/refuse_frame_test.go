package proto

import (
	"errors"
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
}

func TestAFrameOfNoKindIsRefused(t *testing.T) {
	for name, b := range map[string][]byte{"nothing": nil, "a later version's kind": {15<<3 | 2, 0}} {
		if f, err := ParseFrame(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, %v", name, f, err)
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
