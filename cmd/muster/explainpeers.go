package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mustermesh/muster/node/api"
)

// verdicts is the order in which peers are shown; what is not in it comes last.
var verdicts = []string{"chosen", "available", "refused", "unfit", "resting", "silent", "lost", "unreachable", "distrusted"}

// byVerdict sorts peers into groups, in the order of verdicts, and keeps the
// node's order inside each.
func byVerdict(peers []*api.PeerDecision) (groups [][]*api.PeerDecision) {
	rank := func(v string) int {
		if i := slices.Index(verdicts, v); i >= 0 {
			return i
		}
		return len(verdicts)
	}
	sorted := slices.Clone(peers)
	slices.SortStableFunc(sorted, func(a, b *api.PeerDecision) int {
		return cmp.Or(cmp.Compare(rank(a.Verdict), rank(b.Verdict)), strings.Compare(a.Verdict, b.Verdict))
	})
	for i, p := range sorted {
		if i == 0 || p.Verdict != sorted[i-1].Verdict {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], p)
	}
	return groups
}

// shares divides n places among groups of these sizes: one each in turn, until
// there are no more places or nobody is left.
func shares(sizes []int, n int) []int {
	out := make([]int, len(sizes))
	for given := true; given && n > 0; {
		given = false
		for i := range sizes {
			if out[i] < sizes[i] && n > 0 {
				out[i]++
				n--
				given = true
			}
		}
	}
	return out
}

func (x *explanation) decisions() {
	groups := byVerdict(x.Peers)
	sizes, heads := make([]int, len(groups)), make([]string, len(groups))
	for i, g := range groups {
		sizes[i], heads[i] = len(g), groupText(g)
	}
	if len(groups) == 0 {
		if !ended(x.Job.GetState()) {
			x.title("Peers: none is known yet; `muster peer list` shows who is connected, `muster doctor` why nobody is")
		}
		return
	}
	x.title("Peers (%d): %s", len(x.Peers), strings.Join(heads, ", "))
	places := len(x.Peers)
	if !x.all {
		places = shownPeers
	}
	g, signed := columns("peer", "verdict", "why", "fits with"), false
	for i, n := range shares(sizes, places) {
		for _, p := range groups[i][:n] {
			verdict := p.Verdict
			if p.Signed {
				verdict, signed = verdict+" *", true
			}
			g.add(ending(p.Peer), verdict, x.because(p), p.Change)
		}
	}
	x.table(g, "why", "fits with")
	if signed {
		x.say("", "* the peer's own signed word")
	}
	if n := len(x.Peers) - len(g.rows); n > 0 {
		x.say("", "and %s more; --all shows them", plural(n, "peer"))
	}
}

// groupText gives the number of peers with one verdict, and of what kinds the
// reasons are where there are several.
func groupText(g []*api.PeerDecision) string {
	s := fmt.Sprintf("%d %s", len(g), g[0].Verdict)
	classes := map[string]int{}
	for _, p := range g {
		if p.Class != "" && p.Class != "none" {
			classes[p.Class]++
		}
	}
	if len(g) < 2 || len(classes) == 0 {
		return s
	}
	words := make([]string, 0, len(classes))
	for _, c := range sortedKeys(classes) {
		words = append(words, fmt.Sprintf("%s %d", c, classes[c]))
	}
	slices.SortStableFunc(words, func(a, b string) int { return cmp.Compare(classes[wordOf(b)], classes[wordOf(a)]) })
	return s + " (" + strings.Join(words, ", ") + ")"
}

func wordOf(s string) string { return s[:strings.LastIndexByte(s, ' ')] }

// because gives what there is to say about one peer.
func (x *explanation) because(p *api.PeerDecision) string {
	parts := []string{}
	if p.Detail != "" {
		parts = append(parts, p.Detail)
	}
	if s := didText(p); s != "" {
		parts = append(parts, s)
	}
	if p.Price > 0 {
		parts = append(parts, "asks "+numberText(p.Price)+" credits per core-hour")
	}
	if p.TimeMs > 0 && x.wide() {
		parts = append(parts, ago(p.TimeMs, x.now)+" ago")
	}
	return strings.Join(parts, "; ")
}

// didText says what became of a peer's executions, "" where it had none.
func didText(p *api.PeerDecision) string {
	switch {
	case p.Executions == 0:
		return ""
	case p.Failed > 0:
		return fmt.Sprintf("%d of %d answered, %d failed", p.Answered, p.Executions, p.Failed)
	}
	return fmt.Sprintf("%d of %d answered", p.Answered, p.Executions)
}
