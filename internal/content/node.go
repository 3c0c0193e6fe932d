package content

import (
	"fmt"
	"math"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/hamt"
	"github.com/ipfs/go-cid"

	"github.com/mustermesh/muster/proto"
)

// A Node is a file or a directory in the store.
type Node struct {
	CID     proto.CID
	Size    int64 // bytes of content: of a file, or of all files below a directory
	DAGSize int64 // bytes of all its blocks, as the graph states it; 0: not known yet
	Dir     bool
}

const (
	maxSize      = math.MaxInt64 / 2 // bytes that a graph may claim to hold
	maxFileDepth = 64                // levels of one file's graph
	maxShard     = 1 << 10           // widest HAMT node, as boxo has it
)

// A link is one edge of a graph.
type link struct {
	cid   proto.CID
	name  string
	tsize int64 // what the parent claims of the child's blocks; -1: nothing
}

type kind int

const (
	kindFile kind = iota + 1
	kindDir
	kindShard
)

// A vertex is one decoded block.
type vertex struct {
	kind  kind
	data  []byte // of a file: what comes before the children
	size  int64  // of a file
	links []link
	sizes []int64 // of a file: of each child
	pad   int     // of a shard: how many characters of a link's name are not the entry's
}

// decodeLinks decodes the dag-pb layer of a block.
func decodeLinks(block []byte) (data []byte, links []link, err error) {
	if len(block) > MaxBlock {
		return nil, nil, fmt.Errorf("%w: a block of %d bytes", ErrTooLarge, len(block))
	}
	nd, err := merkledag.DecodeProtobuf(block)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	links = make([]link, len(nd.Links()))
	for i, l := range nd.Links() {
		c, err := fromCid(l.Cid)
		if err != nil {
			return nil, nil, err
		}
		links[i] = link{cid: c, name: l.Name, tsize: -1}
		if l.Size <= maxSize {
			links[i].tsize = int64(l.Size)
		}
	}
	return nd.Data(), links, nil
}

// decode reads the block that c names, whose bytes have been checked. Errors
// wrap ErrMalformed.
func decode(c proto.CID, block []byte) (*vertex, error) {
	if c.IsRaw() {
		return &vertex{kind: kindFile, data: block, size: int64(len(block))}, nil
	}
	data, links, err := decodeLinks(block)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	fsn, err := unixfs.FSNodeFromBytes(data)
	if err != nil {
		return nil, fmt.Errorf("block %s: %w: %w", c, ErrMalformed, err)
	}
	v := &vertex{links: links}
	switch fsn.Type() {
	case unixfs.TFile, unixfs.TRaw:
		err = v.file(fsn)
	case unixfs.TDirectory:
		v.kind = kindDir
	case unixfs.THAMTShard:
		err = v.shard(fsn)
	case unixfs.TSymlink:
		err = fmt.Errorf("%w: a symbolic link", ErrMalformed)
	default:
		err = fmt.Errorf("%w: unixfs type %d", ErrMalformed, fsn.Type())
	}
	if err != nil {
		return nil, fmt.Errorf("block %s: %w", c, err)
	}
	return v, nil
}

// file checks that the sizes agree among themselves; whether they tell the truth
// shows when a child is read.
func (v *vertex) file(fsn *unixfs.FSNode) error {
	v.kind, v.data = kindFile, fsn.Data()
	if len(fsn.BlockSizes()) != len(v.links) {
		return fmt.Errorf("%w: %d children and %d sizes", ErrMalformed, len(v.links), len(fsn.BlockSizes()))
	}
	v.size = int64(len(v.data))
	for _, n := range fsn.BlockSizes() {
		if n > maxSize || v.size+int64(n) > maxSize {
			return fmt.Errorf("%w: the file claims to be too large", ErrMalformed)
		}
		v.size += int64(n)
		v.sizes = append(v.sizes, int64(n))
	}
	// A leaf without children may leave its size out.
	if fsn.FileSize() != uint64(v.size) && (fsn.FileSize() != 0 || len(v.links) > 0) {
		return fmt.Errorf("%w: the file claims %d bytes and its parts %d", ErrMalformed, fsn.FileSize(), v.size)
	}
	return nil
}

func (v *vertex) shard(fsn *unixfs.FSNode) error {
	width := fsn.Fanout()
	if width < 8 || width > maxShard || width&(width-1) != 0 || fsn.HashType() != hamt.HashMurmur3 {
		return fmt.Errorf("%w: directory shard of width %d, hash %#x", ErrMalformed, width, fsn.HashType())
	}
	v.kind, v.pad = kindShard, len(fmt.Sprintf("%X", width-1))
	if len(v.links) > int(width) {
		return fmt.Errorf("%w: directory shard of width %d with %d links", ErrMalformed, width, len(v.links))
	}
	return nil
}

// fromCid takes only what the profile makes. Errors wrap ErrMalformed.
func fromCid(c cid.Cid) (proto.CID, error) {
	id, err := proto.CIDFromBytes(c.Bytes())
	if err != nil {
		return proto.CID{}, fmt.Errorf("%w: %s: %w", ErrMalformed, c, err)
	}
	return id, nil
}

func toCid(c proto.CID) cid.Cid {
	_, id, err := cid.CidFromBytes(c.Bytes())
	if err != nil {
		panic("content: a CID of ours is none of theirs: " + err.Error())
	}
	return id
}
