package main

import (
	"time"

	"github.com/mustermesh/muster/node/api"
)

// What a pace looks back on.
const (
	paceEvery   = 2 * time.Second // between two samples
	paceSamples = 60
	paceEnough  = 3 // tasks that must have settled meanwhile
)

// A pace measures how fast tasks settle now, rather than since the beginning:
// providers come and go. Its estimates are for people; nothing depends on them.
type pace struct{ seen []paceSample }

type paceSample struct {
	at   time.Time
	done uint32
}

// add takes how many tasks are settled.
func (p *pace) add(now time.Time, done uint32) {
	n := len(p.seen)
	if n > 1 && now.Sub(p.seen[n-2].at) < paceEvery {
		p.seen[n-1] = paceSample{now, done}
		return
	}
	if n == paceSamples {
		p.seen = append(p.seen[:0], p.seen[1:]...)
	}
	p.seen = append(p.seen, paceSample{now, done})
}

// rate gives tasks a second, once enough of them settled to tell.
func (p *pace) rate(now time.Time) (perSecond float64, ok bool) {
	if len(p.seen) == 0 {
		return 0, false
	}
	first, last := p.seen[0], p.seen[len(p.seen)-1]
	took := now.Sub(first.at).Seconds()
	if last.done < first.done+paceEnough || took < 1 {
		return 0, false
	}
	return float64(last.done-first.done) / took, true
}

// left estimates how long the job still takes, from the rate, or where too few
// tasks have settled to know one, from how far the job says it is.
func (p *pace) left(j *api.JobSummary, now time.Time) (time.Duration, bool) {
	rest := float64(j.Tasks) - float64(settled(j))
	if rate, ok := p.rate(now); ok {
		return time.Duration(rest / rate * float64(time.Second)), rest > 0
	}
	took := now.Sub(time.UnixMilli(j.SubmittedMs)).Seconds()
	done := max(j.Progress, float64(settled(j))/float64(max(j.Tasks, 1)))
	if done < 0.05 || done >= 1 || took < 1 {
		return 0, false
	}
	return time.Duration(took * (1 - done) / done * float64(time.Second)), true
}
