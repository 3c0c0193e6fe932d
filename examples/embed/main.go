// Command embed runs a node inside a program of its own, with an executor of its
// own: one that logs each execution and leaves the rest to muster's.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"

	"github.com/mustermesh/muster/executor"
	"github.com/mustermesh/muster/node"
)

func main() {
	executor.ChildMain() // this very program is started again as the sandbox
	cfg := node.DefaultConfig()
	flag.StringVar(&cfg.Home, "home", cfg.Home, "folder of the node")
	flag.StringVar(&cfg.Network, "network", cfg.Network, "name of the mesh")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := node.Run(ctx, cfg, log, node.Parts{Executor: openLogged}); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// A logged executor says what it runs. All but Start is the embedded one's.
type logged struct {
	*executor.WASM
	log *slog.Logger
}

func openLogged(cfg executor.Config, log *slog.Logger) (executor.Executor, error) {
	wasm, err := executor.OpenWASM(cfg, log)
	return logged{wasm, log}, err
}

// Start logs who asked for which program.
func (l logged) Start(ctx context.Context, t executor.Task) (executor.Execution, error) {
	l.log.Info("execution", "peer", t.Owner, "program", t.Program.CID, "args", t.Args)
	return l.WASM.Start(ctx, t)
}
