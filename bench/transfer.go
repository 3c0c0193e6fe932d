package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	mrand "math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mustermesh/muster/p2p"
	"github.com/mustermesh/muster/proto"
)

// serveTransfer is the argument by which bench starts itself as the other end.
const serveTransfer = "-serve-transfer"

const (
	leafSize    = 1 << 20
	rawName     = "bench/1.0.0"
	transferMax = 1 << 40
)

var errMissing = errors.New("not here")

// A graph is a file of random leaves under one root, kept in memory: what a disk
// costs is not the network's affair. The root holds its links one after the
// other, and a byte more, so that it differs from any leaf.
type graph struct {
	root   proto.CID
	leaves []proto.CID
	blocks map[proto.CID][]byte
}

func newGraph(leaves int) *graph {
	g := &graph{blocks: make(map[proto.CID][]byte)}
	r := mrand.NewChaCha8([32]byte{1})
	var links []byte
	for range leaves {
		b := make([]byte, leafSize)
		r.Read(b)
		id := proto.RawCID(b)
		g.blocks[id] = b
		g.leaves = append(g.leaves, id)
		links = append(links, id.Bytes()...)
	}
	links = append(links, 0)
	sum := sha256.Sum256(links)
	root, err := proto.CIDFromBytes(append([]byte{1, 0x70, 0x12, 32}, sum[:]...))
	if err != nil {
		panic(err) // the bytes are ours
	}
	g.root, g.blocks[root] = root, links
	return g
}

// Get gives a block that is here.
func (g *graph) Get(_ context.Context, id proto.CID) ([]byte, error) {
	if b, ok := g.blocks[id]; ok {
		return b, nil
	}
	return nil, errMissing
}

// Has tells whether a block is here.
func (g *graph) Has(_ context.Context, id proto.CID) (bool, error) {
	_, ok := g.blocks[id]
	return ok, nil
}

// Put keeps the root, and of the leaves nothing.
func (g *graph) Put(_ context.Context, id proto.CID, block []byte) error {
	if !id.IsRaw() {
		g.blocks[id] = append([]byte(nil), block...)
	}
	return nil
}

// Links reads the root's links.
func (g *graph) Links(_ proto.CID, block []byte) (out []proto.CID, err error) {
	for ; len(block) >= 36; block = block[36:] {
		id, err := proto.CIDFromBytes(block[:36])
		if err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, nil
}

// Allow lets everybody have everything.
func (g *graph) Allow(proto.PeerID, proto.CID, []byte) bool { return true }

func openHost(network string) (*p2p.Host, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return p2p.Open(p2p.Config{
		Network: network, Key: key, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Agent: "muster/bench", ConnLow: 64, ConnHigh: 128,
	}, slog.New(slog.DiscardHandler))
}

// A served is what the other end says of itself.
type served struct {
	Addrs []string
	Root  proto.CID
}

// transferServer is the other end: it serves so many MiB (in network:MiB) until
// its input ends, by muster's protocol and as a plain stream.
func transferServer(what string, in io.Reader, out io.Writer) error {
	network, size, _ := strings.Cut(what, ":")
	var leaves int
	if _, err := fmt.Sscan(size, &leaves); err != nil {
		return err
	}
	h, err := openHost(network)
	if err != nil {
		return err
	}
	g := newGraph(leaves)
	h.ServeContent(g, g)
	h.Serve(p2p.Service{Name: rawName, MaxMessage: 2 * leafSize, Deadline: time.Minute, MaxStreamsPerPeer: 8, Handle: g.stream})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1) // the one result of Run
	go func() { done <- h.Run(ctx) }()
	if err := json.NewEncoder(out).Encode(served{h.Addrs(), g.root}); err != nil {
		cancel()
		return err
	}
	_, _ = io.Copy(io.Discard, in)
	cancel()
	return errors.Join(<-done, h.Close())
}

// stream sends all leaves, one message each, and nothing else.
func (g *graph) stream(_ context.Context, s *p2p.Stream) error {
	if _, err := s.Recv(); err != nil {
		return err
	}
	for _, id := range g.leaves {
		if err := s.Send(g.blocks[id]); err != nil {
			return err
		}
	}
	return nil
}

// transfer fetches from another process, in turn with a plain stream.
func (b *bench) transfer(ctx context.Context) error {
	leaves := b.some(256, 32)
	network := "bench-" + strings.ToLower(rand.Text()[:10])
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, serveTransfer, fmt.Sprintf("%s:%d", network, leaves))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var other served
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err = errors.Join(err, json.Unmarshal(line, &other)); err == nil {
		err = b.compare(ctx, network, other, leaves)
	}
	stdin.Close()
	return errors.Join(err, cmd.Wait())
}

func (b *bench) compare(ctx context.Context, network string, other served, leaves int) error {
	h, err := openHost(network)
	if err != nil {
		return err
	}
	h.Serve(p2p.Service{Name: rawName, MaxMessage: 2 * leafSize, Deadline: time.Minute, MaxStreamsPerPeer: 8, Handle: (&graph{}).stream})
	running, cancel := context.WithCancel(ctx)
	done := make(chan error, 1) // the one result of Run
	go func() { done <- h.Run(running) }()
	err = b.race(ctx, h, other, leaves)
	cancel()
	return errors.Join(err, <-done, h.Close())
}

func (b *bench) race(ctx context.Context, h *p2p.Host, other served, leaves int) error {
	peer, err := h.Connect(ctx, other.Addrs[0])
	if err != nil {
		return err
	}
	var fetched, streamed []float64
	for range b.some(7, 3) {
		began := time.Now()
		if err := h.Fetch(ctx, p2p.FetchRequest{Root: other.Root, From: []proto.PeerID{peer}, MaxBytes: transferMax}, &graph{blocks: map[proto.CID][]byte{}}); err != nil {
			return fmt.Errorf("fetch: %w", err)
		}
		fetched = append(fetched, float64(leaves)/time.Since(began).Seconds())
		began = time.Now()
		if err := drain(ctx, h, peer, leaves); err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		streamed = append(streamed, float64(leaves)/time.Since(began).Seconds())
	}
	ratio := make([]float64, len(fetched))
	for i := range ratio {
		ratio[i] = fetched[i] / streamed[i]
	}
	b.figures.add(figure{What: fmt.Sprintf("fetch of %d MiB, verified, two processes", leaves), Value: median(fetched), Unit: "MiB/s", Note: "kept in memory"})
	b.figures.add(figure{What: "  plain stream over TCP and TLS, same run", Value: median(streamed), Unit: "MiB/s", Note: "messages of 1 MiB"})
	b.figures.add(figure{What: "  their ratio", Value: median(ratio), Unit: "×", Goal: 0.7})
	return nil
}

// drain reads a plain stream to its end.
func drain(ctx context.Context, h *p2p.Host, peer proto.PeerID, leaves int) error {
	s, err := h.OpenStream(ctx, peer, rawName, 2*leafSize)
	if err != nil {
		return err
	}
	defer s.Reset()
	if err := s.Send([]byte("go")); err != nil {
		return err
	}
	for range leaves {
		if _, err := s.Recv(); err != nil {
			return err
		}
	}
	return nil
}
