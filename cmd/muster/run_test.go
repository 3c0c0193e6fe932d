package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/mustermesh/muster/node/api"
)

func TestSplitInput(t *testing.T) {
	for in, want := range map[string][2]string{
		"books":                    {"books", "/in"},
		"./books:/data":            {"./books", "/data"},
		"a:b":                      {"a:b", "/in"},
		"a:b:/c":                   {"a:b", "/c"},
		"/a:/b:/c":                 {"/a:/b", "/c"},
		"https://h/p":              {"https://h/p", "/in"},
		"https://h:8080/p":         {"https://h:8080/p", "/in"},
		"https://h:8080/p:/in/dir": {"https://h:8080/p", "/in/dir"},
		fakeCID + ":/x":            {fakeCID, "/x"},
		fakeCID:                    {fakeCID, "/in"},
	} {
		source, target := splitInput(in)
		if got := [2]string{source, target}; got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// parseJob reads a command line as run does, in dir.
func parseJob(t *testing.T, dir, stdin string, args ...string) (*api.Job, error) {
	t.Helper()
	var job *api.Job
	var f jobFlags
	cmd := &cobra.Command{Use: "run", Args: programArgument, SilenceErrors: true, SilenceUsage: true, RunE: func(cmd *cobra.Command, args []string) (err error) {
		job, err = f.job(cmd, args, dir, strings.NewReader(stdin))
		return err
	}}
	f.register(cmd.Flags())
	cmd.SetArgs(args)
	return job, cmd.Execute()
}

func TestFlagsTakePrecedenceOverTheSpecification(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"p.bin": "", "q.wasm": "\x00asm\x01\x00\x00\x00", "x": "", "sub/y": "", "sub/job.yaml": `
name: old
program: {wasm: ../p.bin, args: [a], env: {A: "1", B: "2"}, stdin: ../x}
inputs: [{source: y, target: /y}]
outputs: [/old]
count: 2
resources: {cpu: 2, memory: 1MiB}
limits: {timeout: 1m}
verify: {confidence: 0.5}
labels: {k: v}
constraints: [a == b]
`,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	spec := &api.Job{
		Name: "old", Program: &api.Program{Wasm: at("p.bin"), Args: []string{"a"}, Env: map[string]string{"A": "1", "B": "2"}, Stdin: at("x")},
		Inputs: []*api.Input{{Source: at("sub/y"), Target: "/y"}}, Outputs: []string{"/old"}, Count: 2,
		Resources: &api.Resources{Cpu: 2, Memory: 1 << 20}, TimeoutMs: 60_000, Confidence: 0.5, HasConfidence: true,
		Labels: map[string]string{"k": "v"}, Constraints: []string{"a == b"},
	}
	change := func(by func(*api.Job)) *api.Job {
		j := proto.Clone(spec).(*api.Job)
		by(j)
		return j
	}
	for _, c := range []struct {
		name, args, stdin string
		want              *api.Job
	}{
		{"nothing changes anything", "sub/job.yaml", "", spec},
		{"a program alone", "q.wasm -- -x y", "", &api.Job{Program: &api.Program{Wasm: at("q.wasm"), Args: []string{"-x", "y"}}}},
		{"a program by CID", fakeCID, "", &api.Job{Program: &api.Program{Wasm: fakeCID}}},
		{"arguments are replaced", "sub/job.yaml -- b c", "", change(func(j *api.Job) { j.Program.Args = []string{"b", "c"} })},
		{"dashes alone take them away", "sub/job.yaml --", "", change(func(j *api.Job) { j.Program.Args = nil })},
		{"variables are merged", "sub/job.yaml --env B=3 --env C=", "", change(func(j *api.Job) { j.Program.Env = map[string]string{"A": "1", "B": "3", "C": ""} })},
		{"inputs are replaced", "sub/job.yaml -i x:/z -i https://h/p", "", change(func(j *api.Job) {
			j.Inputs = []*api.Input{{Source: at("x"), Target: "/z"}, {Source: "https://h/p", Target: "/in"}}
		})},
		{"a split beside the file's input", "sub/job.yaml --split lines:3 -n 0", "", change(func(j *api.Job) { j.Inputs[0].Split, j.Count = "lines:3", 0 })},
		{"resources one by one", "sub/job.yaml --memory 2MiB --gpu 1", "", change(func(j *api.Job) { j.Resources.Memory, j.Resources.Gpu = 2<<20, 1 })},
		{"limits", "sub/job.yaml --timeout 1h --queue-timeout 5s", "", change(func(j *api.Job) { j.TimeoutMs, j.QueueTimeoutMs = 3_600_000, 5000 })},
		{"no confidence is a wish too", "sub/job.yaml --confidence 0", "", change(func(j *api.Job) { j.Confidence = 0 })},
		{"a price", "sub/job.yaml --max-price 2.5", "", change(func(j *api.Job) { j.MaxPrice = 2.5 })},
		{"standard input instead of a file", "sub/job.yaml --stdin -", "abc", change(func(j *api.Job) {
			j.Program.Stdin, j.Program.StdinData, j.Program.HasStdinData = "", []byte("abc"), true
		})},
		{"a file for standard input", "q.wasm --stdin x", "", &api.Job{Program: &api.Program{Wasm: at("q.wasm"), Stdin: at("x")}}},
		{"a reduction", "q.wasm --reduce q.wasm --reduce-arg=-v", "", &api.Job{Program: &api.Program{Wasm: at("q.wasm")}, Reduce: &api.Program{Wasm: at("q.wasm"), Args: []string{"-v"}}}},
		{"the rest", "sub/job.yaml -O /new --name new --seed s --constraint c==d --label l=m --private", "", change(func(j *api.Job) {
			j.Outputs, j.Name, j.Seed, j.Constraints, j.Private = []string{"/new"}, "new", "s", []string{"c==d"}, true
			j.Labels["l"] = "m"
		})},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseJob(t, dir, c.stdin, strings.Fields(c.args)...)
			if err != nil {
				t.Fatal(err)
			}
			if !proto.Equal(got, c.want) {
				t.Errorf("got\n%s\nwant\n%s", prototext.Format(got), prototext.Format(c.want))
			}
		})
	}
}

func TestStdinIsBounded(t *testing.T) {
	_, err := parseJob(t, t.TempDir(), strings.Repeat("x", maxStdin+1), fakeCID, "--stdin", "-")
	if err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("got %v, want standard input refused", err)
	}
}

// A stage is an app in this process, with a fakeNode behind it and interrupts
// that the test sends.
type stage struct {
	app      *app
	node     *fakeNode
	out, err syncBuffer
	signals  chan os.Signal
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newStage(t *testing.T, own bool, stdin io.Reader, terminal bool) *stage {
	t.Helper()
	dir, err := os.MkdirTemp("", "m") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &stage{node: newFakeNode(), signals: make(chan os.Signal)}
	socket := filepath.Join(dir, "s")
	t.Cleanup(s.node.serve(t, socket))
	t.Setenv("FAKE_API", socket)
	t.Setenv("MUSTER_HOME", dir)
	if own {
		t.Setenv("FAKE_OWN", "1")
	}
	s.app = newApp(fakeMesh())
	s.app.in, s.app.out, s.app.err = stdin, &s.out, &s.err
	s.app.isTerminal = func(any) bool { return terminal }
	s.app.size = func() (int, int) { return 80, 24 }
	s.app.interrupts = func() (<-chan os.Signal, func()) { return s.signals, func() {} }
	return s
}

// run starts a command line and gives a channel for its exit code.
func (s *stage) run(args ...string) <-chan int {
	code := make(chan int, 1)
	go func() { code <- run(s.app, args) }()
	return code
}

func await[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(30 * time.Second):
		t.Fatalf("%s did not happen within 30 s", what)
	}
	return v
}

func (s *stage) send(t *testing.T) {
	t.Helper()
	select {
	case s.signals <- os.Interrupt:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody took the interrupt within 30 s")
	}
}

func TestAnInterruptWithoutATerminalCancelsTheJob(t *testing.T) {
	s := newStage(t, true, strings.NewReader(""), false)
	code := s.run("run", fakeCID, "--name", "slow")
	await(t, s.node.watched, "the watch")
	s.send(t)
	await(t, s.node.cancelled, "the cancel")
	if got := await(t, code, "the end"); got != exitError1 {
		t.Errorf("got exit code %d, want %d", got, exitError1)
	}
	if got := s.err.String(); !strings.Contains(got, "job bb000000 was cancelled") {
		t.Errorf("got %q, want that the job was cancelled", got)
	}
}

func TestAnInterruptOnATerminalAsks(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		own          bool
		asks         int
		code         int
		says         string
	}{
		{"cancel", "c\n", false, 1, exitError1, "[d]etach and let it run"},
		{"detach", "D\n", false, 1, exitOK, "job bb000000 goes on"},
		{"a client node says what detaching means there", "d\n", true, 1, exitOK, "[d]etach (no daemon runs here"},
		{"a client node leaves the job to the next one", "d\n", true, 1, exitOK, "job bb000000 is stored, and goes on when"},
		{"Enter goes on", "\nc\n", true, 2, exitError1, "cancelling job bb000000"},
		{"the end of the input cancels", "", false, 1, exitError1, "cancelling job bb000000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, c.own, iotest.OneByteReader(strings.NewReader(c.answer)), true)
			code := s.run("run", fakeCID, "--name", "slow")
			await(t, s.node.watched, "the watch")
			for range c.asks {
				s.send(t)
			}
			if got := await(t, code, "the end"); got != c.code {
				t.Errorf("got exit code %d, want %d", got, c.code)
			}
			if got := s.err.String(); !strings.Contains(got, c.says) {
				t.Errorf("got %q, want %q in it", got, c.says)
			}
		})
	}
}

func TestFilesStayInsideTheFolder(t *testing.T) {
	for _, evil := range []string{"../x", "/etc/x", "a/../../x", "a//b", "./a", "", ".", "..", "link/x", "a\x00b"} {
		t.Run(evil, func(t *testing.T) {
			outside := t.TempDir()
			dir := filepath.Join(t.TempDir(), "d")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Symlink(outside, filepath.Join(dir, "link"))); err != nil {
				t.Fatal(err)
			}
			f := &folder{dir: dir, force: true}
			err := f.take(&api.FileChunk{Path: evil, Size: 1, Data: []byte("x"), Last: true})
			if err := errors.Join(err, f.close()); err == nil {
				t.Errorf("%q: got no error", evil)
			}
			found, err := filepath.Glob(filepath.Join(outside, "*"))
			if err != nil || len(found) > 0 {
				t.Errorf("%q: got %q outside the folder (%v)", evil, found, err)
			}
		})
	}
}

func TestFilesAreWholeOrAnError(t *testing.T) {
	short := []*api.FileChunk{{Path: "a", Size: 3, Data: []byte("ab"), Last: true}}
	long := []*api.FileChunk{{Path: "a", Size: 1, Data: []byte("ab"), Last: true}}
	cut := []*api.FileChunk{{Path: "a", Size: 2, Data: []byte("a")}}
	next := []*api.FileChunk{{Path: "a", Size: 2, Data: []byte("a")}, {Path: "b", Size: 1, Data: []byte("b"), Last: true}}
	for name, chunks := range map[string][]*api.FileChunk{"short": short, "long": long, "cut off": cut, "next too early": next} {
		f := &folder{dir: filepath.Join(t.TempDir(), "d")}
		var err error
		for _, c := range chunks {
			err = errors.Join(err, f.take(c))
		}
		if err := errors.Join(err, f.close()); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	f := &folder{dir: filepath.Join(t.TempDir(), "d")}
	empty := &api.FileChunk{Path: "e/empty", Last: true}
	if err := errors.Join(f.take(empty), f.close()); err != nil {
		t.Errorf("an empty file: %v", err)
	}
	if b, err := os.ReadFile(filepath.Join(f.dir, "e/empty")); err != nil || len(b) != 0 {
		t.Errorf("got %q, %v, want an empty file", b, err)
	}
}

func TestFilesAreNotOverwritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &folder{dir: dir}
	if err := f.take(&api.FileChunk{Path: "b", Last: true}); err == nil {
		t.Error("got no error for a folder with files")
	}
	if got, _ := filepath.Glob(filepath.Join(dir, "*")); !slices.Equal(got, []string{filepath.Join(dir, "a")}) {
		t.Errorf("got %q, want the one file that was there", got)
	}
}

func TestUntilEndsAtTheFirstInterruptUnlessDeaf(t *testing.T) {
	a := &app{}
	signals := make(chan os.Signal, 1)
	a.interrupts = func() (<-chan os.Signal, func()) { return signals, func() {} }
	ctx, _, stop := a.until(context.Background())
	signals <- os.Interrupt
	await(t, ctx.Done(), "the end of ctx")
	if got := context.Cause(ctx).Error(); got != "stopped by interrupt" {
		t.Errorf("got cause %q", got)
	}
	stop()
	ctx, deaf, stop := a.until(context.Background())
	defer stop()
	deaf()
	signals <- os.Interrupt // stays in the buffer
	if ctx.Err() != nil {
		t.Error("ctx ended although deaf")
	}
}
