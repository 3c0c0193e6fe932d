package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newNode(a *app) *cobra.Command {
	status := &cobra.Command{
		Use:     "status",
		Short:   "Show how this node is",
		Example: "  muster node status\n  muster node status -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.Status(ctx, connect.NewRequest(&api.StatusRequest{}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) { describeNode(a.page(w), resp.Msg, time.Now()) })
		}),
	}
	return group(a, "node", "Look after this node", status, newNodeDrain(a), newNodeResume(a))
}

func describeNode(p *page, s *api.StatusResponse, now time.Time) {
	online := fmt.Sprintf("up for %s, process %d", ago(s.StartedMs, now), s.Pid)
	if s.Offline {
		online = "offline: no daemon runs in this home"
	}
	p.facts("id", s.Id, "state", online, "version", s.Version, "network", s.Network, "roles", strings.Join(s.Roles, ", "), "home", s.Home,
		"peers", s.Peers, "open jobs", s.JobsOpen, "isolation", s.Isolation)
	for _, addr := range s.Addrs {
		p.say("listens on ", "%s", addr)
	}
	for _, b := range s.Bootstrap {
		state := "connected"
		if !b.Connected {
			state = "not connected: " + b.Error
		}
		p.say("bootstrap ", "%s: %s", b.Addr, state)
	}
	for _, warning := range s.Warnings {
		p.say("warning: ", "%s", warning)
	}
}
