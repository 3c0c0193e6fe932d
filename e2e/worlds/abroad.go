package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const emulator = "qemu-aarch64-static"

// abroad runs the cheaper pairs on an emulated processor of another kind, twice
// on each engine, and compares with what they gave here.
func (w *worlds) abroad(ctx context.Context) error {
	qemu, err := exec.LookPath(emulator)
	switch {
	case w.foreign == "none":
		return nil
	case err != nil && w.foreign == "auto":
		w.say("NOT RUN: anything on arm64, for want of %s: apt-get install qemu-user-static", emulator)
		return nil
	case err != nil:
		return err
	}
	if w.foreign == "auto" {
		if w.foreign, err = w.buildForeign(ctx); err != nil {
			return err
		}
	}
	child, err := w.foreignChild(qemu)
	if err != nil {
		return err
	}
	var pairs []pair
	for _, p := range w.pairs {
		if f := w.ledger.fuel(p.name); f > 0 && f <= w.cheap {
			pairs = append(pairs, p)
		}
	}
	for _, interpret := range []bool{false, true} {
		o := order{Interpret: interpret, Runs: 2, Pairs: names(pairs), Child: child, Root: w.root}
		if err := w.emulate(ctx, qemu, o); err != nil {
			return err
		}
	}
	return nil
}

// buildForeign makes this program for arm64.
func (w *worlds) buildForeign(ctx context.Context) (string, error) {
	out := filepath.Join(w.dir, "worlds-arm64")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, "./e2e/worlds")
	cmd.Dir = w.root
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build for arm64: %w\n%s", err, b)
	}
	return out, nil
}

// foreignChild makes what is started as a sandbox: the kernel cannot run a
// binary for another processor, so the emulator has to be named.
func (w *worlds) foreignChild(qemu string) (string, error) {
	binary, err := filepath.Abs(w.foreign)
	if err != nil {
		return "", err
	}
	path := filepath.Join(w.dir, "child-arm64")
	script := fmt.Sprintf("#!/bin/sh\nexec %s -0 muster-sandbox %s\n", qemu, binary)
	return path, os.WriteFile(path, []byte(script), 0o755)
}

// emulate runs an order on the other processor.
func (w *worlds) emulate(ctx context.Context, qemu string, o order) error {
	start := time.Now()
	x := w.all[0]
	x.Name, x.Together = "emulated", 2
	dir, err := os.MkdirTemp(w.dir, "world-")
	if err != nil {
		return err
	}
	cmd, err := x.command(dir, qemu, w.foreign, asRunner)
	if err != nil {
		return err
	}
	o.World, o.Dir = x, cmd.Dir
	n, same, err := w.talk(ctx, cmd, o)
	if err != nil {
		return fmt.Errorf("on arm64, %s: %w", engine(o.Interpret), err)
	}
	verdict := "as on this machine"
	if !same {
		verdict = "NOT ALL as on this machine"
	}
	w.say("arm64, emulated, %s: %d runs of %d pairs in %s, %s", engine(o.Interpret), n, len(o.Pairs), time.Since(start).Round(time.Second), verdict)
	return os.RemoveAll(dir)
}
