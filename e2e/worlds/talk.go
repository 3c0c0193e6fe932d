package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// visit runs an order in a world of this machine.
func (w *worlds) visit(ctx context.Context, x world, o order) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	start := time.Now()
	dir, err := os.MkdirTemp(w.dir, "world-")
	if err != nil {
		return err
	}
	cmd, err := x.command(dir, w.exe, asRunner)
	if err != nil {
		return err
	}
	if x.Beside {
		quiet, err := w.spin(x, dir)
		if err != nil {
			return err
		}
		defer quiet()
	}
	o.World, o.Root, o.Shared, o.Dir = x, w.root, filepath.Join(w.dir, "shared"), cmd.Dir
	n, same, err := w.talk(ctx, cmd, o)
	if err != nil {
		return fmt.Errorf("world %q, %s: %w", x.Name, engine(o.Interpret), err)
	}
	w.say("%s, %s: %d runs in %s, %s", x.Name, engine(o.Interpret), n, time.Since(start).Round(time.Second), map[bool]string{true: "no difference", false: "NOT ALL EQUAL"}[same])
	return os.RemoveAll(dir)
}

// spin has a process compute beside, until it is told to be quiet.
func (w *worlds) spin(x world, dir string) (quiet func(), err error) {
	cmd, err := x.command(dir, w.exe, asSpinner)
	if err != nil {
		return nil, err
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() { stdin.Close(); cmd.Wait() }, nil // it has nothing to tell
}

// talk gives a runner its order, and enters what it reads.
func (w *worlds) talk(ctx context.Context, cmd *exec.Cmd, o order) (n int, same bool, err error) {
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, false, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return 0, false, err
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		return 0, false, err
	}
	stop := context.AfterFunc(ctx, func() { stdin.Close() })
	defer stop()
	err = json.NewEncoder(stdin).Encode(o)
	if err == nil {
		n, same, err = w.listen(stdout, o)
	}
	stdin.Close() // a second time, if it was interrupted
	if ended := cmd.Wait(); err == nil && ended != nil {
		err = ended
	}
	if ctx.Err() != nil {
		return n, same, ctx.Err()
	}
	if want := o.Runs * len(o.Pairs); err == nil && n != want {
		err = fmt.Errorf("%d runs, want %d", n, want)
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return n, same, err
}

// listen enters what a runner says. The first line tells what it runs on.
func (w *worlds) listen(r io.Reader, o order) (n int, same bool, err error) {
	dec, same := json.NewDecoder(bufio.NewReader(r)), true
	var hello, x reading
	if err := dec.Decode(&hello); err != nil {
		return 0, false, fmt.Errorf("it said nothing: %w", err)
	}
	w.note(hello)
	for ; ; n++ {
		x = reading{}
		if err := dec.Decode(&x); errors.Is(err, io.EOF) {
			return n, same, nil
		} else if err != nil {
			return n, same, err
		}
		w.mu.Lock()
		ok := w.ledger.enter(place{o.World.Name, engine(o.Interpret), hello.Arch}, x)
		w.calls[hello.Arch]++
		w.mu.Unlock()
		if same = same && ok; !ok && x.Err != "" {
			w.say("%s in %s: %s", x.Pair, o.World.Name, x.Err)
		}
		if o.Show > 0 {
			w.say("%s, %s, %s: %s\n%s", x.Pair, engine(o.Interpret), x.Took.Round(time.Millisecond), x.result(), x.Text)
		}
	}
}

// note keeps how well guests are shut in, and says so the first time.
func (w *worlds) note(hello reading) {
	w.mu.Lock()
	_, known := w.walls[hello.Arch]
	w.walls[hello.Arch] = walls(hello)
	w.mu.Unlock()
	if !known {
		w.say("%s, in sandboxes of %s", hello.Arch, walls(hello))
	}
}

func walls(hello reading) string {
	on, off := []string{}, []string{}
	for _, l := range hello.Layers {
		if l.On {
			on = append(on, l.Name)
		} else {
			off = append(off, l.Name)
		}
	}
	s := fmt.Sprintf("level %s with %s", hello.Level, strings.Join(on, " "))
	if len(off) > 0 {
		s += "; without " + strings.Join(off, " ")
	}
	return s
}
