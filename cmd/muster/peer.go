package main

import (
	"context"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newPeer(a *app) *cobra.Command {
	return group(a, "peer", "See and reach other nodes", newPeerList(a), newPeerConnect(a), newPeerID(a))
}

func newPeerList(a *app) *cobra.Command {
	req := &api.ListPeersRequest{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the peers that this node knows, and what they lend",
		Long: `List shows the peers that this node is connected to. With --can it shows every peer
that it knows of whose advert meets the expression, in the language of a job's
constraints.`,
		Example: "  muster peer list\n  muster peer list --can 'executor == wasm, memory >= 1GiB'",
		Args:    noArguments,
		RunE: a.with(network, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.ListPeers(ctx, connect.NewRequest(req))
			if err != nil {
				return err
			}
			return a.print(plainList(resp.Msg.Peers), func(w io.Writer) {
				a.show(w, peerGrid(resp.Msg.Peers), "no peers; `muster peer connect ADDR` or --bootstrap reaches one", "lends", "isolation", "labels")
			})
		}),
	}
	cmd.Flags().StringVar(&req.Can, "can", "", "only peers that meet `EXPR`, connected or not")
	return cmd
}

func peerGrid(peers []*api.Peer) *grid {
	g := columns("id", "connection", "rtt", "lends", "free slots", "price", "isolation", "source", "labels")
	for _, p := range peers {
		connection := "none"
		if p.Connected {
			connection = p.Transport
		}
		rtt := ""
		if p.LatencyMs > 0 {
			rtt = fmt.Sprintf("%.1fms", p.LatencyMs)
		}
		ad := p.Advert
		if ad == nil {
			g.add(p.Id, connection, rtt, "", "", "", "", p.Source, "")
			continue
		}
		g.add(p.Id, connection, rtt, lent(ad), fmt.Sprintf("%d/%d", ad.FreeSlots, ad.Slots), numberText(ad.Price), ad.Isolation, p.Source, labelText(ad.Labels))
	}
	return g
}

func lent(ad *api.Advert) string {
	return ad.Executor + " " + resourceText(ad.Offered)
}

func resourceText(r *api.Resources) string {
	s := fmt.Sprintf("%s cpu, %s", numberText(r.GetCpu()), bytesText(r.GetMemory()))
	if r.GetDisk() > 0 {
		s += ", " + bytesText(r.Disk) + " disk"
	}
	if r.GetGpu() > 0 {
		s += fmt.Sprintf(", %d gpu", r.Gpu)
	}
	return s
}

func newPeerConnect(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "connect ADDR",
		Short:   "Connect to a peer",
		Long:    "Connect reaches the peer at a multiaddress that ends in /p2p/ID, as `muster peer id` prints it there.",
		Example: "  muster peer connect /ip4/192.0.2.7/tcp/4170/p2p/12D3KooW…",
		Args:    argument("ADDR"),
		RunE: a.with(network, func(ctx context.Context, c *client, args []string) error {
			resp, err := c.ConnectPeer(ctx, connect.NewRequest(&api.ConnectPeerRequest{Addr: args[0]}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) { fmt.Fprintf(w, "connected to %s\n", clean(resp.Msg.Id)) })
		}),
	}
}

func newPeerID(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "id",
		Short:   "Print this node's id and addresses",
		Long:    "Id prints the node's id and, where a daemon runs, the addresses by which others reach it.",
		Example: "  muster peer id\n  muster peer id -o json",
		Args:    noArguments,
		RunE: a.with(reading, func(ctx context.Context, c *client, _ []string) error {
			resp, err := c.PeerID(ctx, connect.NewRequest(&api.PeerIDRequest{}))
			if err != nil {
				return err
			}
			return a.print(plain(resp.Msg), func(w io.Writer) {
				fmt.Fprintln(w, resp.Msg.Id)
				for _, addr := range resp.Msg.Addrs {
					fmt.Fprintln(w, addr)
				}
			})
		}),
	}
}
