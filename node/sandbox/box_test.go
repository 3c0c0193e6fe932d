package sandbox

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/proto"
)

// errExec is an executor whose executions fail in one way.
type errExec struct {
	executor.Executor
	err error
}

func (e errExec) Start(context.Context, executor.Task) (executor.Execution, error) { return nil, e.err }

func TestWhyAnExecutionGaveNoAnswerIsToldApart(t *testing.T) {
	store, self := newStore(t), proto.PeerID{9}
	here, err := store.AddReader(t.Context(), strings.NewReader("here"))
	if err != nil {
		t.Fatal(err)
	}
	missing := proto.RawCID([]byte("nobody has this"))
	from := []proto.PeerID{{1}}
	for _, c := range []struct {
		name string
		err  error
		work func(*Work)
		want proto.Reason
	}{
		{"the program is not here", nil, func(w *Work) { w.Program.Code = missing }, proto.ReasonInput},
		{"the input is not here", nil, func(w *Work) { w.Task.Input = missing }, proto.ReasonInput},
		{"the standard input is not here", nil, func(w *Work) { w.Task.Stdin = missing }, proto.ReasonInput},
		{"nobody gives it", nil, func(w *Work) { w.Task.Stdin, w.From = missing, from }, proto.ReasonInput},
		{"the program is too large", nil, func(w *Work) { w.Program.CodeSize = 1 << 40 }, proto.ReasonDisk},
		{"time is up", executor.ErrTimeout, nil, proto.ReasonTimeout},
		{"the sandbox died", executor.ErrKilled, nil, proto.ReasonKilled},
		{"it was stopped", executor.ErrStopped, nil, proto.ReasonCancelled},
		{"no sandbox is free", executor.ErrBusy, nil, proto.ReasonBusy},
		{"the task makes no sense", executor.ErrTask, nil, proto.ReasonInput},
		{"the host failed", fmt.Errorf("x: %w", executor.ErrHost), nil, proto.ReasonOther},
	} {
		box := New(Config{
			Executor: errExec{nil, c.err}, Content: store, Self: self, Temp: t.TempDir(), MaxProgram: 1 << 20,
			Fetch: func(context.Context, *View, proto.CID, []proto.PeerID, int64) error {
				return errors.New("nobody serves it")
			},
		})
		w := Work{Owner: self, Program: proto.Program{Code: here.CID}, Task: proto.Task{Count: 1}, Tag: "test:" + c.name}
		if c.work != nil {
			c.work(&w)
		}
		_, err := box.Run(t.Context(), w)
		var f *Failure
		if !errors.As(err, &f) || f.Reason != c.want || f.Detail == "" {
			t.Errorf("%s: %v, want %s, and why", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	box := New(Config{Executor: errExec{nil, executor.ErrTimeout}, Content: store, Self: self, Temp: t.TempDir(), MaxProgram: 1 << 20})
	_, err = box.Run(ctx, Work{Owner: self, Program: proto.Program{Code: here.CID}, Task: proto.Task{Count: 1}})
	var f *Failure
	if !errors.As(err, &f) || f.Reason != proto.ReasonCancelled && f.Reason != proto.ReasonInput {
		t.Errorf("cancelled: %v", err)
	}
}
