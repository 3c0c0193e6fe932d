package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newTrust(a *app) *cobra.Command {
	return group(a, "trust", "See what this node thinks of its peers, and why", newTrustList(a), newTrustShow(a))
}

func newTrustList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List this node's own view of its peers",
		Long:    "List shows what this node thinks of the peers that worked for it. Nobody else need agree.",
		Example: "  muster trust list",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.ListTrust(ctx, connect.NewRequest(&api.ListTrustRequest{}))
			if err != nil {
				return err
			}
			return a.print(plainList(resp.Msg.Peers), func(w io.Writer) {
				a.show(w, trustGrid(resp.Msg.Peers, time.Now()), "nobody has worked for this node yet")
			})
		}),
	}
}

func trustGrid(peers []*api.Standing, now time.Time) *grid {
	g := columns("peer", "state", "checked", "lies", "availability", "executions", "last")
	for _, s := range peers {
		g.add(s.Peer, s.State, numberText(s.Checked), s.Lies, fmt.Sprintf("%.3f", s.Availability), s.Executions, ago(s.LastMs, now))
	}
	return g
}

func newTrustShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show PEER",
		Short:   "Show the evidence behind a peer's standing",
		Long:    "Show lists the evidence behind a peer's standing. PEER is an id or the end of one.",
		Example: "  muster trust show 12D3KooW…\n  muster trust show 8fKq2xYz -o json",
		Args:    argument("PEER"),
		RunE: a.with(reading, func(ctx context.Context, c *client, args []string) error {
			resp, err := c.ShowTrust(ctx, connect.NewRequest(&api.ShowTrustRequest{Peer: args[0]}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) { describeTrust(a.page(w), resp.Msg, time.Now()) })
		}),
	}
}

func describeTrust(p *page, t *api.ShowTrustResponse, now time.Time) {
	if s := t.Standing; s != nil {
		p.facts("peer", s.Peer, "state", s.State, "checked", numberText(s.Checked), "lies", s.Lies,
			"availability", fmt.Sprintf("%.3f", s.Availability), "executions", s.Executions, "last", ago(s.LastMs, now))
	}
	g := columns("time", "kind", "job", "task", "answered", "right", "detail")
	for _, e := range t.Evidence {
		g.add(clock(e.TimeMs), e.Kind, short(e.Job), e.Task, ending(e.Answered), ending(e.Right), e.Detail)
	}
	p.section("Evidence", g, "detail")
}
