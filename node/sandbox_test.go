package node

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
	n := startNode(t, testConfig(t, randomNetwork()))
	here, err := n.content.AddReader(t.Context(), strings.NewReader("here"))
	if err != nil {
		t.Fatal(err)
	}
	missing := proto.RawCID([]byte("nobody has this"))
	from := []proto.PeerID{peerOf(1)}
	for _, c := range []struct {
		name string
		err  error
		work func(*work)
		want proto.Reason
	}{
		{"the program is not here", nil, func(w *work) { w.program.Code = missing }, proto.ReasonInput},
		{"the input is not here", nil, func(w *work) { w.task.Input = missing }, proto.ReasonInput},
		{"the standard input is not here", nil, func(w *work) { w.task.Stdin = missing }, proto.ReasonInput},
		{"nobody gives it", nil, func(w *work) { w.task.Stdin, w.from = missing, from }, proto.ReasonInput},
		{"the program is too large", nil, func(w *work) { w.program.CodeSize = 1 << 40 }, proto.ReasonDisk},
		{"time is up", executor.ErrTimeout, nil, proto.ReasonTimeout},
		{"the sandbox died", executor.ErrKilled, nil, proto.ReasonKilled},
		{"it was stopped", executor.ErrStopped, nil, proto.ReasonCancelled},
		{"no sandbox is free", executor.ErrBusy, nil, proto.ReasonBusy},
		{"the task makes no sense", executor.ErrTask, nil, proto.ReasonInput},
		{"the host failed", fmt.Errorf("x: %w", executor.ErrHost), nil, proto.ReasonOther},
	} {
		box := &sandbox{
			exec: errExec{n.exec, c.err}, content: n.content, self: n.self, temp: n.cfg.tempPath(), maxProgram: 1 << 20,
			fetch: func(context.Context, proto.PeerID, proto.CID, []proto.PeerID, int64) error {
				return errors.New("nobody serves it")
			},
		}
		w := work{owner: n.self, program: proto.Program{Code: here.CID}, task: proto.Task{Count: 1}, tag: "test:" + c.name}
		if c.work != nil {
			c.work(&w)
		}
		_, err := box.run(t.Context(), w)
		var f *failure
		if !errors.As(err, &f) || f.reason != c.want || f.detail == "" {
			t.Errorf("%s: %v, want %s, and why", c.name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	box := &sandbox{exec: errExec{n.exec, executor.ErrTimeout}, content: n.content, self: n.self, temp: n.cfg.tempPath(), maxProgram: 1 << 20}
	_, err = box.run(ctx, work{owner: n.self, program: proto.Program{Code: here.CID}, task: proto.Task{Count: 1}})
	var f *failure
	if !errors.As(err, &f) || f.reason != proto.ReasonCancelled && f.reason != proto.ReasonInput {
		t.Errorf("cancelled: %v", err)
	}
}
