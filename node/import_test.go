package node

import (
	"bytes"
	"errors"
	"math"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
	"github.com/mustermesh/muster/proto"
)

func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestASpecificationThatIsWrongSaysWhatToDo: every mistake of a user is told
// apart from our own, in words that help.
func TestASpecificationThatIsWrongSaysWhatToDo(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.MaxProgram = 1 << 20
	n := startNode(t, cfg)
	dir := shortDir(t)
	text := write(t, dir+"/text", "one\ntwo\n")
	empty := write(t, dir+"/empty", "")
	component := write(t, dir+"/component.wasm", "\x00asm\x0d\x00\x01\x00")
	future := write(t, dir+"/future.wasm", "\x00asm\x09\x00\x00\x00")
	large := write(t, dir+"/large.wasm", "\x00asm\x01\x00\x00\x00"+strings.Repeat("x", 1<<20))
	os.MkdirAll(dir+"/linked", 0o755)
	os.Symlink("/etc/passwd", dir+"/linked/passwd")
	os.MkdirAll(dir+"/piped", 0o755)
	if err := syscall.Mkfifo(dir+"/piped/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	os.MkdirAll(dir+"/wired", 0o755)
	wire, err := net.Listen("unix", dir+"/wired/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer wire.Close()
	write(t, dir+"/latin/caf\xe9", "x")
	os.MkdirAll(dir+"/nothing", 0o755)
	input := func(source, target, split string) func(*api.Job) {
		return func(j *api.Job) { j.Inputs = []*api.Input{{Source: source, Target: target, Split: split}} }
	}

	for _, c := range []struct {
		name string
		job  func(*api.Job)
		says string
	}{
		{"no program", func(j *api.Job) { j.Program = nil }, "wasm: FILE"},
		{"an empty program", func(j *api.Job) { j.Program.Wasm = "" }, "wasm: FILE"},
		{"a program that does not exist", func(j *api.Job) { j.Program.Wasm = dir + "/none.wasm" }, "no such file"},
		{"a relative path", func(j *api.Job) { j.Program.Wasm = "none.wasm" }, "absolute"},
		{"a program that is a directory", func(j *api.Job) { j.Program.Wasm = dir }, ""},
		{"a program that is text", func(j *api.Job) { j.Program.Wasm = text }, "GOOS=wasip1"},
		{"an empty file for a program", func(j *api.Job) { j.Program.Wasm = empty }, "not a WebAssembly module"},
		{"a component", func(j *api.Job) { j.Program.Wasm = component }, "preview 1"},
		{"WebAssembly of another version", func(j *api.Job) { j.Program.Wasm = future }, "unknown version"},
		{"a program that is too large", func(j *api.Job) { j.Program.Wasm = large }, "at most"},
		{"confidence 1", func(j *api.Job) { j.Confidence = 1 }, "below 1"},
		{"confidence that rounds to 1", func(j *api.Job) { j.Confidence = 0.99999999 }, "confidence"},
		{"negative confidence", func(j *api.Job) { j.Confidence = -0.1 }, "below 1"},
		{"confidence that is no number", func(j *api.Job) { j.Confidence = math.NaN() }, "confidence"},
		{"a comparator that does not exist", func(j *api.Job) { j.Comparator = "fuzzy" }, "comparator"},
		{"too much fuel", func(j *api.Job) { j.Fuel = proto.MaxFuel + 1 }, "fuel"},
		{"a negative price", func(j *api.Job) { j.MaxPrice = -1 }, "negative"},
		{"a price that is no number", func(j *api.Job) { j.MaxPrice = math.NaN() }, "price"},
		{"an endless price", func(j *api.Job) { j.MaxPrice = math.Inf(1) }, "price"},
		{"a variable that is muster's", func(j *api.Job) { j.Program.Env = map[string]string{"MUSTER_TASK_INDEX": "1"} }, "muster's own"},
		{"a variable without a name", func(j *api.Job) { j.Program.Env = map[string]string{"": "1"} }, "variable name"},
		{"a variable with = in its name", func(j *api.Job) { j.Program.Env = map[string]string{"A=B": "1"} }, "variable name"},
		{"an argument with a zero byte", func(j *api.Job) { j.Program.Args = []string{"a\x00b"} }, ""},
		{"too many arguments", func(j *api.Job) { j.Program.Args = make([]string, proto.MaxArgs+1) }, ""},
		{"too many cores", func(j *api.Job) { j.Resources.Cpu = 1e9 }, "cpu"},
		{"cores that are no number", func(j *api.Job) { j.Resources.Cpu = math.Inf(1) }, "cpu"},
		{"negative cores", func(j *api.Job) { j.Resources.Cpu = -1 }, "cpu"},
		{"too much memory", func(j *api.Job) { j.Resources.Memory = 1 << 60 }, "memory"},
		{"a negative timeout", func(j *api.Job) { j.TimeoutMs = -1 }, "timeout"},
		{"a timeout of a year", func(j *api.Job) { j.TimeoutMs = 365 * 24 * 3600 * 1000 }, "timeout"},
		{"a timeout beyond all numbers", func(j *api.Job) { j.TimeoutMs = math.MaxInt64 }, "timeout"},
		{"a negative queue timeout", func(j *api.Job) { j.QueueTimeoutMs = -5 }, "queue"},
		{"an output that is relative", func(j *api.Job) { j.Outputs = []string{"out"} }, ""},
		{"an output that leaves the tree", func(j *api.Job) { j.Outputs = []string{"/out/../../etc"} }, ""},
		{"an output inside another", func(j *api.Job) { j.Outputs = []string{"/out", "/out/a"} }, ""},
		{"everything as output", func(j *api.Job) { j.Outputs = []string{"/"} }, ""},
		{"a constraint that makes no sense", func(j *api.Job) { j.Constraints = []string{"colour of blue"} }, ""},
		{"too many tasks", func(j *api.Job) { j.Count = proto.MaxTasks + 1 }, "at most"},
		{"a label with a line break", func(j *api.Job) { j.Labels = map[string]string{"a": "b\nc"} }, "label"},
		{"a name that is too long", func(j *api.Job) { j.Name = strings.Repeat("x", 129) }, "name"},
		{"a seed that is too long", func(j *api.Job) { j.Seed = strings.Repeat("x", 65) }, "seed"},
		{"an input that does not exist", input(dir+"/none", "", ""), "no such file"},
		{"a target with dots", input(text, "/in/../../x", ""), ".."},
		{"a relative target", input(text, "in", ""), "absolute"},
		{"the root as target", input(dir+"/nothing", "/", ""), ""},
		{"a target with a long name", input(text, "/in/"+strings.Repeat("x", 256), ""), "255"},
		{"a split of another kind", input(text, "", "words:3"), "known: files"},
		{"a split by no lines", input(text, "", "lines:0"), "at least 1"},
		{"a split by how many lines?", input(text, "", "lines"), "known: files"},
		{"a split that is no number", input(text, "", "files:many"), "at least 1"},
		{"lines of a directory", input(dir+"/nothing", "", "lines:1"), "directory"},
		{"files of an empty directory", input(dir+"/nothing", "", "files"), "nothing to split"},
		{"lines of an empty file", input(empty, "", "lines:1"), "nothing to split"},
		{"a link inside an input", input(dir+"/linked", "", ""), "passwd"},
		{"a pipe inside an input", input(dir+"/piped", "", ""), "fifo"},
		{"a socket inside an input", input(dir+"/wired", "", ""), "socket"},
		{"a pipe as input", input(dir+"/piped/fifo", "", ""), "fifo"},
		{"a device as input", input("/dev/zero", "", ""), "/dev/zero"},
		{"a name that is not UTF-8", input(dir+"/latin", "", ""), "UTF-8"},
		{"two inputs in one place", func(j *api.Job) {
			j.Inputs = []*api.Input{{Source: text, Target: "/in/a"}, {Source: empty, Target: "/in/a"}}
		}, "input"},
		{"an input inside another", func(j *api.Job) {
			j.Inputs = []*api.Input{{Source: text, Target: "/in"}, {Source: empty, Target: "/in/a"}}
		}, "input"},
		{"two splits", func(j *api.Job) {
			j.Inputs = []*api.Input{{Source: text, Target: "/a", Split: "lines:1"}, {Source: text, Target: "/b", Split: "lines:1"}}
		}, "only one"},
		{"a count beside a split", func(j *api.Job) {
			j.Count = 7
			j.Inputs = []*api.Input{{Source: text, Target: "/a", Split: "lines:1"}}
		}, "leave count out"},
		{"a directory as standard input", func(j *api.Job) { j.Program.Stdin = dir + "/nothing" }, "directory"},
		{"a reduction that is no program", func(j *api.Job) { j.Reduce = &api.Program{Wasm: text} }, "reduce"},
	} {
		job := small(t, "noop")
		c.job(job)
		_, err := n.requester.Submit(testContext(t), &api.SubmitJobRequest{Job: job}, nil)
		if !errors.Is(err, requester.ErrSpecification) {
			t.Errorf("%s: %v, want an error of the specification", c.name, err)
		} else if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q does not say %q", c.name, err, c.says)
		}
	}
	if jobs := n.requester.List(); len(jobs) != 0 {
		t.Errorf("%d jobs were accepted", len(jobs))
	}
	if left := n.pins(t, ""); len(left) != 0 {
		t.Errorf("pins are left behind: %v", left)
	}
}

func TestSplitsGiveOneTaskPerPiece(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	dir := shortDir(t)
	lines := write(t, dir+"/lines", "1\n2\n3\n4\n5")
	for i := range 4 {
		write(t, dir+"/many/"+string(rune('a'+i)), strings.Repeat("x", 10+i))
	}
	for _, c := range []struct {
		split, source string
		count         uint32
		tasks         int
	}{
		{"lines:2", lines, 0, 3}, {"lines:99", lines, 0, 1}, {"lines:1", lines, 5, 5},
		{"files", dir + "/many", 0, 4}, {"files:2", dir + "/many", 0, 2}, {"files:9", dir + "/many", 0, 4}, {"files", lines, 0, 1},
		{"", dir + "/many", 3, 3},
	} {
		job := small(t, "noop")
		job.Count, job.Inputs = c.count, []*api.Input{{Source: c.source, Target: "/in", Split: c.split}}
		j, err := n.requester.Submit(testContext(t), &api.SubmitJobRequest{Job: job, ValidateOnly: true}, nil)
		if err != nil {
			t.Errorf("split %q: %v", c.split, err)
			continue
		}
		if got := len(j.Specification().Tasks); got != c.tasks {
			t.Errorf("split %q of %s: %d tasks, want %d", c.split, filepath.Base(c.source), got, c.tasks)
		}
		same := len(j.Specification().Tasks) > 1 && j.Specification().Tasks[0].Input == j.Specification().Tasks[1].Input
		if same != (c.split == "" && c.tasks > 1) {
			t.Errorf("split %q: the first two tasks have one input: %v", c.split, same)
		}
	}
	if jobs := n.requester.List(); len(jobs) != 0 {
		t.Errorf("validating alone submitted %d jobs", len(jobs))
	}
}

// TestAMegabyteOfStandardInputIsTaken: what a command reads from its own.
func TestAMegabyteOfStandardInputIsTaken(t *testing.T) {
	n := startNode(t, testConfig(t, randomNetwork()))
	job := small(t, "noop")
	job.Program.HasStdinData, job.Program.StdinData = true, bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: job, Local: true})
	if s := ends(t, j); s.State != "completed" {
		t.Errorf("%s: %s", s.State, s.Reason)
	}
	if j.Specification().Tasks[0].Stdin.IsZero() {
		t.Error("the task has no standard input")
	}
}

// TestAProgramThatNoMachineRunsIsItsOwnFailure: told by the sandbox, not by us,
// and not tried elsewhere.
func TestAProgramThatNoMachineRunsIsItsOwnFailure(t *testing.T) {
	network := randomNetwork()
	provider := startNode(t, testConfig(t, network))
	cfg := testConfig(t, network)
	cfg.Roles, cfg.Bootstrap = []string{RoleRequester}, provider.info.Addrs[:1]
	n := startNode(t, cfg)
	broken := write(t, shortDir(t)+"/broken.wasm", "\x00asm\x01\x00\x00\x00\x01\xff\xff\xff")
	for name, wasm := range map[string]string{"an unknown import": guest(t, "badimport"), "no entry": guest(t, "library"), "a broken module": broken} {
		job := small(t, "noop")
		job.Program.Wasm, job.Confidence = wasm, 0
		s := ends(t, submit(t, n.node, &api.SubmitJobRequest{Job: job}))
		if s.State != "failed" || s.Failed != 1 {
			t.Errorf("%s: job %s (%s), %d failed; want failed, 1", name, s.State, s.Reason, s.Failed)
		}
	}
	for _, j := range n.requester.List() {
		task := settledTask(t, j, 0)
		if task.Outcome != proto.OutcomeInvalid.String() || task.Trap == "" || len(task.Executions) != 1 {
			t.Errorf("outcome %q, reason %q, %d executions; want %s, a reason, 1", task.Outcome, task.Trap, len(task.Executions), proto.OutcomeInvalid)
		}
		local := submit(t, n.node, &api.SubmitJobRequest{Job: described(t, j).Spec, Local: true})
		ends(t, local)
		if own := settledTask(t, local, 0); own.Output != task.Output || own.Trap != task.Trap {
			t.Errorf("locally %q %s, on a provider %q %s; want the same", own.Trap, own.Output, task.Trap, task.Output)
		}
	}
	if st := n.ledger.Standing(n.Now(), provider.Self); st.Lies != 0 || n.struck() != 0 {
		t.Errorf("the provider is blamed: %d lies, %d breaches", st.Lies, n.struck())
	}
}
