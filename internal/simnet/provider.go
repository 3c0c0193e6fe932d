package simnet

import (
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Keys of a provider's disk: what a lease owns begins with its key.
const keyLent = "p/"

func lentKey(id proto.LeaseID) string { return fmt.Sprintf("%s%x/", keyLent, id[:]) }
func openKey(r scheduler.Ref) string {
	return fmt.Sprintf("%so%x", lentKey(r.Lease), r.Execution[:])
}
func resultKey(r scheduler.Ref) string {
	return fmt.Sprintf("%sr%x", lentKey(r.Lease), r.Execution[:])
}

// Values of a provider's disk.
type (
	lentRecord struct {
		from  proto.PeerID
		award proto.Award
	}
	openRecord struct {
		a      proto.Assignment
		deaths int
	}
	resultRecord struct {
		id proto.ExecutionID
		o  scheduler.Outcome
	}
)

// A provider is one run of a provider's node.
type provider struct {
	n      *node
	book   *scheduler.Book
	leases map[proto.LeaseID]*lent
	heard  announceMsg // the last
	busy   bool        // it was refused for being so
	trash  batch       // records that are of no use any more
}

func newProvider(n *node) process {
	adv := proto.Advert{Executor: "wasm", Profile: "p", Engine: engine(), Slots: n.w.cfg.Slots}
	l := scheduler.Lending{Advert: adv, Share: .5, Patience: time.Hour}
	return &provider{n: n, book: scheduler.NewBook(l), leases: make(map[proto.LeaseID]*lent)}
}

func (p *provider) w() *World { return p.n.w }

// boot takes up the leases of earlier runs; what was under way counts one death
// more.
func (p *provider) boot() error {
	d := p.n.disk
	var b batch
	for _, k := range d.scan(keyLent) {
		r, ok := d.data[k].(lentRecord)
		if !ok || p.w().cfg.Bug == ForgetsLeases {
			continue
		}
		l := scheduler.LentLease{From: r.from, Award: r.award}
		for _, key := range d.scan(k) {
			switch v := d.data[key].(type) {
			case openRecord:
				l.Works = append(l.Works, scheduler.LentWork{Assignment: v.a, Deaths: v.deaths})
				b.put(key, openRecord{v.a, v.deaths + 1})
			case resultRecord:
				l.Works = append(l.Works, scheduler.LentWork{Assignment: proto.Assignment{Execution: v.id}, Result: true})
			}
		}
		p.leases[r.award.Lease] = &lent{award: r.award, from: p.w().byID(r.from), guests: make(map[proto.ExecutionID]*guest)}
		p.book.Restore(p.n.now(), l)
		p.w().keeper.touched(p.n, r.award.Lease, false)
	}
	if len(b.keys) > 0 {
		if err := d.commit(b, false); err != nil {
			return err
		}
	}
	p.n.after(p.w().between(0, scheduler.IdleLease/4), p.sweep)
	p.startNext()
	return nil
}

// sweep does what time alone brings.
func (p *provider) sweep() error {
	s := p.book.Sweep(p.n.now())
	for _, id := range s.Idle {
		if l := p.leases[id]; l != nil && l.end != nil {
			p.n.log("lets idle lease %s go", short(id))
			l.end.send(releaseMsg{})
			l.end.close()
			p.end(l)
		}
	}
	for _, r := range s.Stop {
		p.leases[r.Lease].stop(p, r.Execution)
	}
	for _, r := range s.Forget {
		p.w().keeper.forgot(p.n, r)
		p.trash.drop(resultKey(r))
	}
	for _, id := range s.Over {
		p.n.log("forgets lease %s", short(id))
		for _, k := range p.n.disk.scan(lentKey(id)) {
			p.trash.drop(k)
		}
		delete(p.leases, id)
	}
	if err := p.empty(); err != nil {
		return err
	}
	p.n.after(scheduler.IdleLease/4, p.sweep)
	p.startNext()
	return p.offerAgain()
}

// empty removes records; where the disk is full, another time.
func (p *provider) empty() error {
	if len(p.trash.keys) == 0 {
		return nil
	}
	err := p.n.disk.commit(p.trash, false)
	if err == nil {
		p.trash = batch{}
	}
	if err != nil && p.fatal(err) {
		return err
	}
	return nil
}

// fatal tells whether an error of the disk ends the node.
func (p *provider) fatal(err error) bool { return err != errFull || !p.w().cfg.Refuses }

func (p *provider) hear(from *node, msg any) error {
	m, ok := msg.(announceMsg)
	if !ok || !m.fresh(p.n.now(), announceLife) {
		return nil
	}
	p.heard = m
	return p.offer(from)
}

func (p *provider) offer(to *node) error {
	bid, no := scheduler.Offer(p.book.Lending(), p.book.BusyFor(to.id), p.heard.a, scheduler.Client{ID: to.id})
	p.busy = no != nil && no.Reason == proto.ReasonBusy
	p.n.post(to, bidMsg{signed{p.n.now()}, bid, no})
	return nil
}

// offerAgain bids once a slot is free that was not.
func (p *provider) offerAgain() error {
	to := p.w().nodes[0]
	if !p.busy || p.book.BusyFor(to.id) >= p.w().cfg.Slots || !p.heard.fresh(p.n.now(), announceLife) {
		return nil
	}
	return p.offer(to)
}

func (p *provider) serve(_ *node, msg any) (any, error) {
	m, ok := msg.(fetchMsg)
	if !ok {
		return nil, nil
	}
	for _, k := range p.n.disk.scan(keyLent) {
		if r, ok := p.n.disk.data[k].(resultRecord); ok && r.o.Output == m.output {
			return true, nil
		}
	}
	return false, nil
}
