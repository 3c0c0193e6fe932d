package e2e

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"slices"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
)

// A document is what `muster run -o json` prints, as far as the tests look.
type document struct {
	Job    summary `json:"job"`
	Stdout *string `json:"stdout"`
	Tasks  []task  `json:"tasks"`
	Reduce *task   `json:"reduce"`
}

type summary struct {
	ID                string  `json:"id"`
	State             string  `json:"state"`
	Reason            string  `json:"reason"`
	Tasks             int     `json:"tasks"`
	Accepted          int     `json:"accepted"`
	Verified          int     `json:"verified"`
	How               string  `json:"how"`
	ConfidenceReached float64 `json:"confidence_reached"`
	OutputRoot        string  `json:"output_root"`
	ExitCode          int     `json:"exit_code"`
	SubmittedMs       int64   `json:"submitted_ms"`
	EndedMs           int64   `json:"ended_ms"`
}

type task struct {
	Index      int         `json:"index"`
	State      string      `json:"state"`
	How        string      `json:"how"`
	Output     string      `json:"output"`
	Stdout     *string     `json:"stdout"`
	Executions []execution `json:"executions"`
}

type execution struct {
	ID     string `json:"id"`
	Peer   string `json:"peer"`
	Role   string `json:"role"`
	State  string `json:"state"`
	Reason string `json:"reason"`
}

// run runs a job that must be completed and gives its document.
func (h *home) run(args ...string) (d document) {
	h.t.Helper()
	h.json(&d, append([]string{"run"}, args...)...)
	return d
}

// by gives the executions of one peer.
func (d document) by(peer string) (es []execution) {
	for _, t := range d.Tasks {
		for _, e := range t.Executions {
			if e.Peer == peer {
				es = append(es, e)
			}
		}
	}
	return es
}

// A standing is one row of `muster trust list -o json`.
type standing struct {
	Peer         string  `json:"peer"`
	Lies         int     `json:"lies"`
	Availability float64 `json:"availability"`
	Executions   int     `json:"executions"`
	State        string  `json:"state"`
}

func (h *home) standings() (list []standing) {
	h.t.Helper()
	h.json(&list, "trust", "list")
	return list
}

func ids(ds ...*daemon) (out []string) {
	for _, d := range ds {
		out = append(out, d.id)
	}
	slices.Sort(out)
	return out
}

// api speaks to the node that has this home, as the command line does.
func (h *home) api() api.MusterClient {
	socket := filepath.Join(h.dir, "muster.sock")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}}
	h.t.Cleanup(client.CloseIdleConnections)
	return api.NewMusterClient(client, "http://muster")
}

// submit hands a job to the home's daemon and gives its id.
func (h *home) submit(args ...string) string {
	h.t.Helper()
	var out struct {
		Job string `json:"job"`
	}
	h.json(&out, append([]string{"job", "submit"}, args...)...)
	if out.Job == "" {
		h.t.Fatal("job submit printed no id")
	}
	return out.Job
}

// A watcher follows one job by the node's events, and sees to it that what was
// settled once stays as it was.
type watcher struct {
	h       *home
	job     string
	settled map[uint32]*api.Task
}

func (h *home) watch(job string) *watcher {
	return &watcher{h: h, job: job, settled: map[uint32]*api.Task{}}
}

// until waits for an event after which yes says so of the job as it then is.
func (w *watcher) until(what string, yes func(*api.DescribeJobResponse) bool) *api.DescribeJobResponse {
	w.h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), eventLimit)
	defer cancel()
	client := w.h.api()
	stream, err := client.WatchJob(ctx, connect.NewRequest(&api.WatchJobRequest{Job: w.job}))
	if err != nil {
		w.h.t.Fatalf("watch job: %v", err)
	}
	defer stream.Close()
	var last *api.DescribeJobResponse
	for stream.Receive() {
		resp, err := client.DescribeJob(ctx, connect.NewRequest(&api.DescribeJobRequest{Job: w.job}))
		if err != nil {
			w.h.t.Fatalf("describe job: %v", err)
		}
		last = resp.Msg
		w.check(last)
		if yes(last) {
			return last
		}
	}
	w.h.t.Fatalf("the job never got so far: %s; %v; it is now\n%v", what, stream.Err(), last)
	return nil
}

// completed waits for the end, which must be a good one.
func (w *watcher) completed() *api.DescribeJobResponse {
	w.h.t.Helper()
	d := w.until("an end", func(d *api.DescribeJobResponse) bool { return d.Job.EndedMs > 0 })
	if d.Job.State != "completed" {
		w.h.t.Fatalf("the job is %s (%s), want completed", d.Job.State, d.Job.Reason)
	}
	return d
}

// check compares settled tasks with what they were when they were settled: a
// result is accepted once.
func (w *watcher) check(d *api.DescribeJobResponse) {
	w.h.t.Helper()
	for _, t := range d.Tasks {
		if t.State != "verified" && t.State != "accepted" {
			if w.settled[t.Index] != nil {
				w.h.t.Fatalf("task %d was settled, and is %s now", t.Index, t.State)
			}
			continue
		}
		was := w.settled[t.Index]
		if was == nil {
			w.settled[t.Index] = t
			continue
		}
		if was.Output != t.Output || was.How != t.How || len(was.Executions) != len(t.Executions) {
			w.h.t.Fatalf("task %d was settled twice:\n%v\n%v", t.Index, was, t)
		}
	}
}

// executions gives all executions of a job that are in a state, of one peer if
// there is one.
func executions(d *api.DescribeJobResponse, state, peer string) (es []*api.Execution) {
	for _, t := range d.Tasks {
		for _, e := range t.Executions {
			if e.State == state && (peer == "" || e.Peer == peer) {
				es = append(es, e)
			}
		}
	}
	return es
}
