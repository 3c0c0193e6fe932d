package p2p

import (
	"context"
	"io"
	"testing"

	"github.com/mustermesh/muster/proto"

	"github.com/libp2p/go-libp2p/core/network"
)

const benchBytes = 256 << 20

// BenchmarkTransfer compares a fetch of 256 MiB in 1 MiB blocks, verified and
// stored, with the bare stream of the library that it runs on, both between two
// hosts in this process.
func BenchmarkTransfer(b *testing.B) {
	src := newMemory()
	root := src.file(benchBytes>>20, 1<<20, 1024)
	server, client := openNode(b, testConfig(b, randomNetwork())), (*node)(nil)
	server.ServeContent(src, allow(anybody))
	server.run(b)
	client = startNode(b, testConfig(b, server.cfg.Network))
	join(b, client, server)
	leaves, err := src.Links(root, src.blocks[root])
	if err != nil {
		b.Fatal(err)
	}
	server.net.SetStreamHandler(server.protocolID("bench/1.0.0"), func(s network.Stream) {
		for _, id := range leaves {
			if _, err := s.Write(src.blocks[id]); err != nil {
				b.Error(err)
			}
		}
		s.Close()
	})
	b.Run("stream", func(b *testing.B) { benchStream(b, client, server) })
	b.Run("fetch", func(b *testing.B) { benchFetch(b, client, server, root) })
	b.Run("stream again", func(b *testing.B) { benchStream(b, client, server) })
	b.Run("fetch again", func(b *testing.B) { benchFetch(b, client, server, root) })
}

func benchStream(b *testing.B, client, server *node) {
	id := server.protocolID("bench/1.0.0")
	b.SetBytes(benchBytes)
	buf := make([]byte, 1<<20)
	for b.Loop() {
		s, err := client.net.NewStream(context.Background(), server.net.ID(), id)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.Write(nil); err != nil {
			b.Fatal(err)
		}
		s.CloseWrite()
		for got := 0; got < benchBytes; {
			n, err := s.Read(buf)
			if got += n; err != nil && err != io.EOF {
				b.Fatal(err)
			}
		}
		s.Close()
	}
}

func benchFetch(b *testing.B, client, server *node, root proto.CID) {
	b.SetBytes(benchBytes)
	for b.Loop() {
		if err := client.Fetch(context.Background(), request(root, server), &sink{memory: newMemory()}); err != nil {
			b.Fatal(err)
		}
	}
}

// sink keeps the nodes alone: what a disk costs is not the network's affair.
type sink struct{ *memory }

func (s *sink) Put(ctx context.Context, id proto.CID, block []byte) error {
	if id.IsRaw() {
		return nil
	}
	return s.memory.Put(ctx, id, block)
}

func BenchmarkCall(b *testing.B) {
	client, server := serving(b, echo)
	req := make([]byte, 300)
	for b.Loop() {
		if _, err := client.Call(context.Background(), server.ID(), echo.Name, req, 1000); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkMessages sends small messages over one stream that stays open, one at
// a time and many at a time.
func BenchmarkMessages(b *testing.B) {
	client, server := serving(b, echo)
	s, err := client.OpenStream(context.Background(), server.ID(), echo.Name, 1000)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Reset()
	msg := make([]byte, 300)
	b.Run("one at a time", func(b *testing.B) {
		for b.Loop() {
			if err := s.Send(msg); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 senders", func(b *testing.B) {
		b.SetParallelism(32)
		done := make(chan error, 1)
		go func() {
			for range b.N {
				if _, err := s.Recv(); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := s.Send(msg); err != nil {
					b.Error(err)
				}
			}
		})
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	})
}
