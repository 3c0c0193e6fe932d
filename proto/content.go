package proto

import (
	"encoding/binary"
	"fmt"

	"github.com/mustermesh/muster/proto/wire"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Limits of content transfer. docs/wire.md, content.
const (
	MaxBlock          = 2 << 20           // bytes of one block
	MaxContentGrant   = 16 << 10          // bytes of a grant inside a request
	MaxContentRequest = 17 << 10          // bytes of a whole request
	MaxContentFrame   = MaxBlock + 64     // bytes of a whole frame
	MaxContentIndex   = uint64(1)<<48 - 1 // the greatest First and Count
	cidLen            = 4 + 32            // bytes of a CID's binary form
	contentCIDField   = protowire.Number(1)
	contentBlockField = protowire.Number(2)
	contentEndField   = protowire.Number(3)
)

// A ContentMode says which blocks of the graph under a root are asked for.
type ContentMode uint8

// Content modes. The numbers are part of the wire format.
const (
	ContentAll    ContentMode = 1 // every block
	ContentNodes  ContentMode = 2 // blocks that hold links (codec dag-pb)
	ContentLeaves ContentMode = 3 // blocks that hold bytes alone (codec raw)
)

// String gives the mode's name.
func (m ContentMode) String() string {
	switch m {
	case ContentAll:
		return "all"
	case ContentNodes:
		return "nodes"
	case ContentLeaves:
		return "leaves"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Has tells whether the mode takes the block that id names.
func (m ContentMode) Has(id CID) bool {
	switch m {
	case ContentAll:
		return true
	case ContentNodes:
		return !id.IsRaw()
	case ContentLeaves:
		return id.IsRaw()
	}
	return false
}

// A ContentRequest asks a peer for blocks of the graph under Root: those that
// Mode takes, numbered from 0 in the order of a depth-first walk that visits
// links in order and each distinct block once.
type ContentRequest struct {
	Root  CID
	Grant []byte // at most [MaxContentGrant] bytes; may be empty
	Mode  ContentMode
	First uint64 // number of the first block wanted
	Count uint64 // how many from there; 0: all the rest
}

// Marshal gives the request's bytes. It panics on a request that no
// [ParseContentRequest] would take: that is our own mistake.
func (r ContentRequest) Marshal() []byte {
	if err := r.check(); err != nil {
		panic(err)
	}
	b, err := proto.Marshal(&wire.ContentRequest{
		Root: r.Root.Bytes(), Grant: r.Grant, Mode: wire.ContentMode(r.Mode), First: r.First, Count: r.Count,
	})
	if err != nil {
		panic(err)
	}
	return b
}

// ParseContentRequest reads a stranger's request. Errors wrap [ErrMalformed].
func ParseContentRequest(b []byte) (ContentRequest, error) {
	if len(b) > MaxContentRequest {
		return ContentRequest{}, fmt.Errorf("%w: content request of %d bytes", ErrMalformed, len(b))
	}
	var m wire.ContentRequest
	if err := proto.Unmarshal(b, &m); err != nil {
		return ContentRequest{}, fmt.Errorf("%w: content request: %v", ErrMalformed, err)
	}
	root, err := CIDFromBytes(m.Root)
	if err != nil {
		return ContentRequest{}, fmt.Errorf("%w: content request: %v", ErrMalformed, err)
	}
	if m.Mode < 0 || m.Mode > wire.ContentMode(ContentLeaves) {
		return ContentRequest{}, fmt.Errorf("%w: content mode %d", ErrMalformed, m.Mode)
	}
	r := ContentRequest{Root: root, Grant: m.Grant, Mode: ContentMode(m.Mode), First: m.First, Count: m.Count}
	return r, r.check()
}

func (r ContentRequest) check() error {
	switch {
	case r.Root.IsZero():
		return fmt.Errorf("%w: content request without a root", ErrMalformed)
	case len(r.Grant) > MaxContentGrant:
		return fmt.Errorf("%w: grant of %d bytes; at most %d", ErrMalformed, len(r.Grant), MaxContentGrant)
	case r.Mode < ContentAll || r.Mode > ContentLeaves:
		return fmt.Errorf("%w: content %s", ErrMalformed, r.Mode)
	case r.First > MaxContentIndex || r.Count > MaxContentIndex:
		return fmt.Errorf("%w: content range %d+%d", ErrMalformed, r.First, r.Count)
	}
	return nil
}

// A ContentEnd says why no further block follows; zero: one does.
type ContentEnd uint8

// Content ends. The numbers are part of the wire format.
const (
	ContentDone       ContentEnd = 1 // nothing of the graph is left in this mode
	ContentMore       ContentEnd = 2 // the count was reached; there is more
	ContentNotFound   ContentEnd = 3 // not here, or not for the asker: the two look alike
	ContentIncomplete ContentEnd = 4 // a block further down is not here
	ContentBusy       ContentEnd = 5 // ask again later
)

var contentEndNames = [...]string{"none", "done", "more", "not found", "incomplete", "busy"}

// String gives the end's name.
func (e ContentEnd) String() string {
	if int(e) < len(contentEndNames) {
		return contentEndNames[e]
	}
	return fmt.Sprintf("end %d", uint8(e))
}

// A ContentFrame is one block with its id, or, where End is not zero, the end of
// an answer. Whether Block is what CID names is for the receiver to verify.
type ContentFrame struct {
	CID   CID
	Block []byte // at most [MaxBlock] bytes
	End   ContentEnd
}

// AppendContentBlock appends to dst all bytes of a length-delimited frame that
// come before the block itself, so that a sender need not copy the block.
func AppendContentBlock(dst []byte, id CID, size int) []byte {
	body := 2 + cidLen + 1 + protowire.SizeVarint(uint64(size)) + size
	dst = binary.AppendUvarint(dst, uint64(body))
	dst = protowire.AppendTag(dst, contentCIDField, protowire.BytesType)
	dst = protowire.AppendBytes(dst, id.Bytes())
	dst = protowire.AppendTag(dst, contentBlockField, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(size))
}

// MarshalContentEnd gives the bytes of an end frame, without its length.
func MarshalContentEnd(e ContentEnd) []byte {
	b := protowire.AppendTag(nil, contentEndField, protowire.VarintType)
	return protowire.AppendVarint(b, uint64(e))
}

// ParseContentFrame reads a stranger's frame without its length. The Block of
// the result is part of b. Errors wrap [ErrMalformed].
func ParseContentFrame(b []byte) (ContentFrame, error) {
	if len(b) > MaxContentFrame {
		return ContentFrame{}, fmt.Errorf("%w: content frame of %d bytes", ErrMalformed, len(b))
	}
	var f ContentFrame
	for len(b) > 0 {
		n, err := f.field(b)
		if err != nil {
			return ContentFrame{}, err
		}
		b = b[n:]
	}
	return f, f.check()
}

// field reads the first field of b and tells its length. An unknown field is
// passed over: a later version may add some.
func (f *ContentFrame) field(b []byte) (int, error) {
	num, typ, tag := protowire.ConsumeTag(b)
	if tag < 0 {
		return 0, fmt.Errorf("%w: content frame: %v", ErrMalformed, protowire.ParseError(tag))
	}
	n := protowire.ConsumeFieldValue(num, typ, b[tag:])
	if n < 0 {
		return 0, fmt.Errorf("%w: content frame: %v", ErrMalformed, protowire.ParseError(n))
	}
	switch {
	case num == contentCIDField && typ == protowire.BytesType:
		v, _ := protowire.ConsumeBytes(b[tag:])
		id, err := CIDFromBytes(v)
		if err != nil {
			return 0, fmt.Errorf("%w: content frame: %v", ErrMalformed, err)
		}
		f.CID = id
	case num == contentBlockField && typ == protowire.BytesType:
		f.Block, _ = protowire.ConsumeBytes(b[tag:])
	case num == contentEndField && typ == protowire.VarintType:
		v, _ := protowire.ConsumeVarint(b[tag:])
		if v > uint64(ContentBusy) {
			return 0, fmt.Errorf("%w: content end %d", ErrMalformed, v)
		}
		f.End = ContentEnd(v)
	}
	return tag + n, nil
}

func (f ContentFrame) check() error {
	switch {
	case f.End != 0 && (!f.CID.IsZero() || len(f.Block) > 0):
		return fmt.Errorf("%w: content frame holds a block and an end", ErrMalformed)
	case f.End == 0 && f.CID.IsZero():
		return fmt.Errorf("%w: content frame holds neither a block nor an end", ErrMalformed)
	case len(f.Block) > MaxBlock:
		return fmt.Errorf("%w: block of %d bytes; at most %d", ErrMalformed, len(f.Block), MaxBlock)
	}
	return nil
}
