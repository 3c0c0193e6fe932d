package telemetry

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
)

func open(t *testing.T, cfg Config) *Instruments {
	t.Helper()
	in, err := Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	return in
}

// told gives the lines about muster's own metrics.
func told(t *testing.T, in *Instruments) string {
	t.Helper()
	var out bytes.Buffer
	if err := in.Metrics(&out); err != nil {
		t.Fatal(err)
	}
	var own []string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "muster_") && !strings.HasPrefix(line, ownName+" 0") {
			own = append(own, line)
		}
	}
	return strings.Join(own, "")
}

func TestSamplesAreToldAsPrometheusWritesThem(t *testing.T) {
	in := open(t, Config{})
	meter := NewMeter(0.1, 1, 0.1, math.Inf(1))
	for _, v := range []float64{0.1, 0.2, 5, math.NaN(), math.Inf(1)} {
		meter.Observe(v)
	}
	in.Collect(func() []Sample {
		return []Sample{
			{Name: "muster_tasks_settled_total", Help: "Tasks.", Kind: Counter, Labels: map[string]string{"state": "verified"}, Value: 7},
			{Name: "muster_tasks_settled_total", Help: "Tasks.", Kind: Counter, Labels: map[string]string{"state": "failed"}, Value: 1},
			{Name: "muster_jobs_open", Help: "Jobs.", Kind: Gauge, Value: 2.5},
		}
	})
	in.Collect(func() []Sample {
		return []Sample{{Name: "muster_bid_seconds", Help: "Bids.", Kind: Histogram, Counts: meter.Counts()}}
	})
	want := `muster_bid_seconds_bucket{le="0.1"} 1
muster_bid_seconds_bucket{le="1"} 2
muster_bid_seconds_bucket{le="+Inf"} 3
muster_bid_seconds_sum 5.3
muster_bid_seconds_count 3
muster_jobs_open 2.5
muster_tasks_settled_total{state="failed"} 1
muster_tasks_settled_total{state="verified"} 7
`
	if got := told(t, in); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// One bad sample must cost itself, not the scrape.
func TestABadSampleIsLeftOutAndCounted(t *testing.T) {
	good := Sample{Name: "muster_ok", Help: "Good.", Kind: Gauge, Value: 1}
	gauge := func(name string, labels map[string]string) Sample {
		return Sample{Name: name, Help: "x", Kind: Gauge, Labels: labels}
	}
	for name, bad := range map[string]Sample{
		"another prefix":              gauge("jobs_open", nil),
		"no name":                     gauge("muster_", nil),
		"upper case":                  gauge("muster_jobsOpen", nil),
		"the name of our own":         gauge(ownName, nil),
		"a gauge called total":        gauge("muster_x_total", nil),
		"a counter not called total":  {Name: "muster_x", Help: "x", Kind: Counter},
		"a counter below zero":        {Name: "muster_x_total", Help: "x", Kind: Counter, Value: -1},
		"a counter that is no number": {Name: "muster_x_total", Help: "x", Kind: Counter, Value: math.NaN()},
		"an unknown kind":             {Name: "muster_x", Help: "x", Kind: 9},
		"a peer as label":             gauge("muster_x", map[string]string{"peer": "12D3KooW"}),
		"a job as label":              gauge("muster_x", map[string]string{"job": "ab"}),
		"a label of the library":      gauge("muster_x", map[string]string{"le": "1"}),
		"a reserved label":            gauge("muster_x", map[string]string{"__name__": "x"}),
		"a long value":                gauge("muster_x", map[string]string{"state": strings.Repeat("x", 65)}),
		"a value that is no text":     gauge("muster_x", map[string]string{"state": "\xff"}),
		"many labels":                 gauge("muster_x", map[string]string{"a": "", "b": "", "c": "", "d": "", "e": ""}),
		"the same sample again":       good,
		"the same name, another kind": {Name: "muster_ok", Help: "Good.", Kind: Histogram, Labels: map[string]string{"a": "b"}},
		"the same name, other help":   {Name: "muster_ok", Help: "Other.", Kind: Gauge},
		"the same name, more labels":  {Name: "muster_ok", Help: "Good.", Kind: Gauge, Labels: map[string]string{"a": "b"}},
		"counts without bounds":       {Name: "muster_x", Help: "x", Kind: Histogram, Counts: Counts{Counts: []uint64{1, 1}, Count: 2}},
		"bounds that fall":            {Name: "muster_x", Help: "x", Kind: Histogram, Counts: Counts{Bounds: []float64{2, 1}, Counts: []uint64{0, 0, 1}, Count: 1}},
		"counts that do not add up":   {Name: "muster_x", Help: "x", Kind: Histogram, Counts: Counts{Bounds: []float64{1}, Counts: []uint64{0, 1}, Count: 2}},
	} {
		in := open(t, Config{})
		in.Collect(func() []Sample { return []Sample{good, bad} })
		want := "muster_ok 1\n" + ownName + " 1\n"
		if got := told(t, in); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestASourceCannotFloodAScrape(t *testing.T) {
	in := open(t, Config{})
	in.Collect(func() (all []Sample) {
		for i := range maxPerName + 10 {
			all = append(all, Sample{Name: "muster_x", Help: "x", Kind: Gauge, Labels: map[string]string{"n": fmt.Sprint(i)}})
		}
		for i := range maxSeries {
			all = append(all, Sample{Name: fmt.Sprintf("muster_y%d", i), Help: "x", Kind: Gauge})
		}
		return all
	})
	got := told(t, in)
	lines, perName := strings.Count(got, "\n"), strings.Count(got, "muster_x{")
	if lines != maxSeries+1 || perName != maxPerName {
		t.Errorf("told %d series, %d of one name; want %d, %d", lines-1, perName, maxSeries, maxPerName)
	}
	if want := fmt.Sprintf("%s %d\n", ownName, 10+maxPerName); !strings.Contains(got, want) {
		t.Errorf("does not say %q", want)
	}
}

func TestAPanickingSourceDoesNotEndTheNode(t *testing.T) {
	in := open(t, Config{})
	in.Collect(func() []Sample { panic("a bug") })
	var out bytes.Buffer
	if err := in.Metrics(&out); err != nil || !strings.Contains(out.String(), "go_goroutines") {
		t.Errorf("got %v, want the metrics of the others", err)
	}
}
