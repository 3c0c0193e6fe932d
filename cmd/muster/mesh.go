package main

import (
	"context"
	"log/slog"

	"github.com/mustermesh/muster/node"
	"github.com/mustermesh/muster/node/api"
)

// A mesh is what the command line needs of package node; tests put another in
// its place.
type mesh struct {
	// init makes the home and the identity of a node, and gives its id. It may be
	// called again.
	init func(cfg node.Config) (id string, err error)
	// serve runs a daemon until ctx ends and calls ready once it can be reached.
	serve func(ctx context.Context, cfg node.Config, log *slog.Logger, ready func(id string, addrs []string)) error
	// dial reaches the node of a home: a daemon, or else one in this process; for
	// reading alone, one without a network.
	dial func(ctx context.Context, cfg node.Config, reading bool, log *slog.Logger) (*client, error)
}

// A client is a node, asked by its control API. It must be closed.
type client struct {
	api.MusterClient
	own   bool // the node lives in this process and ends with it
	close func() error
}

// realMesh is package node.
func realMesh() mesh {
	node.Version, _ = buildVersion()
	return mesh{
		init: node.Init,
		serve: func(ctx context.Context, cfg node.Config, log *slog.Logger, ready func(id string, addrs []string)) error {
			return node.Run(ctx, cfg, log, node.Parts{Ready: func(i node.Info) { ready(i.ID, i.Addrs) }})
		},
		dial: func(ctx context.Context, cfg node.Config, reading bool, log *slog.Logger) (*client, error) {
			mode := node.Attach
			if reading {
				mode = node.ReadOnly
			}
			c, err := node.Dial(ctx, cfg, mode, log)
			if err != nil {
				return nil, err
			}
			return &client{MusterClient: c.API, own: c.Own, close: c.Close}, nil
		},
	}
}
