package content

import (
	"context"
	"fmt"
	"unicode/utf8"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	ipld "github.com/ipfs/go-ipld-format"
)

const (
	maxName  = 255  // bytes of one name
	maxPath  = 4096 // bytes of a path in a tree
	maxLevel = 64   // directories inside each other
)

// A child is one entry of a directory being made.
type child struct {
	name string
	node Node // DAGSize known
}

// dir makes a directory: one block, or a HAMT if that block would be larger than
// dirLimit. Boxo decides this in uio.Directory, entry by entry and by process
// globals; here all entries are known.
func (w *writer) dir(children []child) (Node, error) {
	n := Node{Dir: true}
	basic := merkledag.NodeWithData(unixfs.FolderPBData())
	if err := basic.SetCidBuilder(cidBuilder); err != nil {
		return Node{}, err
	}
	for _, c := range children {
		n.Size += c.node.Size
		if err := basic.AddRawLink(c.name, c.link()); err != nil {
			return Node{}, err
		}
	}
	block, err := basic.EncodeProtobuf(false)
	if err != nil {
		return Node{}, err
	}
	var nd ipld.Node = basic
	if len(block) > dirLimit {
		if nd, err = w.shards(children); err != nil {
			return Node{}, err
		}
	}
	if err := w.Add(w.ctx, nd); err != nil {
		return Node{}, err
	}
	return n.of(nd)
}

func (n Node) of(nd ipld.Node) (Node, error) {
	id, err := fromCid(nd.Cid())
	if err != nil {
		return Node{}, err
	}
	size, err := nd.Size()
	n.CID, n.DAGSize = id, int64(size)
	return n, err
}

func (c child) link() *ipld.Link {
	return &ipld.Link{Name: c.name, Size: uint64(c.node.DAGSize), Cid: toCid(c.node.CID)}
}

func (w *writer) shards(children []child) (ipld.Node, error) {
	shard, err := hamt.NewShard(w, dirFanout)
	if err != nil {
		return nil, err
	}
	shard.SetCidBuilder(cidBuilder)
	for _, c := range children {
		if err := shard.SetLink(w.ctx, c.name, c.link()); err != nil {
			return nil, err
		}
	}
	return shard.Node()
}

// checkName tells what is wrong with the name of one entry.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("the name %q", name)
	case len(name) > maxName:
		return fmt.Errorf("a name of %d bytes (%.40q…); %d are allowed", len(name), name, maxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %q is not UTF-8", name)
	}
	for _, b := range []byte(name) {
		if b == '/' || b == 0 {
			return fmt.Errorf("the name %q", name)
		}
	}
	return nil
}

// NewDir adds an empty directory.
func (s *Store) NewDir(ctx context.Context) (Node, error) { return s.BuildTree(ctx, nil) }
