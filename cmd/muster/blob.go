package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/mustermesh/muster/node/api"
)

func newBlob(a *app) *cobra.Command {
	return group(a, "blob", "Keep and fetch files by content id", newBlobAdd(a), newBlobGet(a), newBlobStat(a))
}

func newBlobAdd(a *app) *cobra.Command {
	req := &api.AddBlobRequest{}
	cmd := &cobra.Command{
		Use:   "add PATH",
		Short: "Put a file or directory into this node's store and print its CID",
		Long: `Add puts a file or directory into this node's store and prints its CID, the same that
any IPFS tool computes under the profile unixfs-v1-2025. Only a public blob is ever
given to other peers without a grant.`,
		Example: "  muster blob add ./data\n  muster blob add --public prog.wasm",
		Args:    argument("PATH"),
		RunE: a.with(reading, func(ctx context.Context, c *client, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			req.Path = path
			last, err := addBlob(ctx, c, req)
			if err != nil {
				return err
			}
			return a.print(plain(last), func(w io.Writer) { fmt.Fprintln(w, last.Cid) })
		}),
	}
	cmd.Flags().BoolVar(&req.Public, "public", false, "let any peer have it, and tell the network of it")
	return cmd
}

func addBlob(ctx context.Context, c *client, req *api.AddBlobRequest) (last *api.AddBlobResponse, err error) {
	if _, err := os.Stat(req.Path); err != nil {
		return nil, err
	}
	stream, err := c.AddBlob(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		last = stream.Msg()
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if last.GetCid() == "" {
		return nil, errors.New("the node read the files but gave no CID; see its log")
	}
	return last, nil
}

func newBlobGet(a *app) *cobra.Command {
	req := &api.GetBlobRequest{}
	var dir string
	var force bool
	cmd := &cobra.Command{
		Use:   "get CID",
		Short: "Fetch a file or directory by its CID",
		Long: `Get writes a file to standard output, or with -d into DIR, where a directory's files
keep their paths. What this node does not have it fetches from peers, and checks
every block.`,
		Example: "  muster blob get bafk… > prog.wasm\n  muster blob get bafy… -d ./data",
		Args:    argument("CID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFolder(dir, force); err != nil {
				return err
			}
			req.Cid = args[0]
			offline := false
			get := func(ctx context.Context, c *client, _ []string) error {
				offline = c.own
				return a.getBlob(ctx, c, req, dir, force)
			}
			if len(req.From) == 0 {
				err := a.with(reading, get)(cmd, args)
				if !offline || connect.CodeOf(err) != connect.CodeNotFound {
					return err
				}
			}
			return a.with(network, get)(cmd, args)
		},
	}
	cmd.Flags().StringArrayVar(&req.From, "from", nil, "ask only the peer with this `ID`; may be repeated")
	cmd.Flags().StringVarP(&dir, "dir", "d", "", "`DIR` to write into")
	cmd.Flags().BoolVar(&force, "force", false, "write into a folder that has files already, over those that are in the way")
	return cmd
}

func (a *app) getBlob(ctx context.Context, c *client, req *api.GetBlobRequest, dir string, force bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.GetBlob(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	if dir != "" {
		n, err := fetch(stream, dir, force)
		if err == nil {
			fmt.Fprintf(a.err, "%s in %s\n", plural(n, "file"), dir)
		}
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if m := stream.Msg(); m.Dir || strings.Contains(m.Path, "/") {
			return errors.New("this is a directory; say where to put it with -d DIR")
		}
		if _, err := a.out.Write(stream.Msg().Data); err != nil {
			return err
		}
	}
	return stream.Err()
}

func newBlobStat(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "stat CID",
		Short:   "Show what this node knows of a blob",
		Example: "  muster blob stat bafy…",
		Args:    argument("CID"),
		RunE: a.with(reading, func(ctx context.Context, c *client, args []string) error {
			resp, err := c.StatBlob(ctx, connect.NewRequest(&api.StatBlobRequest{Cid: args[0]}))
			if err != nil {
				return err
			}
			s := resp.Msg
			return a.print(plain(s), func(w io.Writer) {
				kind := "file"
				if s.Dir {
					kind = fmt.Sprintf("directory of %d", s.Entries)
				}
				a.page(w).facts("cid", s.Cid, "kind", kind, "size", bytesText(s.Size), "complete", s.Complete, "class", s.Class, "pinned for", strings.Join(s.Pins, ", "))
			})
		}),
	}
}
