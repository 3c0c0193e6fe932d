package main

import (
	"context"
	"fmt"
	"io"
	"math"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newJobReceipts(a *app) *cobra.Command {
	cmd := aboutJob(a, reading, "receipts", "Show what was paid for a job's work, as both sides signed it", func(ctx context.Context, c *client, job string) error {
		resp, err := c.JobReceipts(ctx, connect.NewRequest(&api.JobReceiptsRequest{Job: job}))
		if err != nil {
			return err
		}
		list := resp.Msg.Receipts
		return a.print(plainList(list), func(w io.Writer) {
			if len(list) == 0 {
				fmt.Fprintln(a.err, "no receipts yet; each answer that was used gives one")
				return
			}
			p := a.page(w)
			p.table(receiptGrid(list))
			p.say("", "%s", receiptTotal(list))
		})
	})
	cmd.Long = `Receipts lists what this node and the providers of a job's work agreed on: who did
which task, how much of it, and for how many credits. With -o json each receipt has
the output, the engine that ran it, and its envelope, as both signed it, in base64.
JOB is an id or the beginning of one.`
	cmd.Example = "  muster job receipts 3f2a9c1e\n  muster job receipts 3f2a9c1e -o json"
	return cmd
}

func receiptGrid(list []*api.Receipt) *grid {
	g := columns("time", "task", "execution", "peer", "cpu s", "fuel", "credits")
	for _, r := range list {
		task := fmt.Sprint(r.Task)
		if r.Reduce {
			task = "reduce"
		}
		g.add(clock(r.TimeMs), task, short(r.Execution), ending(r.Peer), numberText(r.CpuSeconds), fuelText(r.Fuel), numberText(r.Amount))
	}
	return g
}

func receiptTotal(list []*api.Receipt) string {
	var cpu, credits float64
	var fuel uint64
	peers := map[string]bool{}
	for _, r := range list {
		cpu, credits, peers[r.Peer] = cpu+r.CpuSeconds, credits+r.Amount, true
		if fuel += r.Fuel; fuel < r.Fuel {
			fuel = math.MaxUint64
		}
	}
	return fmt.Sprintf("%s from %s: %s CPU seconds, %s of fuel, %s credits",
		plural(len(list), "receipt"), plural(len(peers), "peer"), numberText(cpu), fuelText(fuel), numberText(credits))
}
