// Command bench measures muster with real daemons on this machine and sets the
// figures beside those that docs/decisions or the project's goals name. Nothing
// here passes or fails by time; the tests beside it bound what can be counted.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/mustermesh/muster/e2e/mesh"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == serveTransfer {
		exit(transferServer(os.Args[2], os.Stdin, os.Stdout))
	}
	b := bench{}
	asJSON := flag.Bool("json", false, "print the figures as JSON")
	only := flag.String("only", "", "run one part: "+strings.Join(partNames(), ", "))
	flag.StringVar(&b.binary, "muster", "bin/muster", "the muster to measure; make build makes it")
	flag.StringVar(&b.noop, "noop", "e2e/guests/noop.wasm", "the program that does nothing")
	flag.BoolVar(&b.quick, "quick", false, "a few of everything, to see that it works")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx, *only)
	stop()
	if *asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		err = errors.Join(err, out.Encode(b.figures))
	} else {
		b.figures.write(os.Stdout)
	}
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// A bench is one run of the benchmarks.
type bench struct {
	binary, noop string
	quick        bool
	figures      figures

	mesh      *mesh.Mesh
	requester *client
}

// parts in order: latency runs about a thousand jobs, after which memory looks.
var parts = []struct {
	name string
	run  func(*bench, context.Context) error
}{
	{"binary", (*bench).binarySize},
	{"start", (*bench).start},
	{"idle", (*bench).idle},
	{"latency", (*bench).latency},
	{"memory", (*bench).memory},
	{"throughput", (*bench).throughput},
	{"tasks", (*bench).tasks},
	{"transfer", (*bench).transfer},
	{"crowd", (*bench).crowd},
}

func partNames() (names []string) {
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// run measures every part, or one; what was measured before an error stays.
func (b *bench) run(ctx context.Context, only string) (err error) {
	defer func() {
		if b.mesh != nil {
			err = errors.Join(err, b.mesh.Close())
		}
	}()
	ran := false
	for _, p := range parts {
		if only != "" && p.name != only && p.name != "start" {
			continue
		}
		ran = ran || p.name == only || only == ""
		fmt.Fprintf(os.Stderr, "%s …\n", p.name)
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if !ran {
		return fmt.Errorf("there is no part %q; there are %s", only, strings.Join(partNames(), ", "))
	}
	return nil
}

// some gives the number of repetitions: full, or a few.
func (b *bench) some(full, quick int) int {
	if b.quick {
		return quick
	}
	return full
}
