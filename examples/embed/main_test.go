package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/proto"
)

func TestMain(m *testing.M) {
	executor.ChildMain()
	os.Exit(m.Run())
}

func TestEachExecutionIsLogged(t *testing.T) {
	program, err := os.ReadFile("../../e2e/guests/noop.wasm")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	e, err := openLogged(executor.Config{
		MaxModule: 1 << 20, MaxMemory: 1 << 20, MaxDisk: 1 << 20, MaxChildren: 1, IdleTimeout: time.Minute, PrepareTimeout: time.Minute,
	}, slog.New(slog.NewTextHandler(&out, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer e.(logged).Close()
	code := proto.RawCID(program)
	run, err := e.Start(t.Context(), executor.Task{
		Program: executor.Program{CID: code, Open: func(context.Context) ([]byte, error) { return program, nil }},
		Limits:  executor.Limits{Memory: 1 << 20, Disk: 1 << 20, Timeout: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	if res, err := run.Wait(t.Context()); err != nil || res.Outcome != executor.Exited {
		t.Errorf("got %+v, %v; want a guest that exited", res, err)
	}
	if !strings.Contains(out.String(), code.String()) {
		t.Errorf("the log does not name %s:\n%s", code, out.String())
	}
}
