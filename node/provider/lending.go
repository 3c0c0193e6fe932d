package provider

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/mustermesh/muster/internal/eventlog"
	"github.com/mustermesh/muster/node/overlay"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// A Machine is what there is to lend, and who hears of changes. Its methods are
// safe for concurrent use.
type Machine interface {
	// Lending gives what is lent under these settings, without what holds back. It
	// does not wait.
	Lending(s scheduler.Settings) scheduler.Lending
	// Host reads what the machine says of itself now.
	Host(now time.Time) scheduler.Host
	// Changed is told that another is lent than before, without any lock held.
	Changed()
}

// lookEvery is how often the machine's state is held against the owner's rules.
const lookEvery = 5 * time.Second

// saysStopped is what requesters read of a guest that the owner's rules stopped.
const saysStopped = "the provider stopped it, by its owner's rules"

// Lending says what is lent now, and to whom.
func (p *Provider) Lending() scheduler.Lending {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.Lending()
}

// Settings gives the owner's settings that are in force.
func (p *Provider) Settings() scheduler.Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings
}

// Notes says which of the owner's rules cannot work on this machine.
func (p *Provider) Notes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.settings.Notes(p.host)
}

// Change changes the named settings from now on: all of them or, with an error
// that names every fault, none. What runs goes on; what waits and is not lent for
// any more is given back.
func (p *Provider) Change(c scheduler.Change, fields []string) error {
	p.mu.Lock()
	next, err := p.settings.With(c, fields)
	p.settings = next
	p.mu.Unlock()
	if err == nil {
		p.refresh(true)
	}
	return err
}

// Look holds the machine's state against the owner's rules: they may begin or
// cease to hold back, and stop what runs.
func (p *Provider) Look() {
	host := p.machine.Host(p.Now())
	p.mu.Lock()
	p.host = host
	if p.settings.Stop(host) {
		p.stopAll(scheduler.No{Reason: proto.ReasonPolicy, Detail: saysStopped})
	}
	p.mu.Unlock()
	p.refresh(false)
}

// stopAll has all that runs stopped, for a reason that its requesters hear. Call
// it with the lock.
func (p *Provider) stopAll(why scheduler.No) {
	for _, l := range p.leases {
		for _, g := range l.running {
			g.why = &why
			g.cancel()
		}
	}
}

// refresh has the book go by the settings and the rules as they stand, and tells
// those whom a change concerns.
func (p *Provider) refresh(changed bool) {
	p.mu.Lock()
	was, l := p.book.Lending(), p.lending()
	if !reflect.DeepEqual(was, l) {
		p.book.SetLending(l)
	}
	p.mu.Unlock()
	p.startNext()
	if !changed && was.Draining == l.Draining && (len(was.Held) > 0) == (len(l.Held) > 0) {
		return
	}
	p.Log.Info("lending changed", "offered", l.Advert.Offered, "slots", l.Advert.Slots, "draining", l.Draining, "held", l.Held)
	p.events.Add(lendingEvent(p.Now(), l))
	p.machine.Changed()
	p.reconsider()
}

// lendingEvent says what a change of what is lent came to.
func lendingEvent(now time.Time, l scheduler.Lending) eventlog.Event {
	e := eventlog.Event{Kind: eventlog.Provider, State: "lending", TimeMS: now.UnixMilli()}
	switch {
	case l.Draining:
		e.State, e.Text = "draining", "takes nothing new; what runs goes on"
	case len(l.Held) > 0:
		e.State, e.Text = "held back", l.Held[0].String()
	default:
		e.Text = fmt.Sprintf("%d slots", l.Advert.Slots)
	}
	return e
}

// lending gives what is lent now. Call it with the lock.
func (p *Provider) lending() scheduler.Lending {
	l := p.machine.Lending(p.settings)
	l.Held = p.gate.HeldBack(p.Now().Local(), p.settings.Rules, p.host)
	l.Draining = p.draining
	return l
}

// Drain takes nothing new from now on, or, with false, does again. What runs goes
// on, what waits is given back.
func (p *Provider) Drain(on bool) {
	p.mu.Lock()
	p.draining = on
	p.mu.Unlock()
	p.refresh(false)
}

// UnderWay tells how many executions are under way: until their answer is sent.
func (p *Provider) UnderWay() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.underWay
}

// Rested waits until no execution is under way, or ctx ends; it tells how many
// there still are.
func (p *Provider) Rested(ctx context.Context) int {
	for {
		p.mu.Lock()
		left := p.underWay
		if left > 0 && p.rested == nil {
			p.rested = make(chan struct{})
		}
		rested := p.rested
		p.mu.Unlock()
		if left == 0 {
			return 0
		}
		select {
		case <-rested:
		case <-ctx.Done():
			return p.UnderWay()
		}
	}
}

// over notes that an execution is wholly over.
func (p *Provider) over() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underWay--; p.underWay == 0 && p.rested != nil {
		close(p.rested)
		p.rested = nil
	}
}

// Part ends the streams of all leases in such a way that their requesters get
// what was said to them before, and waits until they have, or ctx ends. The
// leases themselves go on.
func (p *Provider) Part(ctx context.Context) {
	p.mu.Lock()
	var parted []<-chan struct{}
	for _, l := range p.leases {
		if l.stream != nil && l.stream.CloseWrite() == nil {
			parted = append(parted, l.moved)
		}
	}
	p.mu.Unlock()
	for _, gone := range parted { // the other end closes when it has read to the end
		select {
		case <-gone:
		case <-ctx.Done():
			return
		}
	}
}

// A refused announcement is one that may get a bid when something has changed.
type refused struct {
	heard  overlay.Heard
	reason proto.Reason
}

// remember keeps a refused announcement, where there is room: its requester does
// not ask again, so it is for this node to say that it has changed its mind. Call
// it with the lock.
func (p *Provider) remember(h overlay.Heard, no *scheduler.No) {
	key := overlay.HeardKey{From: h.From, Job: h.Announcement.Job}
	if _, known := p.refused[key]; !known && len(p.refused) >= overlay.MaxHeard {
		p.forgetRefused()
	}
	if len(p.refused) < overlay.MaxHeard {
		p.refused[key] = refused{h, no.Reason}
	}
}

// forgetRefused drops the announcements whose time is over. Call it with the
// lock.
func (p *Provider) forgetRefused() {
	now := p.Now()
	for key, r := range p.refused {
		if !now.Before(r.heard.Expires) {
			delete(p.refused, key)
		}
	}
}

// reconsider answers again those refused announcements that would get a bid now.
func (p *Provider) reconsider() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetRefused()
	for key, r := range p.refused {
		if _, no := p.decide(r.heard); no == nil {
			delete(p.refused, key)
			p.Consider(r.heard)
		}
	}
}

// freed offers the free slot to jobs that were refused for being busy.
func (p *Provider) freed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.refused {
		if r.reason != proto.ReasonBusy || p.book.BusyFor(r.heard.From) >= p.book.Lending().Advert.Slots {
			continue
		}
		delete(p.refused, key)
		if p.Now().Before(r.heard.Expires) {
			p.Consider(r.heard)
		}
	}
}
