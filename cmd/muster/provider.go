package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newProvider(a *app) *cobra.Command {
	status := &cobra.Command{
		Use:     "status",
		Short:   "Show what this node lends, what is in use, done and earned",
		Long:    "Status shows what this node lends, what is in use, done and earned, and why it refused what it refused.",
		Example: "  muster provider status",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.ProviderStatus(ctx, connect.NewRequest(&api.ProviderStatusRequest{}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) { describeProvider(a.page(w), resp.Msg) })
		}),
	}
	return group(a, "provider", "Look after what this node lends", status, newProviderExplain(a), newProviderConfig(a))
}

func describeProvider(p *page, s *api.ProviderStatusResponse) {
	lends := "yes"
	switch {
	case s.Draining:
		lends = "no: draining; `muster node resume` takes work again"
	case s.HeldBack != "":
		lends = "no: held back: " + s.HeldBack
	case !s.Enabled:
		lends = "no: " + s.WhyNot
	}
	refusals := make([]string, 0, len(s.Refusals))
	for _, why := range sortedKeys(s.Refusals) {
		refusals = append(refusals, fmt.Sprintf("%s %d", why, s.Refusals[why]))
	}
	price := "free"
	if s.Price > 0 {
		price = numberText(s.Price) + " credits per core-hour"
	}
	p.facts("lends", lends, "offered", resourceText(s.Offered), "in use", resourceText(s.InUse),
		"slots", fmt.Sprintf("%d of %d busy, %d queued, %s", s.SlotsBusy, s.Slots, s.Queued, plural(int(s.Leases), "lease")),
		"done", fmt.Sprintf("%s, %d failed", plural(int(s.TasksDone), "task"), s.TasksFailed),
		"kept", counts(s.Kept, "results of which the requester is out of touch"), "price", price, "earned", numberText(s.Earned)+" credits", "engine", s.Engine,
		"isolation", s.Isolation, "layers", strings.Join(s.Layers, ", "), "refused", strings.Join(refusals, ", "))
}
