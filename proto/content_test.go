package proto

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"reflect"
	"testing"

	"github.com/mustermesh/muster/proto/wire"
	"google.golang.org/protobuf/proto"
)

func contentRequests() []ContentRequest {
	root := RawCID([]byte("root"))
	return []ContentRequest{
		{Root: root, Mode: ContentAll},
		{Root: root, Mode: ContentNodes, First: 3},
		{Root: root, Grant: []byte("grant"), Mode: ContentLeaves, First: 1024, Count: 16},
		{Root: root, Grant: make([]byte, MaxContentGrant), Mode: ContentAll, First: MaxContentIndex, Count: MaxContentIndex},
	}
}

func TestContentRequestComesBackAsItWasSent(t *testing.T) {
	for _, want := range contentRequests() {
		b := want.Marshal()
		if len(b) > MaxContentRequest {
			t.Errorf("a request of %d bytes is longer than MaxContentRequest", len(b))
		}
		got, err := ParseContentRequest(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
}

// The bytes of content transfer, which never move under its name.
func TestContentBytesHaveNotMoved(t *testing.T) {
	id := RawCID([]byte("hello"))
	cid := "01551220" + "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	req := ContentRequest{Root: id, Grant: []byte("g"), Mode: ContentLeaves, First: 300, Count: 16}
	for name, c := range map[string]struct {
		got  []byte
		want string
	}{
		"request": {req.Marshal(), "0a24" + cid + "120167" + "1803" + "20ac02" + "2810"},
		"block":   {append(AppendContentBlock(nil, id, 5), "hello"...), "2d" + "0a24" + cid + "120568656c6c6f"},
		"end":     {MarshalContentEnd(ContentNotFound), "1803"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestParseContentRequestRefuses(t *testing.T) {
	root := RawCID([]byte("root")).Bytes()
	for name, m := range map[string]*wire.ContentRequest{
		"no root":       {Mode: wire.ContentMode_CONTENT_MODE_ALL},
		"half a root":   {Root: root[:20], Mode: wire.ContentMode_CONTENT_MODE_ALL},
		"no mode":       {Root: root},
		"unknown mode":  {Root: root, Mode: 257},
		"negative mode": {Root: root, Mode: -1},
		"long grant":    {Root: root, Mode: wire.ContentMode_CONTENT_MODE_ALL, Grant: make([]byte, MaxContentGrant+1)},
		"far range":     {Root: root, Mode: wire.ContentMode_CONTENT_MODE_ALL, First: MaxContentIndex + 1},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseContentRequest(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

// The frame is coded by hand to save a copy of every block; the generated
// message is the reference.
func TestContentFrameIsTheProtobufItClaims(t *testing.T) {
	for _, size := range []int{0, 1, 127, 128, 16 << 10, MaxBlock} {
		block := bytes.Repeat([]byte{7}, size)
		id := RawCID(block)
		b := append(AppendContentBlock(nil, id, size), block...)
		n, k := binary.Uvarint(b)
		if int(n) != len(b)-k {
			t.Fatalf("block of %d: length says %d, frame has %d", size, n, len(b)-k)
		}
		var m wire.ContentFrame
		if err := proto.Unmarshal(b[k:], &m); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(m.Cid, id.Bytes()) || !bytes.Equal(m.Block, block) || m.End != 0 {
			t.Errorf("block of %d: the reference reads something else", size)
		}
		f, err := ParseContentFrame(b[k:])
		if err != nil || f.CID != id || !bytes.Equal(f.Block, block) || f.End != 0 {
			t.Errorf("block of %d: read back as %v of %d bytes, %v", size, f.CID, len(f.Block), err)
		}
	}
	for e := ContentDone; e <= ContentBusy; e++ {
		var m wire.ContentFrame
		if err := proto.Unmarshal(MarshalContentEnd(e), &m); err != nil || ContentEnd(m.End) != e {
			t.Errorf("end %s: the reference reads %v, %v", e, m.End, err)
		}
		if f, err := ParseContentFrame(MarshalContentEnd(e)); err != nil || f.End != e {
			t.Errorf("end %s: read back as %s, %v", e, f.End, err)
		}
	}
}

func TestParseContentFrameRefuses(t *testing.T) {
	id := RawCID(nil).Bytes()
	for name, m := range map[string]*wire.ContentFrame{
		"nothing":           {},
		"block without id":  {Block: []byte("x")},
		"half an id":        {Cid: id[:10]},
		"block and end":     {Cid: id, End: wire.ContentEnd_CONTENT_END_DONE},
		"unknown end":       {End: 6},
		"block over 2 MiB":  {Cid: id, Block: make([]byte, MaxBlock+1)},
		"far over the size": {Cid: id, Block: make([]byte, MaxBlock+1000)},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseContentFrame(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzParseContentRequest(f *testing.F) {
	for _, r := range contentRequests()[:3] {
		f.Add(r.Marshal())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseContentRequest(b)
		if err != nil {
			return
		}
		again, err := ParseContentRequest(r.Marshal())
		if err != nil || again.Root != r.Root || again.Mode != r.Mode || again.First != r.First ||
			again.Count != r.Count || !bytes.Equal(again.Grant, r.Grant) {
			t.Errorf("%+v came back as %+v, %v", r, again, err)
		}
	})
}

func FuzzParseContentFrame(f *testing.F) {
	f.Add(MarshalContentEnd(ContentNotFound))
	f.Add(append(AppendContentBlock(nil, RawCID([]byte("x")), 1), 'x')[1:])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ParseContentFrame(b)
		if err != nil {
			return
		}
		var m wire.ContentFrame
		if err := proto.Unmarshal(b, &m); err != nil {
			t.Fatalf("we read what the reference refuses: %v", err)
		}
		if ContentEnd(m.End) != got.End || !bytes.Equal(m.Block, got.Block) {
			t.Errorf("we read %+v, the reference %v", got, &m)
		}
	})
}
