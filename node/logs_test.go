package node

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/requester"
)

// progressGuest builds the guest that prints and tells how far it is.
func progressGuest(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "progress.wasm")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./e2e/guests/progress")
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// A reading is what a follower of one task has.
type reading struct {
	mu    sync.Mutex // guards all below
	text  bytes.Buffer
	live  int // bytes that came before the task was settled
	cut   uint64
	notes []string
	wrong string // how the stream is broken
}

func (r *reading) take(c *api.LogChunk) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Note != "" {
		r.notes = append(r.notes, c.Note)
		return nil
	}
	if at := uint64(r.text.Len()) + r.cut; c.Offset != at+c.Cut {
		r.wrong = "a gap, or the same again"
	}
	if c.Live {
		r.live += len(c.Data)
	}
	r.cut += c.Cut
	r.text.Write(c.Data)
	return nil
}

func (r *reading) hasLive() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live > 0
}

func (r *reading) noted(words string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Contains(strings.Join(r.notes, "\n"), words)
}

// follows has a follower read a job's task 0; over gives its error in the end.
func follows(t *testing.T, n *running, j *requester.Job) (r *reading, over chan error) {
	r, over = &reading{}, make(chan error, 1)
	go func() {
		over <- j.Logs(testContext(t), n.leaving, &api.JobLogsRequest{Follow: true}, r.take)
	}()
	return r, over
}

func talkingJob(t *testing.T, args ...string) *api.Job {
	job := small(t, "noop")
	job.Program = &api.Program{Wasm: progressGuest(t), Args: args}
	job.Resources = &api.Resources{Cpu: 1, Memory: 64 << 20, Disk: 16 << 20}
	job.TimeoutMs = 120_000
	return job
}

// lentAndAsked gives a provider, and a requester that knows it.
func lentAndAsked(t *testing.T) (provider, n *running) {
	t.Helper()
	network := randomNetwork()
	provider = startNode(t, testConfig(t, network))
	cfg := testConfig(t, network)
	cfg.Roles, cfg.Bootstrap = []string{RoleRequester}, []string{provider.info.Addrs[0]}
	return provider, startNode(t, cfg)
}

func TestARunningTaskIsHeard(t *testing.T) {
	provider, n := lentAndAsked(t)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: talkingJob(t, "-steps=80", "-work=25")}) // about four seconds
	r, over := follows(t, n, j)
	eventually(t, "the task is heard before it ends", r.hasLive)
	var text string
	eventually(t, "its progress is told", func() bool {
		task, sum := described(t, j).Tasks[0], j.Summary()
		if task.Progress == nil || task.Executions[0].Progress == nil || sum.Progress <= 0 || sum.Progress >= 1 {
			return false
		}
		text = task.Progress.Text
		return true
	})
	if !strings.HasPrefix(text, "step ") {
		t.Errorf("its guest says %q, want a step", text)
	}
	eventually(t, "the provider knows it, too", func() bool {
		gs := provider.provider.Guests()
		return len(gs) == 1 && gs[0].Progress.Fraction > 0
	})
	if s := ends(t, j); s.State != "completed" || s.Progress != 1 {
		t.Errorf("job %s (%s), progress %v", s.State, s.Reason, s.Progress)
	}
	if err := <-over; err != nil || r.wrong != "" {
		t.Fatalf("%v %s", err, r.wrong)
	}
	if got := r.text.String(); !strings.HasPrefix(got, "step 1 of 80\n") || strings.Count(got, "\n") != 81 {
		t.Errorf("%d lines were shown, want 81:\n%s", strings.Count(got, "\n"), got)
	}
	if !r.noted("word of one provider") || r.noted("differs") {
		t.Errorf("notes %q", r.notes)
	}
}

// TestAnOwnRunIsHeard: what runs on this node, too, and nobody is warned of it.
func TestAnOwnRunIsHeard(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	n := startNode(t, cfg)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: talkingJob(t, "-steps=40", "-work=25"), Local: true})
	r, over := follows(t, n, j)
	eventually(t, "the task is heard before it ends", r.hasLive)
	ends(t, j)
	if err := <-over; err != nil || r.wrong != "" || len(r.notes) > 0 {
		t.Fatalf("%v %s %q", err, r.wrong, r.notes)
	}
	if lines := strings.Count(r.text.String(), "\n"); lines != 41 {
		t.Errorf("%d lines were shown, want 41", lines)
	}
}

// TestAGuestThatPrintsAGigabyteIsCutAndSaysSo: its disk limit holds on both
// sides, and so does what is kept of what it prints while it runs.
func TestAGuestThatPrintsAGigabyteIsCutAndSaysSo(t *testing.T) {
	_, n := lentAndAsked(t)
	job := talkingJob(t, "-steps=1000", "-bytes=1048576", "-work=5") // until its disk is full
	j := submit(t, n.node, &api.SubmitJobRequest{Job: job})
	r, over := follows(t, n, j)
	largest := int64(0)
	eventually(t, "the job ends", func() bool {
		largest = max(largest, sizeOf(t, filepath.Join(n.cfg.tempPath(), "logs")))
		return j.Ended()
	})
	if err := <-over; err != nil || r.wrong != "" {
		t.Fatalf("%v %s", err, r.wrong)
	}
	if largest > 2*streamLog {
		t.Errorf("%d bytes were kept of what it printed, want at most %d", largest, 2*streamLog)
	}
	if total := uint64(r.text.Len()) + r.cut; total > job.Resources.Disk || total < job.Resources.Disk-64<<10 {
		t.Errorf("it printed %d bytes, want as much as fits into %d", total, job.Resources.Disk)
	}
	if !r.noted("what did not fit was not kept") {
		t.Errorf("notes %q; want one that says that something was cut", r.notes)
	}
	whole := &reading{}
	if err := j.Logs(testContext(t), n.leaving, &api.JobLogsRequest{}, whole.take); err != nil || whole.wrong != "" || whole.live > 0 {
		t.Errorf("in the end: %v %s, %d bytes not verified", err, whole.wrong, whole.live)
	}
	if total := uint64(r.text.Len()) + r.cut; uint64(whole.text.Len()) != total {
		t.Errorf("the verified output has %d bytes, want %d", whole.text.Len(), total)
	}
}

func sizeOf(t *testing.T, dir string) (total int64) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return nil
	})
	return total
}
