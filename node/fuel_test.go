package node

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/proto"
)

// burner is the real sandbox, but what its guests use of fuel, and on which engine,
// is as a test says.
type burner struct {
	*executor.WASM
	says func(executor.Task, *executor.Result)
}

func (b burner) Start(ctx context.Context, t executor.Task) (executor.Execution, error) {
	x, err := b.WASM.Start(ctx, t)
	return burning{x, t, b.says}, err
}

type burning struct {
	executor.Execution
	task executor.Task
	says func(executor.Task, *executor.Result)
}

func (b burning) Wait(ctx context.Context) (executor.Result, error) {
	res, err := b.Execution.Wait(ctx)
	b.says(b.task, &res)
	return res, err
}

// startBurner starts a requester whose guests use fuel as says says.
func startBurner(t *testing.T, says func(executor.Task, *executor.Result)) *running {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	return startWith(t, cfg, Parts{Executor: func(c executor.Config, log *slog.Logger) (executor.Executor, error) {
		w, err := executor.OpenWASM(c, log)
		return burner{w, says}, err
	}})
}

func TestFuelIsALimitThatAJobHas(t *testing.T) {
	limits := make(chan uint64, 8)
	n := startBurner(t, func(k executor.Task, r *executor.Result) {
		limits <- k.Limits.Fuel
		r.Fuel = 300
	})
	digests := make(map[proto.Digest]bool)
	for asked, want := range map[uint64]uint64{0: requester.DefaultFuel, 5000: 5000, proto.MaxFuel: proto.MaxFuel} {
		job := small(t, "noop")
		job.Fuel, job.Count = asked, 2
		j := submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: true})
		if s := ends(t, j); s.State != "completed" || s.Fuel != 600 {
			t.Errorf("fuel %d: %s %s, used %d; want it completed with 600", asked, s.State, s.Reason, s.Fuel)
		}
		for range 2 {
			if got := <-limits; got != want {
				t.Errorf("fuel %d: the guest got %d, want %d", asked, got, want)
			}
		}
		spec := j.Specification()
		digests[proto.TaskDigest(spec.Program, spec.Task(0))] = true
	}
	if len(digests) != 3 {
		t.Errorf("three limits give %d task digests", len(digests))
	}
}

func TestAProgramThatRunsOutOfFuelFailsAndSaysWhatToDo(t *testing.T) {
	n := startBurner(t, func(k executor.Task, r *executor.Result) {
		r.Outcome, r.Fuel = executor.OutOfFuel, k.Limits.Fuel+7
	})
	job := small(t, "noop")
	job.Fuel = 1_500_000
	j := submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: true})
	s := ends(t, j)
	const why = "the program ran out of fuel; raise limits.fuel, above 1500000"
	if s.State != "failed" || !strings.Contains(s.Reason, why) || s.Fuel != 1_500_000 || s.Executions != 1 {
		t.Errorf("%s: %s; fuel %d, %d executions; want it failed once, %s", s.State, s.Reason, s.Fuel, s.Executions, why)
	}
	if task := settledTask(t, j, 0); task.Outcome != "out of fuel" || task.Fuel != 1_500_000 || task.Executions[0].Fuel != 1_500_000 || task.Dead {
		t.Errorf("task %+v, want it out of fuel", task)
	}
	x, err := j.Explain(t.Context())
	if err != nil || !strings.Contains(x.Why, why) || len(x.Tasks) != 1 || x.Tasks[0].Why != why {
		t.Errorf("explained: %+v, %v; want %s", x, err, why)
	}
}

func TestALocalRunMayTakeTheInterpreter(t *testing.T) {
	n := startBurner(t, func(k executor.Task, r *executor.Result) {
		if k.Interpret {
			r.Engine = "wazero-interpreter"
		}
	})
	for engine, want := range map[string]string{"": "wazero/", "compiler": "wazero/", "interpreter": "wazero-interpreter/"} {
		j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop"), Local: true, Engine: engine})
		if s := ends(t, j); s.State != "completed" {
			t.Fatalf("%s: %s %s", engine, s.State, s.Reason)
		}
		if e := settledTask(t, j, 0).Executions[0].Engine; !strings.HasPrefix(e, want) {
			t.Errorf("engine %q: it ran on %s, want %s", engine, e, want)
		}
	}
	for _, c := range []struct {
		engine, says string
		local        bool
	}{{"interpreter", "add --local", false}, {"abacus", "it is compiler or interpreter", true}} {
		_, err := n.requester.Submit(testContext(t), &api.SubmitJobRequest{Job: small(t, "noop"), Local: c.local, Engine: c.engine}, nil)
		if !errors.Is(err, requester.ErrSpecification) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("engine %s, local %t: %v, want %q", c.engine, c.local, err, c.says)
		}
	}
}

// TestALoopEndsWhereItsFuelDoes: in the real sandbox, on the unit.
func TestALoopEndsWhereItsFuelDoes(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	n := startNode(t, cfg)
	outputs := make(map[string]bool)
	for _, engine := range []string{"compiler", "interpreter"} {
		job := small(t, "spin")
		job.Fuel = 1_000_000
		j := submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: true, Engine: engine})
		if s := ends(t, j); s.State != "failed" || s.Fuel != 1_000_000 || !strings.Contains(s.Reason, "raise limits.fuel, above 1000000") {
			t.Errorf("%s: %s (%s), fuel %d; want it out of fuel after 1000000", engine, s.State, s.Reason, s.Fuel)
		}
		outputs[settledTask(t, j, 0).Output] = true
	}
	if len(outputs) != 1 {
		t.Errorf("compiler and interpreter gave %d outputs", len(outputs))
	}
}
