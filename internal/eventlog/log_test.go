package eventlog

import (
	"strings"
	"sync"
	"testing"
	"time"
)

var start = time.UnixMilli(1_700_000_000_000)

func fill(l *Log, n int) (last uint64) {
	for i := range n {
		last = l.Add(Event{Kind: Task, Task: i})
	}
	return last
}

// tasks reads all pages behind a number.
func tasks(l *Log, after uint64) (got []int, gap bool) {
	for first := true; ; first = false {
		p := l.After(after)
		gap = gap || p.Gap && first
		for _, e := range p.Events {
			got = append(got, e.Task)
			after = e.Sequence
		}
		if p.More != nil {
			return got, gap
		}
	}
}

func TestNumbersGrowByOneAndOverRestarts(t *testing.T) {
	l := New(4, start)
	first := l.Add(Event{})
	if second := l.Add(Event{}); second != first+1 {
		t.Errorf("after %d comes %d, want %d", first, second, first+1)
	}
	last := fill(l, 1000)
	if got := l.Last(); got != last {
		t.Errorf("the last is %d, want %d", got, last)
	}
	if again := New(4, start.Add(time.Second)).Add(Event{}); again <= last {
		t.Errorf("after a restart a second later %d comes after %d", again, last)
	}
}

func TestAReaderGoesOnWhereItStopped(t *testing.T) {
	l := New(1000, start)
	fill(l, 600)
	base := l.Last() - 600
	for _, c := range []struct {
		name  string
		after uint64
		first int
		count int
		gap   bool
	}{
		{"from the oldest that is kept", 0, 0, 600, false},
		{"from before the first of this run", base - 5, 0, 600, true},
		{"from the very beginning", base, 0, 600, false},
		{"from the middle", base + 100, 100, 500, false},
		{"from the end", base + 600, 0, 0, false},
		{"from beyond the end", base + 700, 0, 0, false},
	} {
		got, gap := tasks(l, c.after)
		if len(got) != c.count || gap != c.gap || c.count > 0 && (got[0] != c.first || got[len(got)-1] != 599) {
			t.Errorf("%s: %d events, gap %v; want %d from %d, gap %v", c.name, len(got), gap, c.count, c.first, c.gap)
		}
	}
}

func TestTheOldestGoAndTheGapIsTold(t *testing.T) {
	l := New(8, start)
	fill(l, 20)
	base := l.Last() - 20
	for _, c := range []struct {
		after uint64
		first int
		gap   bool
	}{{0, 12, false}, {base + 3, 12, true}, {base + 12, 12, false}, {base + 11, 12, true}, {base + 15, 15, false}} {
		got, gap := tasks(l, c.after)
		if len(got) == 0 || got[0] != c.first || got[len(got)-1] != 19 || gap != c.gap {
			t.Errorf("after %d: %v, gap %v; want from %d to 19, gap %v", c.after-base, got, gap, c.first, c.gap)
		}
	}
}

func TestEveryFollowerHearsOfEveryEvent(t *testing.T) {
	l := New(5000, start)
	const events, readers = 2000, 4
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() {
			after, seen := uint64(0), 0
			for seen < events {
				p := l.After(after)
				for _, e := range p.Events {
					if e.Task != seen {
						t.Errorf("event %d, want %d", e.Task, seen)
						return
					}
					seen, after = seen+1, e.Sequence
				}
				if p.More != nil && seen < events {
					<-p.More
				}
			}
		})
	}
	fill(l, events)
	wg.Wait()
}

func TestALongTextIsCut(t *testing.T) {
	l := New(1, start)
	l.Add(Event{Text: strings.Repeat("é", MaxText)})
	if got := l.After(0).Events[0].Text; len(got) > MaxText || !strings.HasPrefix(got, "éé") || !strings.HasPrefix(strings.Repeat("é", MaxText), got) {
		t.Errorf("the text has %d bytes: %q", len(got), got)
	}
}

// BenchmarkAdd: nobody listens.
func BenchmarkAdd(b *testing.B) {
	l := New(8192, start)
	b.ReportAllocs()
	for b.Loop() {
		l.Add(Event{Kind: Task, State: "verified", Text: "1 independent checker agreed"})
	}
}

func TestAddingAllocatesNothingWhenNobodyListens(t *testing.T) {
	l := New(64, start)
	if n := testing.AllocsPerRun(1000, func() { l.Add(Event{Kind: Task, Text: "verified"}) }); n != 0 {
		t.Errorf("%v allocations for an event, want none", n)
	}
}
