package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mustermesh/muster/executor"
)

// How long things may take before a test gives up on them. They are there to
// end a test that hangs, not to measure.
const (
	startLimit   = 30 * time.Second
	stopLimit    = 30 * time.Second
	commandLimit = 120 * time.Second
	eventLimit   = 90 * time.Second
)

// built is where TestMain put what the tests run.
var built struct {
	dir    string // everything of this run is below it
	muster string
	bin    string // programs for this machine
	guests string // programs for the sandbox, without .wasm
	goroot string
}

func TestMain(m *testing.M) {
	executor.ChildMain()
	if kind := os.Getenv(kindVar); kind != "" {
		os.Exit(runNode(kind))
	}
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) (code int) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	code = m.Run()
	if left := leftovers(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: left behind by the tests:\n  %s\n", strings.Join(left, "\n  "))
		code = max(code, 1)
	}
	if err := os.RemoveAll(built.dir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	return code
}

// build makes the programs under test and the guests.
func build() (err error) {
	if built.dir, err = os.MkdirTemp("", "muster-e2e-"); err != nil {
		return err
	}
	built.bin, built.guests = filepath.Join(built.dir, "bin"), filepath.Join(built.dir, "guests")
	built.muster = filepath.Join(built.bin, "muster")
	for _, dir := range []string{built.bin, built.guests, tempDir(), userDir()} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env GOROOT: %w", err)
	}
	built.goroot = strings.TrimSpace(string(root))
	var g errgroup.Group
	g.Go(func() error {
		return goBuild("..", nil, built.bin, "./cmd/muster", "./examples/wordcount", "./examples/wordcount/check", "./e2e/soak")
	})
	g.Go(func() error {
		return goBuild("..", forGuests, built.guests, "./e2e/guests/cat", "./e2e/guests/chaos", "./e2e/guests/crash", "./e2e/guests/progress", "./e2e/guests/rotate",
			"./examples/wordcount", "./examples/wordcount/merge")
	})
	return g.Wait()
}

var forGuests = []string{"GOOS=wasip1", "GOARCH=wasm"}

// goBuild builds packages, as seen from dir, into the folder to.
func goBuild(dir string, env []string, to string, packages ...string) error {
	cmd := exec.Command("go", append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", to + string(filepath.Separator)}, packages...)...)
	cmd.Dir, cmd.Env = dir, append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return nil
}

// Folders that every process under test is given as its own, and that must be
// empty at the end.
func tempDir() string { return filepath.Join(built.dir, "tmp") }
func userDir() string { return filepath.Join(built.dir, "user") }

// leftovers lists processes and files that should be gone.
func leftovers() (left []string) {
	for _, dir := range []string{tempDir(), userDir()} {
		files, err := os.ReadDir(dir)
		if err != nil {
			left = append(left, err.Error())
		}
		for _, f := range files {
			left = append(left, filepath.Join(dir, f.Name()))
		}
	}
	gone := poll(stopLimit, func() bool { return len(ourProcesses()) == 0 })
	if !gone {
		left = append(left, ourProcesses()...)
	}
	return left
}

// ourProcesses lists the processes that run what this run built, or this test
// binary; it sees them only where there is a /proc.
func ourProcesses() (found []string) {
	self, _ := os.Executable()
	entries, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, entry := range entries {
		exe, err := os.Readlink(entry)
		pid := filepath.Base(filepath.Dir(entry))
		if err != nil || pid == fmt.Sprint(os.Getpid()) {
			continue
		}
		if strings.HasPrefix(exe, built.dir) || exe == self {
			line, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			found = append(found, fmt.Sprintf("process %s: %q", pid, line))
		}
	}
	return found
}

// poll asks until it gets a yes. It is for what sends no event: processes that
// end, and files.
func poll(limit time.Duration, yes func() bool) bool {
	deadline := time.After(limit)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !yes() {
		select {
		case <-tick.C:
		case <-deadline:
			return yes()
		}
	}
	return true
}

// A mesh is a network of this test's own: a random name, the loopback address,
// free ports, no mDNS, and homes below one folder.
type mesh struct {
	t       *testing.T
	dir     string
	network string
	boot    *daemon // whom new nodes know; nil: nobody
}

// newMesh makes a mesh whose only node is a bootstrap node.
func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := emptyMesh(t)
	m.boot = m.daemon("boot", "--role", "bootstrap")
	return m
}

// emptyMesh makes a mesh without any node.
func emptyMesh(t *testing.T) *mesh {
	t.Helper()
	dir, err := os.MkdirTemp(built.dir, "m")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return &mesh{t: t, dir: dir, network: "e2e-" + strings.ToLower(rand.Text()[:10])}
}

// A home is one node's folder.
type home struct {
	m    *mesh
	t    *testing.T
	name string
	dir  string
	env  []string // besides what all have
}

func (m *mesh) home(name string) *home {
	return &home{m: m, t: m.t, name: name, dir: filepath.Join(m.dir, name)}
}

// environ gives everything that a process with this home may know.
func (h *home) environ() []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + userDir(), "TMPDIR=" + tempDir(),
		"MUSTER_HOME=" + h.dir, "MUSTER_NETWORK=" + h.m.network, "MUSTER_NO_MDNS=true",
		"MUSTER_LISTEN=/ip4/127.0.0.1/tcp/0,/ip4/127.0.0.1/udp/0/quic-v1",
	}
	if h.m.boot != nil {
		env = append(env, "MUSTER_BOOTSTRAP="+strings.Join(h.m.boot.addrs, ","))
	}
	return append(env, h.env...)
}

// A daemon is a running node.
type daemon struct {
	*home
	cmd     *exec.Cmd
	id      string
	addrs   []string
	ready   time.Time
	done    chan struct{} // closed when the process has ended
	release func()        // lets a gated node go on
}

// daemon starts `muster daemon` in a new home, and waits until it serves.
func (m *mesh) daemon(name string, args ...string) *daemon {
	m.t.Helper()
	return m.home(name).start(args...)
}

func (m *mesh) provider(name string) *daemon {
	m.t.Helper()
	return m.daemon(name, "--role", "provider")
}

func (m *mesh) requester(name string) *daemon {
	m.t.Helper()
	return m.daemon(name, "--role", "requester")
}

func (h *home) start(args ...string) *daemon {
	h.t.Helper()
	return h.startAs(built.muster, args...)
}

// startAs starts the daemon of another build of muster.
func (h *home) startAs(muster string, args ...string) *daemon {
	h.t.Helper()
	args = append([]string{"daemon", "-o", "json", "--cpu", "2", "--slots", "2", "--memory", "4GiB", "--accept-weak-isolation", "--until-eof"}, args...)
	return h.launch(exec.Command(muster, args...))
}

// node starts a node that this test binary is itself, of one of the kinds in
// node_test.go.
func (m *mesh) node(name, kind string) *daemon {
	m.t.Helper()
	h := m.home(name)
	h.env = []string{kindVar + "=" + kind}
	return h.launch(exec.Command(selfPath(m.t)))
}

func selfPath(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

// again starts a node of a kind of its own once more, in its home, at the
// addresses that it had.
func (d *daemon) again() *daemon {
	d.t.Helper()
	var listen []string
	for _, a := range d.addrs {
		addr, _, _ := strings.Cut(a, "/p2p/")
		listen = append(listen, addr)
	}
	d.env = append(d.env, "MUSTER_LISTEN="+strings.Join(listen, ","))
	return d.launch(exec.Command(d.cmd.Path))
}

// launch starts a node's process and waits for the line that says it is ready.
func (h *home) launch(cmd *exec.Cmd) *daemon {
	h.t.Helper()
	d := &daemon{home: h, cmd: cmd, done: make(chan struct{})}
	cmd.Env, cmd.Dir = h.environ(), h.m.dir
	log, err := os.OpenFile(h.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		h.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		h.t.Fatal(err)
	}
	d.release = func() { _, _ = stdin.Write([]byte("\n")) }
	h.t.Cleanup(d.tidy)
	said := make(chan error, 1) // so that the reader never waits
	go func() {                 // ends with the process, for which tidy waits
		defer close(d.done)
		said <- d.hear(stdout)
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
	}()
	select {
	case err := <-said:
		if err != nil {
			h.t.Fatalf("%s is not ready: %v", h.name, err)
		}
	case <-time.After(startLimit):
		_ = cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, into the log
		h.t.Fatalf("%s is not ready after %s", h.name, startLimit)
	}
	return d
}

func (d *daemon) hear(stdout io.Reader) error {
	var line struct {
		ID    string   `json:"id"`
		Addrs []string `json:"addrs"`
	}
	err := json.NewDecoder(stdout).Decode(&line)
	d.id, d.addrs, d.ready = line.ID, line.Addrs, time.Now()
	return err
}

func (h *home) logPath() string { return filepath.Join(h.m.dir, h.name+".log") }

// stop ends the node with a signal, and waits until it is gone.
func (d *daemon) stop(how os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(how); err != nil {
		d.t.Fatalf("signal %s: %v", d.name, err)
	}
	select {
	case <-d.done:
	case <-time.After(stopLimit):
		d.t.Fatalf("%s still runs %s after %v", d.name, stopLimit, how)
	}
}

// kill ends the node as a crash does.
func (d *daemon) kill() {
	d.t.Helper()
	d.stop(os.Kill)
}

// gone tells whether the process has ended.
func (d *daemon) gone() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// tidy ends the node at the end of the test, and looks at what it left.
func (d *daemon) tidy() {
	if !d.gone() {
		d.release()
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-d.done:
			if code := d.cmd.ProcessState.ExitCode(); code != 0 {
				d.t.Errorf("%s ended with code %d after SIGTERM, want 0", d.name, code)
			}
		case <-time.After(stopLimit):
			_ = d.cmd.Process.Kill()
			<-d.done
			d.t.Errorf("%s still ran %s after SIGTERM", d.name, stopLimit)
		}
	}
	log, err := os.ReadFile(d.logPath())
	if err != nil {
		d.t.Error(err)
	}
	if bytes.Contains(log, []byte("panic:")) || bytes.Contains(log, []byte("level=ERROR")) {
		d.t.Errorf("the log of %s has an error or a panic", d.name)
	}
	if d.t.Failed() {
		d.t.Logf("the log of %s (%s):\n%s", d.name, d.id, log[max(0, len(log)-4000):])
	}
}

// A said is what a command printed, and its exit code.
type said struct {
	stdout, stderr string
	code           int
}

// muster runs a command in this home.
func (h *home) muster(args ...string) said {
	h.t.Helper()
	return h.feed(nil, args...)
}

// feed runs a command with something on its standard input.
func (h *home) feed(stdin io.Reader, args ...string) said {
	h.t.Helper()
	out, err := h.try(stdin, args...)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// try is feed for other goroutines than the test's.
func (h *home) try(stdin io.Reader, args ...string) (said, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.muster, args...)
	cmd.Env, cmd.Dir, cmd.Stdin = h.environ(), h.m.dir, stdin
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	out := said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	var ended *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &ended) {
		return out, fmt.Errorf("muster %s: %w after %s\n%s", strings.Join(args, " "), err, commandLimit, out.stderr)
	}
	return out, nil
}

// json runs a command that must succeed and decodes what it prints.
func (h *home) json(v any, args ...string) {
	h.t.Helper()
	h.decode(h.muster(append([]string{"-o", "json"}, args...)...), 0, v)
}

func (h *home) decode(out said, code int, v any) {
	h.t.Helper()
	if out.code != code {
		h.t.Fatalf("exit code %d, want %d; stderr:\n%s", out.code, code, out.stderr)
	}
	if err := json.Unmarshal([]byte(out.stdout), v); err != nil {
		h.t.Fatalf("-o json: %v in\n%s", err, out.stdout)
	}
}

// guest gives the path of a guest: one written in WebAssembly text, which needs
// no time to compile, or one of those that TestMain built.
func guest(t *testing.T, name string) string {
	t.Helper()
	small, err := filepath.Abs(filepath.Join("guests", name+".wasm"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(small); err == nil {
		return small
	}
	return filepath.Join(built.guests, name)
}

// timeoutKill ends a command that takes too long; stop ends the watch over it.
func timeoutKill(cmd *exec.Cmd) (stop func()) {
	hung := time.AfterFunc(commandLimit, func() { _ = cmd.Process.Kill() })
	return func() { hung.Stop() }
}
