// Command worlds runs programs again and again in different surroundings, on the
// compiler and on the interpreter, and compares everything that can be seen of
// each run: how it ended, the fuel and memory it used, every byte it printed and
// every file it left. All of it must be the same each time.
//
// Each world is a process of its own. If qemu-aarch64-static is there, some of
// it is run once more on a processor of another kind, emulated.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/mustermesh/muster/executor"
)

// How this program asks itself to be something else.
const (
	asRunner  = "runner"
	asSpinner = "spinner"
)

func main() {
	executor.ChildMain()
	if hidden(os.Args) {
		return
	}
	w := worlds{out: os.Stdout, all: allWorlds()}
	only := flag.String("only", "", "the pairs to run, by a regular expression")
	where := flag.String("world", "", "the worlds to run them in, by a regular expression")
	flag.IntVar(&w.runs, "runs", 100, "how often each pair is run on each engine, in all worlds together")
	flag.IntVar(&w.jobs, "jobs", runtime.NumCPU(), "how many worlds there are at a time")
	flag.IntVar(&w.show, "show", 0, "run each pair once in one world instead, and show what it prints, to so many bytes")
	flag.StringVar(&w.root, "root", ".", "the root of the repository, where the programs are")
	flag.StringVar(&w.foreign, "arm64", "auto", "this program built for linux/arm64, to be run under qemu-aarch64-static; auto: build it if that is there; none")
	flag.Uint64Var(&w.cheap, "arm64-fuel", 14_000_000, "the most fuel of a pair that is run there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := w.run(ctx, *only, *where)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started is stopped and removed")
	}
	stop()
	if err != nil {
		fmt.Printf("worlds: FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("worlds: ok")
}

// outlast has an interrupt end the process that started this one, which then
// closes the input of this one.
func outlast() { signal.Notify(make(chan os.Signal, 1), os.Interrupt) }

// hidden does what another process of this program asks for, if it does.
func hidden(args []string) bool {
	if len(args) < 2 {
		return false
	}
	switch args[1] {
	case asRunner:
		outlast()
		if err := runRunner(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case asSpinner:
		outlast()
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for ctx.Err() == nil {
			}
		}()
		io.Copy(io.Discard, os.Stdin) // until nobody wants it any more
		cancel()
	default:
		return false
	}
	return true
}
