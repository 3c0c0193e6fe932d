package telemetry

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// A Kind says how a metric moves.
type Kind uint8

// The kinds of metrics.
const (
	Counter   Kind = iota // only grows, from 0 at the start; its name ends in _total
	Gauge                 // goes up and down
	Histogram             // counts observations by size
)

// A Sample is the value of one metric now. Names and label names follow
// https://prometheus.io/docs/practices/naming, and begin with "muster_".
type Sample struct {
	Name   string
	Help   string // one sentence; the same for all samples of a name
	Kind   Kind
	Labels map[string]string // names the same for all samples of a name; see [Instruments.Collect]
	Value  float64           // of a counter or gauge
	Counts Counts            // of a histogram
}

// Limits on what one scrape tells.
const (
	maxSeries    = 4096 // in one scrape
	maxPerName   = 128  // label sets of one name
	maxLabels    = 4
	maxLabelSize = 64 // bytes of a value
)

// ownName names the metric about samples that were left out.
const ownName = "muster_telemetry_samples_refused"

// unboundedLabels have as many values as there are peers, jobs or files, each of
// which would be kept as a series of its own for ever; "job" and "instance" are
// also Prometheus' own.
var unboundedLabels = []string{"peer", "peer_id", "job", "job_id", "task", "execution", "lease", "cid", "instance", "addr", "address"}

// sources is the collector of what package node hands in. It describes nothing in
// advance: what there is follows from the samples.
type sources struct {
	mu   sync.Mutex // guards list
	list []func() []Sample
}

func (s *sources) add(source func() []Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, source)
}

// Describe says that the metrics are not known in advance.
func (s *sources) Describe(chan<- *prometheus.Desc) {}

// Collect asks all sources. What is malformed, contradicts an earlier sample, or
// is too much is left out and counted, so that the rest is told.
func (s *sources) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	list := slices.Clone(s.list)
	s.mu.Unlock()
	c := scrape{families: map[string]*family{}}
	for _, source := range list {
		for _, sample := range source() {
			if err := c.take(sample, out); err != nil {
				c.refused++
			}
		}
	}
	desc := prometheus.NewDesc(ownName, "Samples left out of this scrape, because they are malformed or too many.", nil, nil)
	out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(c.refused))
}

// A scrape is what was taken so far of one.
type scrape struct {
	families map[string]*family
	series   int
	refused  int
}

// A family is all samples of one name.
type family struct {
	kind   Kind
	help   string
	labels []string // names, sorted
	seen   map[string]bool
}

func (c *scrape) take(s Sample, out chan<- prometheus.Metric) error {
	if err := s.validate(); err != nil {
		return err
	}
	labels := slices.Sorted(maps.Keys(s.Labels))
	values := make([]string, len(labels))
	for i, name := range labels {
		values[i] = s.Labels[name]
	}
	if err := c.place(s, labels, values); err != nil {
		return err
	}
	metric, err := s.metric(labels, values)
	if err != nil {
		return err
	}
	out <- metric
	return nil
}

// place finds the family of a sample, and refuses one that does not belong there.
func (c *scrape) place(s Sample, labels, values []string) error {
	f := c.families[s.Name]
	if f == nil {
		f = &family{kind: s.Kind, help: s.Help, labels: labels, seen: map[string]bool{}}
		c.families[s.Name] = f
	}
	key := strings.Join(values, "\x00")
	switch {
	case f.kind != s.Kind || f.help != s.Help || !slices.Equal(f.labels, labels):
		return fmt.Errorf("%s: kind, help or labels differ from those of an earlier sample", s.Name)
	case f.seen[key]:
		return fmt.Errorf("%s: told twice", s.Name)
	case len(f.seen) >= maxPerName || c.series >= maxSeries:
		return fmt.Errorf("%s: too many series", s.Name)
	}
	f.seen[key] = true
	c.series++
	return nil
}

func (s Sample) metric(labels, values []string) (prometheus.Metric, error) {
	desc := prometheus.NewDesc(s.Name, s.Help, labels, nil)
	switch s.Kind {
	case Histogram:
		return prometheus.NewConstHistogram(desc, s.Counts.Count, s.Counts.Sum, s.Counts.cumulative(), values...)
	case Counter:
		return prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, values...)
	}
	return prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, values...)
}

// validate refuses what Prometheus would not take, or would choke on.
func (s Sample) validate() error {
	name, ok := strings.CutPrefix(s.Name, "muster_")
	switch {
	case !ok || !isMetricName(name) || s.Name == ownName:
		return fmt.Errorf("the name %q is not muster_ and lower-case words", s.Name)
	case s.Kind > Histogram || (s.Kind == Counter) != strings.HasSuffix(s.Name, "_total"):
		return fmt.Errorf("%s: counters, and they alone, end in _total", s.Name)
	case s.Kind == Counter && !(s.Value >= 0 && s.Value <= math.MaxFloat64):
		return fmt.Errorf("%s: a counter is %v", s.Name, s.Value)
	case len(s.Labels) > maxLabels:
		return fmt.Errorf("%s: %d labels", s.Name, len(s.Labels))
	}
	for label, value := range s.Labels {
		if !isMetricName(label) || label == "le" || slices.Contains(unboundedLabels, label) {
			return fmt.Errorf("%s: label %q", s.Name, label)
		}
		if len(value) > maxLabelSize || strings.ToValidUTF8(value, "") != value {
			return fmt.Errorf("%s: value of label %s", s.Name, label)
		}
	}
	return s.Counts.validate()
}

// isMetricName tells whether s is of lower-case letters, digits and single
// underscores, and begins with a letter.
func isMetricName(s string) bool {
	if s == "" || len(s) > 100 || s[0] < 'a' || s[0] > 'z' || strings.Contains(s, "__") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_') })
}
