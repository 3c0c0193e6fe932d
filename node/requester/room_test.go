package requester

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// wantRecord checks that a record has room on disk, and reads it into v.
func wantRecord(t *testing.T, record []byte, v any) {
	t.Helper()
	if len(record) > maxRoom {
		t.Errorf("a record of %d bytes, want at most %d", len(record), maxRoom)
	}
	db, err := store.Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var b store.Batch
	b.Put([]byte("j/x"), record)
	if err := db.Commit(t.Context(), &b, store.Lazy); err != nil {
		t.Fatal(err)
	}
	got, err := db.Get([]byte("j/x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, v); err != nil {
		t.Fatal(err)
	}
}

// What strangers may say: of the greatest length, and longer still as JSON.
var nasty = map[string]string{
	"brackets": strings.Repeat("<", 512), "controls": strings.Repeat("\x01", 512), "not text": strings.Repeat("\xff", 512),
}

func TestAnExplanationHasRoomWhateverPeersSay(t *testing.T) {
	for name, says := range nasty {
		t.Run(name, func(t *testing.T) {
			x := scheduler.Explanation{Why: strings.Repeat(says, 100), Change: []string{says, says}}
			const peers = 700
			for n := range peers {
				x.Peers = append(x.Peers, scheduler.PeerWhy{
					Peer: proto.PeerID{1, byte(n), byte(n >> 8)}, Verdict: scheduler.PeerRefused, Detail: says, Change: says, Heard: time.Now(), Given: n,
				})
			}
			v, err := marshalExplanation(x)
			if err != nil {
				t.Fatal(err)
			}
			var got scheduler.Explanation
			wantRecord(t, v, &got)
			if len(got.Peers)+got.Left != peers || len(got.Peers) < 100 || len(x.Peers) != peers || x.Peers[0].Detail != says {
				t.Errorf("%d peers are on record and %d left out, of %d", len(got.Peers), got.Left, peers)
			}
			for n, p := range got.Peers {
				if p.Given != n {
					t.Fatalf("peer %d is on record in place of peer %d: the first matter most", p.Given, n)
				}
			}
		})
	}
}

// troubledTask is a task with so many failures, and twice as many refusals.
func troubledTask(failures int, says string) (v scheduler.TaskView) {
	for n := range 3 * failures {
		x := scheduler.ExecView{
			ID: proto.ExecutionID{1, byte(n), byte(n >> 8)}, Peer: proto.PeerID{1, byte(n)}, Role: scheduler.RoleExecutor,
			State: scheduler.ExecDeclined, Reason: says, Created: time.Now(),
		}
		if n%3 == 0 {
			x.State, x.Cause = scheduler.ExecFailed, proto.ReasonTimeout
		}
		v.Executions = append(v.Executions, x)
	}
	return v
}

func TestATaskHasRoomHoweverOftenItFailed(t *testing.T) {
	for name, says := range nasty {
		t.Run(name, func(t *testing.T) {
			written := troubledTask(1000, says)
			v, err := marshalTask(written)
			if err != nil {
				t.Fatal(err)
			}
			var got scheduler.TaskView
			wantRecord(t, v, &got)
			if got.Failures() != 1000 || got.Cut.Other != 2000 || got.Cut.TimedOut != got.Cut.Failed {
				t.Errorf("%d failures are on record, and %+v", got.Failures(), got.Cut)
			}
			last := got.Executions[len(got.Executions)-1]
			if last.ID != written.Executions[2997].ID || len(last.Reason) == 0 || written.Executions[0].Reason != says {
				t.Errorf("the last on record is %s, want the failure that was the last", last.ID)
			}
			j := scheduler.NewJob(time.Now(), scheduler.JobConfig{Tasks: 1, Retries: 1001})
			j.RestoreFailures(got)
			again, err := marshalTask(j.Task(0))
			if err != nil {
				t.Fatal(err)
			}
			wantRecord(t, again, &got)
			if got.Failures() != 1000 || j.Task(0).Failures() != 1000 {
				t.Errorf("%d failures, and %d on record again; want 1000", j.Task(0).Failures(), got.Failures())
			}
		})
	}
}

func TestARecordKeepsTheAnswerThatItRestsOn(t *testing.T) {
	v := troubledTask(1000, nasty["brackets"])
	v.Executions[0].State = scheduler.ExecAnswered
	v.Settlement = &scheduler.Settlement{State: scheduler.TaskAccepted, Winner: v.Executions[0].ID, How: strings.Repeat("<", 1<<20)}
	record, err := marshalTask(v)
	if err != nil {
		t.Fatal(err)
	}
	var got scheduler.TaskView
	wantRecord(t, record, &got)
	if got.Executions[0].ID != v.Settlement.Winner || got.Settlement.Winner != v.Settlement.Winner || len(v.Settlement.How) != 1<<20 {
		t.Errorf("%s is the first on record, want the winner", got.Executions[0].ID)
	}
}

func TestShorten(t *testing.T) {
	for _, c := range []struct {
		text string
		most int
		want string
	}{{"", 4, ""}, {"four", 4, "four"}, {"fives", 4, "f…"}, {"aéé", 4, "a…"}, {"ééé", 4, "…"}} {
		if got := shorten(c.text, c.most); got != c.want || len(got) > c.most || !utf8.ValidString(got) {
			t.Errorf("shorten(%q, %d) = %q, want %q", c.text, c.most, got, c.want)
		}
	}
}
