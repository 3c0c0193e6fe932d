// Command muster is the command line and the daemon of a compute mesh.
//
// It owns flags, environment and config file, signals, output formats and exit
// codes. Everything that it shows or starts it asks of a node by the control API
// (package node), which is where the work is done.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/mustermesh/muster/executor"
)

func main() {
	executor.ChildMain()
	os.Exit(run(newApp(realMesh()), os.Args[1:]))
}

// An app is one invocation: its surroundings, which tests replace, and what the
// global flags said.
type app struct {
	in         io.Reader
	out, err   io.Writer
	isTerminal func(stream any) bool
	size       func() (columns, rows int)
	raw        func(in io.Reader) (restore func())
	interrupts func() (c <-chan os.Signal, stop func())
	mesh       mesh
	global     globals
	began      bool // the command line was understood
}

func newApp(m mesh) *app {
	return &app{
		in: os.Stdin, out: os.Stdout, err: os.Stderr,
		isTerminal: isTerminal, size: terminalSize, raw: rawTerminal,
		interrupts: interrupts, mesh: m,
	}
}

// run carries out one command line and gives the exit code.
func run(a *app, args []string) int {
	cmd := newRoot(a)
	cmd.SetArgs(args)
	cmd.SetIn(a.in)
	cmd.SetOut(a.out)
	cmd.SetErr(a.err)
	ran, err := cmd.ExecuteContextC(context.Background())
	if err == nil {
		return exitOK
	}
	if !a.began {
		err = &exitError{exitUsage, err}
	}
	code := exitCode(err)
	fmt.Fprintf(a.err, "muster: %s\n", message(err))
	if code == exitUsage {
		fmt.Fprintf(a.err, "see: %s --help\n", ran.CommandPath())
	}
	return code
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interrupts gives the first SIGINT or SIGTERM; a second one ends the process at
// once. After stop they do so again from the first.
func interrupts() (c <-chan os.Signal, stop func()) {
	got, first := make(chan os.Signal, 1), make(chan os.Signal, 1) // one of each is all that is looked at
	done := make(chan struct{})
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	go func() { // ends by stop
		select {
		case s := <-got:
			signal.Stop(got)
			first <- s
		case <-done:
		}
	}()
	return first, func() {
		signal.Stop(got)
		close(done)
	}
}

// until gives a context that ends at the first interrupt. After deaf it does not
// any more; stop ends it and everything about it.
func (a *app) until(parent context.Context) (ctx context.Context, deaf, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	c, hush := a.interrupts()
	quiet := make(chan struct{})
	deaf = sync.OnceFunc(func() {
		hush()
		close(quiet)
	})
	go func() { // ends by deaf
		select {
		case s := <-c:
			cancel(fmt.Errorf("stopped by %v", s))
		case <-quiet:
		}
	}()
	return ctx, deaf, func() {
		deaf()
		cancel(nil)
	}
}
