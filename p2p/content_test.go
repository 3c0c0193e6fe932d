package p2p

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
)

func TestRefusalAndAbsenceLookAlike(t *testing.T) {
	src := newMemory()
	secret, missing := src.leaf([]byte("secret")), proto.RawCID([]byte("nobody has this"))
	var asker proto.PeerID
	client, servers := contentNodes(t, allow(func(p proto.PeerID, root proto.CID, grant []byte) bool {
		return p == asker && (root != secret || string(grant) == "please")
	}), src)
	asker = client.ID()
	fetch := func(root proto.CID, grant string) error {
		req := request(root, servers[0])
		req.Grant = []byte(grant)
		return client.Fetch(testContext(t), req, newMemory())
	}
	refused, absent := fetch(secret, "now"), fetch(missing, "now")
	if !errors.Is(refused, ErrUnavailable) || !errors.Is(absent, ErrUnavailable) {
		t.Fatalf("got %v and %v, want ErrUnavailable", refused, absent)
	}
	if a, b := answerBytes(t, client, servers[0], secret), answerBytes(t, client, servers[0], missing); !bytes.Equal(a, b) {
		t.Errorf("a refusal is %x, an absence %x", a, b)
	}
	if err := fetch(secret, "please"); err != nil {
		t.Errorf("with the grant: %v", err)
	}
	if n := client.Stats().Misbehaved; n != 0 {
		t.Errorf("a refusal counts as misbehaviour")
	}
}

// answerBytes gives all that a server says to a plain request.
func answerBytes(t *testing.T, client, server *node, root proto.CID) []byte {
	t.Helper()
	s, err := client.OpenStream(testContext(t), server.ID(), contentName, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if err := s.Send(proto.ContentRequest{Root: root, Mode: proto.ContentAll}.Marshal()); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(s.s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestServerAnswersEveryModeAndRange(t *testing.T) {
	src := newMemory()
	root := src.file(12, 10, 3)
	order := func(mode proto.ContentMode) (ids []proto.CID) {
		w := newWalk(root, maxWalk)
		for {
			id, ok := w.next()
			if !ok {
				return ids
			}
			if mode.Has(id) {
				ids = append(ids, id)
			}
			if err := w.descend(context.Background(), src, id); err != nil {
				t.Fatal(err)
			}
		}
	}
	client, servers := contentNodes(t, allow(anybody), src)
	for mode := proto.ContentAll; mode <= proto.ContentLeaves; mode++ {
		all := order(mode)
		n := uint64(len(all))
		for _, r := range [][2]uint64{{0, 0}, {0, 1}, {1, 2}, {n - 1, 1}, {n - 1, 2}, {n, 0}, {0, n}, {5 * n, 3}} {
			first, count := r[0], r[1]
			want := all[min(first, n):]
			end := proto.ContentDone
			if count > 0 && first+count < n {
				want, end = want[:count], proto.ContentMore
			}
			gotIDs, gotEnd := rawAnswer(t, client, servers[0], proto.ContentRequest{Root: root, Mode: mode, First: first, Count: count})
			if fmt.Sprint(gotIDs) != fmt.Sprint(want) || gotEnd != end {
				t.Errorf("%s %d+%d: got %d blocks, %s; want %d, %s", mode, first, count, len(gotIDs), gotEnd, len(want), end)
			}
		}
	}
}

func rawAnswer(t *testing.T, client, server *node, req proto.ContentRequest) (ids []proto.CID, end proto.ContentEnd) {
	t.Helper()
	s, err := client.OpenStream(testContext(t), server.ID(), contentName, proto.MaxContentFrame)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Reset()
	if err := s.Send(req.Marshal()); err != nil {
		t.Fatal(err)
	}
	for {
		b, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		f, err := proto.ParseContentFrame(b)
		if err != nil {
			t.Fatal(err)
		}
		if f.End != 0 {
			return ids, f.End
		}
		if !f.CID.Verify(f.Block) {
			t.Errorf("block %s is wrong", f.CID)
		}
		ids = append(ids, f.CID)
	}
}

func TestContentServerIsBusyRatherThanFull(t *testing.T) {
	src := newMemory()
	root := src.leaf([]byte("x"))
	hold := make(chan struct{})
	src.onGet = func(int64) { <-hold }
	network := randomNetwork()
	server := openNode(t, testConfig(t, network), func(p *pace) { p.block = 500 * time.Millisecond })
	server.ServeContent(src, allow(anybody))
	server.run(t)
	clients := make([]*node, contentTurns/contentPerPeer)
	for i := range clients {
		clients[i] = startNode(t, testConfig(t, network))
		join(t, clients[i], server)
		for range contentPerPeer {
			s, err := clients[i].OpenStream(testContext(t), server.ID(), contentName, 100)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Reset()
			if err := s.Send(proto.ContentRequest{Root: root, Mode: proto.ContentAll}.Marshal()); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all turns are taken", func() bool { return src.gets.Load() == contentTurns })
	last := startNode(t, testConfig(t, network))
	join(t, last, server)
	ids, end := rawAnswer(t, last, server, proto.ContentRequest{Root: root, Mode: proto.ContentAll})
	if len(ids) != 0 || end != proto.ContentBusy {
		t.Errorf("got %v, %s; want busy", ids, end)
	}
	close(hold)
	if _, end := rawAnswer(t, last, server, proto.ContentRequest{Root: root, Mode: proto.ContentAll}); end != proto.ContentDone {
		t.Errorf("later: got %s, want done", end)
	}
}

func TestMalformedContentRequestIsMisbehaviour(t *testing.T) {
	client, servers := contentNodes(t, allow(anybody), newMemory())
	if _, err := client.Call(testContext(t), servers[0].ID(), contentName, []byte("garbage"), 100); !errors.Is(err, ErrReset) {
		t.Errorf("got %v, want ErrReset", err)
	}
	if n := servers[0].Stats().Misbehaved; n != 1 {
		t.Errorf("counted %d breaches, want 1", n)
	}
}
