// Command demo shows a mesh at work on this machine: five providers and a
// requester, each a process of its own, count the words of Go's standard library
// and render a picture, and check each other's results. It says who ran what,
// and leaves nothing behind but the picture.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/e2e/mesh"
)

const (
	providers     = 5
	requesterName = "requester"
)

func main() {
	d := demo{out: os.Stdout, err: os.Stderr}
	flag.StringVar(&d.binary, "muster", "bin/muster", "the muster to run; make build makes it")
	flag.StringVar(&d.dir, "dir", "bin/demo", "directory for the picture")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := d.run(ctx)
	if ctx.Err() != nil {
		err = errors.New("interrupted; everything that was started is stopped and removed")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// A demo is one showing.
type demo struct {
	out, err    io.Writer
	binary, dir string

	mesh      *mesh.Mesh
	requester *mesh.Node
	results   string // directory for what jobs leave, removed at the end
	tally     tally
}

func (d *demo) run(ctx context.Context) (err error) {
	began := time.Now()
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	if d.results, err = os.MkdirTemp(d.dir, "results-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.results)) }()
	if d.mesh, err = mesh.Open(d.binary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.mesh.Close()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.countWords(ctx); err != nil {
		return fmt.Errorf("word count: %w", err)
	}
	if err := d.render(ctx); err != nil {
		return fmt.Errorf("ray tracer: %w", err)
	}
	fmt.Fprintf(d.out, "\nWho ran and checked what, both jobs together:\n\n")
	d.tally.write(d.out)
	if err := d.tally.check(); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "\nEach provider ran tasks, and nobody checked itself. The picture: %s\nThat took %s.\n",
		filepath.Join(d.dir, "picture.png"), time.Since(began).Round(100*time.Millisecond))
	return nil
}

// start starts the providers and the requester, and waits until they met.
func (d *demo) start(ctx context.Context) error {
	began := time.Now()
	lend := []string{"--slots", "1", "--memory", "1GiB"}
	first, err := d.mesh.Start(ctx, "provider-1", lend...)
	if err != nil {
		return err
	}
	nodes := make([]*mesh.Node, providers+1)
	nodes[0] = first
	g, gctx := errgroup.WithContext(ctx)
	for i := 1; i <= providers; i++ {
		name, args := fmt.Sprintf("provider-%d", i+1), lend
		if i == providers {
			name, args = requesterName, []string{"--role", "requester"}
		}
		g.Go(func() (err error) {
			nodes[i], err = d.mesh.Start(gctx, name, args...)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	d.requester = nodes[providers]
	d.tally = newTally(nodes)
	if err := d.requester.AwaitProviders(ctx, providers); err != nil {
		return err
	}
	fmt.Fprintf(d.out, "Five providers and a requester run and know each other after %s: network %s.\n\n", time.Since(began).Round(time.Millisecond), d.mesh.Network)
	for _, n := range nodes {
		fmt.Fprintf(d.out, "  %-10s  pid %-7d %s\n", n.Name, n.Pid(), n.ID)
	}
	return nil
}
