package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/node/api"
)

func TestAChartKeepsOnlyWhatItCouldDraw(t *testing.T) {
	c := newChart()
	run := func(n, peer int, state string, from, to int64) *api.Task {
		return &api.Task{Index: uint32(n), Executions: []*api.Execution{{
			Id: fmt.Sprint(n), Peer: fmt.Sprintf("peer%04d", peer), Role: "executor", State: state, CreatedMs: from, StartedMs: from, EndedMs: to,
		}}}
	}
	for n := range 20_000 {
		at := int64(n/400)*100 + 1
		c.take([]*api.Task{run(n, n%400, "running", at, 0)})
		c.take([]*api.Task{run(n, n%400, "answered", at, at+50)})
	}
	for n := range 5000 {
		c.take([]*api.Task{{Index: uint32(n), Executions: []*api.Execution{{Id: fmt.Sprint("w", n), State: "assigned", CreatedMs: 9000}}}})
	}
	if len(c.lanes) != maxLanes || len(c.spans) > maxLanes*maxLaneSpans+maxWaiting || c.waiting != maxWaiting || len(c.first) > maxWaiting {
		t.Errorf("got %d lanes, %d spans, %d waiting, %d first executors", len(c.lanes), len(c.spans), c.waiting, len(c.first))
	}
	one := newChart()
	for n := range 1000 {
		one.take([]*api.Task{run(n, 1, "answered", int64(n)*10+1, int64(n)*10+9)})
	}
	one.take([]*api.Task{run(3, 1, "answered", 31, 39)}) // told again, as after a reconnection
	if len(one.lanes) != 1 || len(one.spans) != maxLaneSpans || one.lanes[0].spans[0].task != 1000-maxLaneSpans {
		t.Errorf("got %d lanes, %d spans, the first of task %d", len(one.lanes), len(one.spans), one.lanes[0].spans[0].task)
	}
}

func TestAChartIsTheSameWhenItIsToldEverythingAgain(t *testing.T) {
	s := newShow(40, 3, showBegin)
	g := shown(s, 20_000, pen{})
	now := time.UnixMilli(showBegin + 20_000)
	before := g.frame(now, 100, 40).text(100, pen{})
	g.chart.take(s.at(20_000))
	if got := g.frame(now, 100, 40).text(100, pen{}); got != before {
		t.Errorf("got\n%s\nbefore\n%s", got, before)
	}
}

func TestASecondExecutorIsAHedgeWhileTheFirstIsInTouch(t *testing.T) {
	x := func(id, role, state string, created, ended int64) *api.Execution {
		return &api.Execution{Id: id, Role: role, State: state, CreatedMs: created, StartedMs: created, EndedMs: ended}
	}
	away := x("a", "executor", "running", 1, 0)
	away.Away = true
	for _, c := range []struct {
		name string
		told [][]*api.Execution
		want kind
	}{
		{"while the first runs", [][]*api.Execution{{x("a", "executor", "running", 1, 0)}, {x("b", "executor", "running", 5, 0)}}, hedge},
		{"told at once, when both are over", [][]*api.Execution{{x("a", "executor", "cancelled", 1, 9), x("b", "executor", "answered", 5, 9)}}, hedge},
		{"after the first failed", [][]*api.Execution{{x("a", "executor", "running", 1, 0)}, {x("a", "executor", "failed", 1, 3)}, {x("b", "executor", "running", 5, 0)}}, primary},
		{"because the first is out of touch", [][]*api.Execution{{away}, {x("b", "executor", "running", 5, 0)}}, primary},
		{"a checker", [][]*api.Execution{{x("a", "executor", "running", 1, 0)}, {x("b", "checker", "running", 5, 0)}}, checker},
		{"our own run", [][]*api.Execution{{x("a", "executor", "running", 1, 0)}, {x("b", "stand-in", "running", 5, 0)}}, own},
	} {
		ch := newChart()
		for _, told := range c.told {
			ch.take([]*api.Task{{Index: 3, Executions: told}})
		}
		if got := ch.spans["b"].kind; got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestFailuresAreSeenHoweverShortTheyWere(t *testing.T) {
	spans := []*span{
		{id: "a", state: "answered", started: 1000, ended: 2000}, {id: "b", state: "failed", started: 2000, ended: 2001},
		{id: "c", state: "answered", started: 2001, ended: 5000}, {id: "d", state: "answered", started: 5001, ended: 5002},
		{id: "e", state: "wrong", started: 5002, ended: 5003}, {id: "f", state: "running", started: 5003},
	}
	var b strings.Builder
	pen{ascii: true}.row(spans, newScale(0, 10_000, 10), 9000, true).write(&b, false)
	if got, want := b.String(), " =x|=!|==>"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAScaleFitsAndStandsStill(t *testing.T) {
	steps := map[int64]bool{}
	for end := int64(1); end < 100_000_000; end = end*11/10 + 1 {
		sc := newScale(0, end, 60)
		steps[sc.perCell] = true
		if got := sc.cell(end); got >= 60 || sc.perCell*60 < end {
			t.Errorf("%d ms in 60 cells of %d: the end is in cell %d", end, sc.perCell, got)
		}
	}
	if len(steps) > 60 {
		t.Errorf("got %d scales, want few", len(steps))
	}
}

func TestThePaceIsThatOfTheLastMinutes(t *testing.T) {
	begin := time.UnixMilli(showBegin)
	j := &api.JobSummary{Tasks: 1000, SubmittedMs: showBegin}
	var p pace
	for s := range 600 {
		if s < 300 { // nothing for five minutes, then two a second
			j.Verified = 0
		} else {
			j.Verified = uint32(2 * (s - 300))
		}
		p.add(begin.Add(time.Duration(s)*time.Second), j.Verified)
	}
	now := begin.Add(599 * time.Second)
	left, ok := p.left(j, now)
	if want := 201 * time.Second; !ok || left < want-5*time.Second || left > want+5*time.Second {
		t.Errorf("got %v (%v), want about %v", left, ok, want)
	}
	if len(p.seen) > paceSamples {
		t.Errorf("got %d samples, want at most %d", len(p.seen), paceSamples)
	}
	var fresh pace
	fresh.add(now, 0)
	if left, ok := fresh.left(&api.JobSummary{Tasks: 1, SubmittedMs: now.UnixMilli() - 30_000, Progress: 0.25}, now); !ok || left != 90*time.Second {
		t.Errorf("one task at a quarter after 30 s: got %v (%v), want 1m30s", left, ok)
	}
	if left, ok := fresh.left(&api.JobSummary{Tasks: 1, SubmittedMs: now.UnixMilli() - 30_000}, now); ok {
		t.Errorf("nothing is known: got %v", left)
	}
}
