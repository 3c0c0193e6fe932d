package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/node/provider"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// whyLendsNothing says why nothing new is taken at all; "" where it is.
func (n *node) whyLendsNothing() string {
	switch {
	case n.provider == nil && n.whyNotProvider != "":
		return n.whyNotProvider
	case n.Net == nil || n.cfg.client:
		return "no daemon runs in this home; muster daemon lends this machine"
	case n.provider == nil:
		return "this node has not the role provider; add it to roles in config.yaml, or to muster daemon --role, and start it again"
	}
	l := n.provider.Lending()
	if l.Draining {
		return "the node is draining: it takes work again with muster node resume, or when it starts again"
	}
	return heldBack(l)
}

// heldBack says which rules hold back now, and until when.
func heldBack(l scheduler.Lending) string {
	var texts []string
	for _, h := range l.Held {
		texts = append(texts, h.String())
	}
	return strings.Join(texts, "; ")
}

// ProviderStatus tells what this node lends, what of it is in use, what runs, and
// what it did and earned.
func (s *server) ProviderStatus(context.Context, *connect.Request[api.ProviderStatusRequest]) (*connect.Response[api.ProviderStatusResponse], error) {
	n := s.n
	out := &api.ProviderStatusResponse{
		Enabled: n.provider != nil, WhyNot: n.whyLendsNothing(), Isolation: n.print.Level.String(),
		Engine: n.box.Engine().String(), Earned: float64(n.acct.earned()) / 1e6, Refusals: map[string]uint64{},
	}
	for _, l := range n.print.Layers {
		text := l.Name
		if !l.On {
			text += " (off: " + l.Detail + ")"
		}
		out.Layers = append(out.Layers, text)
	}
	if n.provider != nil {
		fillProvider(out, n.provider)
	}
	return connect.NewResponse(out), nil
}

func fillProvider(out *api.ProviderStatusResponse, p *provider.Provider) {
	l, s := p.Lending(), p.Stats()
	out.Draining, out.HeldBack = l.Draining, heldBack(l)
	out.Leases, out.Queued, out.Kept = uint32(s.Leases), uint32(s.Queued), uint32(s.Kept)
	out.Offered, out.Slots, out.SlotsBusy = resourcesMessage(l.Advert.Offered), uint32(l.Advert.Slots), uint32(s.Busy)
	out.InUse = resourcesMessage(share(l.Advert, s.Busy))
	out.Price = float64(l.Advert.Price) / 1e6
	out.TasksDone, out.TasksFailed = s.Done, s.Failed
	for r, c := range s.Refusals {
		out.Refusals[r.String()] = c
	}
	for _, g := range p.Guests() {
		out.Guests = append(out.Guests, guestMessage(g))
	}
}

func guestMessage(g provider.Guest) *api.Guest {
	out := &api.Guest{Execution: g.Execution.String(), Job: g.Job.String(), Requester: g.Requester.String(), Orphan: g.Orphan}
	if !g.Began.IsZero() {
		out.StartedMs = g.Began.UnixMilli()
	}
	if g.Progress != (proto.Progress{}) {
		out.Progress = &api.Progress{Fraction: -1, Text: g.Progress.Text}
		if g.Progress.Fraction <= proto.ProgressUnit {
			out.Progress.Fraction = float64(g.Progress.Fraction) / proto.ProgressUnit
		}
	}
	return out
}

// maxDrainWait bounds one wait for a drained node; who wants longer asks again.
const maxDrainWait = time.Hour

// Drain stops taking new work, or begins to take it again; it may wait until
// nothing runs here for others, and answers with what still does.
func (s *server) Drain(ctx context.Context, req *connect.Request[api.DrainRequest]) (*connect.Response[api.DrainResponse], error) {
	p := s.n.provider
	if p == nil {
		if !req.Msg.On {
			return nil, connect.NewError(connect.CodeFailedPrecondition, errors.New(s.n.whyLendsNothing()))
		}
		return connect.NewResponse(&api.DrainResponse{Draining: true}), nil // it takes nothing anyway
	}
	p.Drain(req.Msg.On)
	if req.Msg.On && req.Msg.Wait {
		most := maxDrainWait
		if ms := req.Msg.TimeoutMs; ms > 0 && ms < most.Milliseconds() {
			most = time.Duration(ms) * time.Millisecond
		}
		wait, cancel := context.WithTimeout(ctx, most)
		defer cancel()
		p.Rested(wait)
	}
	out := &api.DrainResponse{Draining: p.Lending().Draining, Running: uint32(p.UnderWay())}
	if !out.Draining {
		out.Queued = uint32(p.Stats().Queued)
	}
	return connect.NewResponse(out), nil
}

// Rules gives the owner's rules in force; with a change, changes them first: all
// of it or, with an error that names every fault, nothing. Whether to write it
// into the configuration is for the command line, which owns that file.
func (s *server) Rules(_ context.Context, req *connect.Request[api.RulesRequest]) (*connect.Response[api.RulesResponse], error) {
	n := s.n
	settings, err := n.settings()
	if err != nil {
		return nil, code(err)
	}
	if req.Msg.Change != nil {
		c := changeOf(req.Msg.Change)
		if n.provider != nil {
			err = n.provider.Change(c, req.Msg.Fields)
			settings = n.provider.Settings()
		} else {
			settings, err = settings.With(c, req.Msg.Fields)
		}
		if err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
	}
	why := n.whyLendsNothing()
	return connect.NewResponse(&api.RulesResponse{Rules: rulesMessage(settings.Change()), Lending: why == "", WhyNot: why, Notes: n.ruleNotes(settings)}), nil
}

// settings gives what is in force, or, where nothing is lent, what would be.
func (n *node) settings() (scheduler.Settings, error) {
	if n.provider != nil {
		return n.provider.Settings(), nil
	}
	return n.cfg.settings()
}

// ruleNotes says which rules cannot work here, and which ask for more than there
// is.
func (n *node) ruleNotes(s scheduler.Settings) (notes []string) {
	if n.provider == nil {
		return s.Notes(n.readHost(n.Now()))
	}
	notes = n.provider.Notes()
	a := n.provider.Lending().Advert
	for _, x := range []struct {
		key          string
		wanted, lent uint64
	}{
		{"cpu", uint64(s.Lent.CPU), uint64(a.Offered.CPU)}, {"memory", s.Lent.Memory, a.Offered.Memory},
		{"disk", s.Lent.Disk, a.Offered.Disk}, {"slots", uint64(s.Slots), uint64(a.Slots)},
	} {
		if x.wanted > x.lent {
			notes = append(notes, fmt.Sprintf("%s: less is lent, for this machine has no more to lend; muster provider status shows it", x.key))
		}
	}
	return notes
}

func changeOf(r *api.Rules) scheduler.Change {
	return scheduler.Change{
		Hours: r.Hours, IdleOnly: r.IdleOnly, OnBattery: r.OnBattery, MaxTemperature: r.MaxTemperature, MaxLoad: r.MaxLoad,
		CPU: r.Cpu, Memory: r.Memory, Disk: r.Disk, Slots: r.Slots, Price: r.Price,
		Allow: r.Allow, Deny: r.Deny, AllowPrograms: r.AllowPrograms, DenyPrograms: r.DenyPrograms,
	}
}

func rulesMessage(c scheduler.Change) *api.Rules {
	return &api.Rules{
		Hours: c.Hours, IdleOnly: c.IdleOnly, OnBattery: c.OnBattery, MaxTemperature: c.MaxTemperature, MaxLoad: c.MaxLoad,
		Cpu: c.CPU, Memory: c.Memory, Disk: c.Disk, Slots: c.Slots, Price: c.Price,
		Allow: c.Allow, Deny: c.Deny, AllowPrograms: c.AllowPrograms, DenyPrograms: c.DenyPrograms,
	}
}

// explainSpan is how far an explanation looks back unless told otherwise.
const explainSpan = time.Hour

// ExplainProvider says what this node did with the announcements that it heard,
// why it lends nothing if it does not, and what would have won it more.
func (s *server) ExplainProvider(_ context.Context, req *connect.Request[api.ExplainProviderRequest]) (*connect.Response[api.ExplainProviderResponse], error) {
	n, now := s.n, s.n.Now()
	since := now.Add(-explainSpan)
	if req.Msg.SinceMs > 0 {
		since = time.UnixMilli(req.Msg.SinceMs)
	}
	out := &api.ExplainProviderResponse{WhyNot: n.whyLendsNothing(), SinceMs: since.UnixMilli()}
	out.Enabled = out.WhyNot == ""
	if n.provider == nil {
		return connect.NewResponse(out), nil
	}
	past := n.provider.Past(since)
	x := provider.Explain(past, now)
	out.Seen, out.Bids, out.Won, out.Executions, out.Summary = uint64(x.Seen), uint64(x.Bids), uint64(x.Won), uint64(x.Ran), x.Summary
	for _, c := range x.Reasons {
		out.Reasons = append(out.Reasons, &api.Count{Text: c.Text, Count: uint64(c.Times)})
	}
	for _, c := range x.Changes {
		out.Change = append(out.Change, fmt.Sprintf("%s (a bid for %d of the %d that were refused)", c.Text, c.Times, x.Refused))
	}
	for _, c := range past {
		out.Recent = append(out.Recent, consideredMessage(c, now))
	}
	return connect.NewResponse(out), nil
}

func consideredMessage(c provider.Considered, now time.Time) *api.Considered {
	out := &api.Considered{
		TimeMs: c.Time.UnixMilli(), Job: c.Job.String(), Requester: c.Requester.String(), Tasks: uint32(c.Tasks),
		MaxPrice: float64(c.MaxPrice) / 1e6, Outcome: string(c.Outcome(now)), Detail: c.Detail(now), Change: c.Change(),
	}
	if c.No != nil && !c.Won {
		out.Reason = c.No.Reason.String()
	}
	out.Detail = cmp.Or(out.Detail, c.Unreached)
	return out
}
