package sandbox

import (
	"context"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/proto"
)

// scripted is an executor whose executions all end alike; it keeps the last task.
type scripted struct {
	executor.Executor
	res  executor.Result
	task executor.Task
}

func (s *scripted) Start(_ context.Context, t executor.Task) (executor.Execution, error) {
	s.task = t
	return over{res: s.res}, nil
}

type over struct {
	mute
	res executor.Result
}

func (o over) Wait(context.Context) (executor.Result, error) { return o.res, nil }

func TestAnAnswerNamesFuelAndEngine(t *testing.T) {
	store := newStore(t)
	here, err := store.AddReader(t.Context(), strings.NewReader("program"))
	if err != nil {
		t.Fatal(err)
	}
	engine := proto.Engine{Name: "wazero", Version: "1", Arch: "amd64"}
	for _, c := range []struct {
		name      string
		interpret bool
		res       executor.Result
		outcome   proto.Outcome
		fuel      uint64
		engine    string
	}{
		{"what it used", false, executor.Result{Fuel: 400}, proto.OutcomeExited, 400, "wazero"},
		{"of one that ran out, all of it", false, executor.Result{Outcome: executor.OutOfFuel, Fuel: 1007}, proto.OutcomeOutOfFuel, 1000, "wazero"},
		{"never more than it was given", false, executor.Result{Outcome: executor.Trapped, Trap: "unreachable", Fuel: 1003}, proto.OutcomeTrapped, 1000, "wazero"},
		{"the interpreter that ran it", true, executor.Result{Fuel: 400, Engine: "wazero-interpreter"}, proto.OutcomeExited, 400, "wazero-interpreter"},
	} {
		x := &scripted{res: c.res}
		box := New(Config{Executor: x, Engine: engine, Content: store, Temp: t.TempDir(), MaxProgram: 1 << 20})
		p := proto.Program{Code: here.CID, Fuel: 1000}
		a, err := box.Run(t.Context(), Work{Program: p, Task: proto.Task{Count: 1}, Tag: "test:" + c.name, Interpret: c.interpret})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want := engine
		want.Name = c.engine
		if a.Outcome != c.outcome || a.Fuel != c.fuel || a.Engine != want {
			t.Errorf("%s: %s, fuel %d, engine %s; want %s, %d, %s", c.name, a.Outcome, a.Fuel, a.Engine, c.outcome, c.fuel, want)
		}
		if (a.Trap != "") != (c.outcome == proto.OutcomeTrapped) {
			t.Errorf("%s: trap %q beside %s", c.name, a.Trap, a.Outcome)
		}
		if x.task.Limits.Fuel != 1000 || x.task.Interpret != c.interpret {
			t.Errorf("%s: the executor was given fuel %d and interpret %t; want 1000 and %t", c.name, x.task.Limits.Fuel, x.task.Interpret, c.interpret)
		}
		if err := box.CheckOutput(t.Context(), a); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
