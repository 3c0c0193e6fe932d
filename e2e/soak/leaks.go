package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/e2e/mesh"
	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/node/api"
)

// settleLimit is how long nodes may take to let go of what is over: leases are
// let go after two idle seconds, sandboxes some time after their lease.
const (
	settleLimit = 45 * time.Second
	keepLimit   = 15 * time.Second // … and more for receipts that come late
)

// checkNodes looks for what the jobs left on the nodes: at work, as processes,
// as files, and, when all have stopped, as records.
func (s *soak) checkNodes(ctx context.Context) error {
	s.say("all tasks are settled, %d by the requester's own run alone; %d executions were kept on record, %d of them lost or failed; now for what is left of them", s.alone.Load(), s.executions.Load(), s.lost.Load())
	var errs []error
	nodes := s.fleet.mesh.Nodes()
	for _, n := range nodes {
		errs = append(errs, eventually(ctx, settleLimit, func() error { return s.idle(ctx, n) }))
	}
	errs = append(errs, eventually(ctx, settleLimit, s.noFiles))
	if s.brief {
		s.say("NOT CHECKED: whether warm sandboxes end while their daemons go on")
	}
	keeps := make(map[*mesh.Node]error)
	_ = eventually(ctx, keepLimit, func() (err error) { // what is left then is told of each
		for _, n := range nodes {
			keeps[n] = keepsNothing(ctx, n)
			err = errors.Join(err, keeps[n])
		}
		return err
	})
	for _, n := range nodes {
		if err := n.Stop(); err != nil {
			errs = append(errs, fmt.Errorf("node %s: %w%s", n.Name, err, n.LastWords()))
			continue
		}
		err := noRecords(n)
		if keeps[n] != nil {
			err = s.leftover(errors.Join(keeps[n], err))
		}
		errs = append(errs, err, cleanLog(n))
	}
	return errors.Join(errs...)
}

// leftover: a provider that never heard that its result was taken keeps it for
// the grace that it was asked for, half an hour. That fails a run, or is told of
// one that is not strict.
func (s *soak) leftover(err error) error {
	if err == nil || s.strict {
		return err
	}
	s.say("LEFT, until its grace is over: %v", err)
	return nil
}

// eventually asks until the answer is good, for as long as nodes may take. What
// it asks after sends no events.
func eventually(ctx context.Context, limit time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; still so %s later", err, limit)
		case <-tick.C:
		}
	}
}

// idle: a node does nothing for anybody, and has no sandbox.
func (s *soak) idle(ctx context.Context, n *mesh.Node) error {
	r, err := n.API(1).ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	p := r.Msg
	if p.SlotsBusy+p.Queued != 0 || len(p.Guests) > 0 {
		return fmt.Errorf("node %s has %d busy slots, %d tasks that wait, %d guests; want none", n.Name, p.SlotsBusy, p.Queued, len(p.Guests))
	}
	if s.brief {
		return nil
	}
	u, err := n.Usage()
	if err != nil {
		return err
	}
	if len(u.Pids) != 1 {
		return fmt.Errorf("node %s has the processes %v, its own is %d; want no other", n.Name, u.Pids, n.Pid())
	}
	return nil
}

// keepsNothing: a node keeps neither a lease nor a result, nor a lease of its own
// that it has yet to tell the end of.
func keepsNothing(ctx context.Context, n *mesh.Node) error {
	r, err := n.API(1).ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if r.Msg.Leases+r.Msg.Kept != 0 {
		return fmt.Errorf("node %s has %d leases and keeps %d results; want none", n.Name, r.Msg.Leases, r.Msg.Kept)
	}
	st, err := n.API(1).Status(ctx, connect.NewRequest(&api.StatusRequest{}))
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	if left := st.Msg.Counters["leases.parting"]; left != 0 {
		return fmt.Errorf("node %s has %d leases whose end is not told; want none", n.Name, left)
	}
	return nil
}

// noFiles: nothing lies in the folders for temporary files.
func (s *soak) noFiles() error {
	dirs := []string{s.temp()}
	for _, n := range s.fleet.mesh.Nodes() {
		dirs = append(dirs, filepath.Join(n.Home, "tmp"), filepath.Join(n.Home, "content", "tmp"))
	}
	var left []string
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				left = append(left, path)
			}
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("temporary files are left: %s", strings.Join(left, ", "))
	}
	return nil
}

// noRecords: a stopped node has no lease and no execution on record any more,
// neither as a provider nor as a requester, and pins no result for others.
// docs/storage.md §3.
func noRecords(n *mesh.Node) error {
	db, err := store.Open(n.Home, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	left := map[string]int{}
	scan := func(prefix string, kind func(key []byte) string) error {
		return db.Scan([]byte(prefix), func(k, _ []byte) error {
			if what := kind(k[len(prefix):]); what != "" {
				left[what]++
			}
			return nil
		})
	}
	err = errors.Join(
		scan("e/", func([]byte) string { return "of leases lent" }),
		scan("j/", func(k []byte) string {
			switch rest := string(k[min(len(k), 32):]); {
			case strings.HasPrefix(rest, "/l/"):
				return "of leases taken"
			case strings.HasPrefix(rest, "/x/"):
				return "of executions"
			}
			return ""
		}),
		scan("c/p/", func(k []byte) string {
			if bytes.HasPrefix(k, []byte("result:")) {
				return "of pinned results"
			}
			return ""
		}),
		db.Close())
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("records are left: %v", left)
	}
	if err != nil {
		return fmt.Errorf("node %s: %w", n.Name, err)
	}
	return nil
}

// cleanLog: a node that was killed and started complained of nothing that calls
// for somebody to act.
func cleanLog(n *mesh.Node) error {
	log, err := n.Log()
	if err != nil {
		return err
	}
	for _, bad := range []string{"panic:", "level=ERROR", "fatal error:", "DATA RACE"} {
		if i := bytes.Index(log, []byte(bad)); i >= 0 {
			return fmt.Errorf("node %s logged %q:\n%s", n.Name, bad, log[max(0, i-200):min(len(log), i+1800)])
		}
	}
	return nil
}

// checkProcesses looks for processes that run our binary after all daemons have
// stopped: sandboxes that outlived a kill.
func (s *soak) checkProcesses(binary string) error {
	return eventually(context.Background(), settleLimit, func() error {
		var left []string
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			if exe, err := os.Readlink(link); err == nil && strings.HasPrefix(exe, binary) {
				left = append(left, filepath.Base(filepath.Dir(link)))
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("processes are left: %s", strings.Join(left, ", "))
		}
		return nil
	})
}
