package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

const (
	maxDevnet    = 64
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
)

// A devnet is a mesh of daemons on this machine, each a process of its own.
type devnet struct {
	a     *app
	size  int
	keep  bool
	weak  bool
	dir   string
	name  string
	nodes []*devnode
}

type devnode struct {
	ready
	cmd   *exec.Cmd
	stdin io.Closer // closing it stops the daemon
	log   string
	done  chan struct{} // closed when the process ended
}

func newDevnet(a *app) *cobra.Command {
	d := &devnet{a: a}
	cmd := &cobra.Command{
		Use:   "devnet [flags] [-- COMMAND]",
		Short: "Run a whole mesh on this machine, to try things",
		Long: `Devnet starts daemons that know only each other: a network name of their own, the
loopback address, free ports. It prints their homes, and stops them and removes
everything when it is interrupted. With a COMMAND it runs ` + "`muster COMMAND`" + ` in the
first of the homes instead of waiting, and gives its exit code.`,
		Example: "  muster devnet -n 4\n  muster devnet -n 4 -- run hello.wasm",
		Args: func(cmd *cobra.Command, args []string) error {
			switch dash := cmd.ArgsLenAtDash(); {
			case dash < 0:
				return noArguments(cmd, args)
			case dash > 0:
				return noArguments(cmd, args[:dash])
			case len(args) == 0:
				return errors.New("the command after -- is missing")
			}
			return nil
		},
		RunE: d.run,
	}
	cmd.Flags().IntVarP(&d.size, "nodes", "n", 3, "`N` daemons")
	cmd.Flags().BoolVar(&d.keep, "keep", false, "leave the homes behind")
	cmd.Flags().BoolVar(&d.weak, "accept-weak-isolation", true, "lend even where the sandbox cannot use namespaces; all programs are your own here")
	return cmd
}

func (d *devnet) run(cmd *cobra.Command, args []string) (err error) {
	if d.size < 1 || d.size > maxDevnet {
		return usagef("%d nodes; a devnet has 1 to %d", d.size, maxDevnet)
	}
	if err := errors.Join(fromEnvironment(cmd.Flags(), os.Getenv), checkFormat(d.a.global.output)); err != nil {
		return err
	}
	ctx, _, stop := d.a.until(cmd.Context())
	defer stop()
	d.name = "devnet-" + strings.ToLower(rand.Text()[:8])
	if d.dir, err = os.MkdirTemp("", "muster-devnet-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	if len(args) > 0 {
		return d.command(ctx, args)
	}
	if err := d.introduce(); err != nil {
		return err
	}
	return d.wait(ctx)
}

// start starts the first daemon, and with its addresses the others.
func (d *devnet) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the daemons did not start within %s", startTimeout))
	defer cancel()
	d.nodes = make([]*devnode, d.size)
	if err := d.startNode(ctx, 0, nil); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := 1; i < d.size; i++ {
		g.Go(func() error { return d.startNode(gctx, i, d.nodes[0].Addrs) })
	}
	return g.Wait()
}

func (d *devnet) startNode(ctx context.Context, i int, bootstrap []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	home := filepath.Join(d.dir, strconv.Itoa(i+1))
	if err := os.Mkdir(home, 0o700); err != nil {
		return err
	}
	args := []string{
		"daemon", "--home", home, "--network", d.name, "--no-mdns", "--listen", "/ip4/127.0.0.1/tcp/0", "-o", "json",
		"--until-eof", "--accept-weak-isolation=" + strconv.FormatBool(d.weak), "--log-level", orDefault(d.a.global.logLevel, "info"),
	}
	if len(bootstrap) > 0 {
		args = append(args, "--bootstrap", strings.Join(bootstrap, ","))
	}
	n := &devnode{cmd: exec.Command(self, args...), log: filepath.Join(home, "daemon.log"), done: make(chan struct{})}
	d.nodes[i] = n
	if err := n.start(ctx); err != nil {
		return fmt.Errorf("node %d: %w%s", i+1, err, n.lastWords())
	}
	return nil
}

// start starts the process and waits until it is ready.
func (n *devnode) start(ctx context.Context) error {
	log, err := os.Create(n.log)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd.Stderr = log
	n.cmd.Env = withoutSettings(os.Environ())
	apart(n.cmd)
	stdin, err := n.cmd.StdinPipe()
	if err != nil {
		return err
	}
	n.stdin = stdin
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	first := make(chan []byte, 1) // so that the reader never waits for us
	go func() {                   // ends with the process, for which stop waits
		defer close(n.done)
		r := bufio.NewReader(stdout)
		line, _ := r.ReadBytes('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r)
		_ = n.cmd.Wait()
	}()
	select {
	case line := <-first:
		if err := json.Unmarshal(line, &n.ready); err != nil {
			return errors.New("the daemon ended before it was ready")
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withoutSettings drops what is meant for the node of the command's own home.
func withoutSettings(env []string) []string {
	out := make([]string, 0, len(env))
	for _, e := range env {
		if !strings.HasPrefix(e, "MUSTER_") {
			out = append(out, e)
		}
	}
	return out
}

// lastWords gives the end of the daemon's log.
func (n *devnode) lastWords() string {
	b, err := os.ReadFile(n.log)
	if err != nil || len(b) == 0 {
		return ""
	}
	return "; the end of its log:\n" + strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}

// introduce prints what there is and how to use it.
func (d *devnet) introduce() error {
	all := make([]ready, len(d.nodes))
	for i, n := range d.nodes {
		all[i] = n.ready
	}
	return d.a.print(object{{"network", d.name}, {"nodes", all}}, func(w io.Writer) {
		g := columns("node", "id", "home")
		for i, n := range d.nodes {
			g.add(i+1, n.ID, n.Home)
		}
		fmt.Fprintf(w, "%s: %s\n", d.name, plural(d.size, "node"))
		g.write(w, d.a.color(w))
		fmt.Fprintf(w, "\nIn another terminal:\n  export MUSTER_HOME=%s\n  muster peer list\n  muster run PROGRAM.wasm\n\nCtrl-C stops everything", d.nodes[0].Home)
		if !d.keep {
			fmt.Fprint(w, " and removes it")
		}
		fmt.Fprintln(w, ".")
	})
}

// wait blocks until ctx ends, which is well, or a daemon does.
func (d *devnet) wait(ctx context.Context) error {
	ended := make(chan int, len(d.nodes)) // each says it once
	for i, n := range d.nodes {
		go func() { // ends with the process, for which stop waits
			<-n.done
			ended <- i
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case i := <-ended:
		return fmt.Errorf("node %d ended by itself%s", i+1, d.nodes[i].lastWords())
	}
}

// command runs muster in the first home.
func (d *devnet) command(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self, args...)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = stopTimeout
	c.Env = append(withoutSettings(os.Environ()), "MUSTER_HOME="+d.nodes[0].Home, "MUSTER_NETWORK="+d.name, "MUSTER_OUTPUT="+orDefault(d.a.global.output, "table"))
	c.Stdin, c.Stdout, c.Stderr = d.a.in, d.a.out, d.a.err
	err = c.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() > 0 {
		return &exitError{ended.ExitCode(), fmt.Errorf("`muster %s` ended with code %d", strings.Join(args, " "), ended.ExitCode())}
	}
	return err
}

// stop ends all daemons, by force those that take too long, and removes the
// homes.
func (d *devnet) stop() error {
	for _, n := range d.nodes {
		if n != nil && n.stdin != nil {
			n.stdin.Close()
		}
	}
	late := time.After(stopTimeout)
	for _, n := range d.nodes {
		if n == nil || n.cmd.Process == nil {
			continue
		}
		select {
		case <-n.done:
		case <-late:
			_ = n.cmd.Process.Kill()
			<-n.done
			late = time.After(0)
		}
	}
	if d.keep {
		fmt.Fprintf(d.a.err, "the homes are in %s\n", d.dir)
		return nil
	}
	return os.RemoveAll(d.dir)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
