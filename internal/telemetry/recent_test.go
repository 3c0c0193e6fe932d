package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

// messages gives the messages that are kept, and checks that each line but a cut
// one is JSON.
func messages(t *testing.T, l *RecentLog) (list []string) {
	t.Helper()
	for line := range strings.Lines(string(l.Lines())) {
		var record struct{ Msg string }
		if err := json.Unmarshal([]byte(line), &record); err != nil && !strings.HasSuffix(line, cutMark) {
			t.Errorf("%q: %v", line, err)
		}
		list = append(list, record.Msg)
	}
	return list
}

func TestTheLatestRecordsAreKept(t *testing.T) {
	var next bytes.Buffer
	recent := NewRecentLog(slog.NewTextHandler(&next, &slog.HandlerOptions{Level: slog.LevelWarn}), 3)
	log := slog.New(recent).With("part", "node").WithGroup("g")
	log.Info("a")
	log.Debug("left out: nobody wants it")
	log.Warn("b", "n", 1)
	if got := messages(t, recent); strings.Join(got, "") != "ab" {
		t.Errorf("kept %q, want a, b", got)
	}
	slog.New(recent).Info("c")
	log.Error("d")
	if got := messages(t, recent); strings.Join(got, "") != "bcd" {
		t.Errorf("kept %q, want b, c, d", got)
	}
	if got := string(recent.Lines()); !strings.Contains(got, `"part":"node","g":{"n":1}`) {
		t.Errorf("attributes are missing in %s", got)
	}
	if got := next.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "part=node g.n=1") {
		t.Errorf("handed on %q, want the warning and the error", got)
	}
	if got := messages(t, NewRecentLog(slog.DiscardHandler, 0)); len(got) != 0 {
		t.Errorf("an unused log has %q", got)
	}
}

func TestWhatTheNextHandlerTakesIsKept(t *testing.T) {
	recent := NewRecentLog(slog.NewTextHandler(new(bytes.Buffer), &slog.HandlerOptions{Level: slog.LevelDebug}), 3)
	slog.New(recent).Debug("a")
	if got := messages(t, recent); len(got) != 1 {
		t.Errorf("kept %q, want a", got)
	}
}

func TestALongRecordIsCut(t *testing.T) {
	recent := NewRecentLog(slog.DiscardHandler, 2)
	slog.New(recent).Info(strings.Repeat("x", 1<<20))
	if got := recent.Lines(); len(got) != maxRecord || !strings.HasSuffix(string(got), cutMark) {
		t.Errorf("kept %d bytes, want %d", len(got), maxRecord)
	}
}

func TestRecordsOfManyGoroutinesAreWhole(t *testing.T) {
	recent := NewRecentLog(slog.DiscardHandler, 50)
	var all sync.WaitGroup
	for range 8 {
		log := slog.New(recent).With("part", "x")
		all.Go(func() {
			for range 50 {
				log.Info("m")
				_ = recent.Lines()
			}
		})
	}
	all.Wait()
	if got := messages(t, recent); strings.Join(got, "") != strings.Repeat("m", 50) {
		t.Errorf("kept %q", got)
	}
}
