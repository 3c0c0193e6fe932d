package p2p

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"

	ma "github.com/multiformats/go-multiaddr"
)

func TestReadFrame(t *testing.T) {
	length := func(n uint64) []byte { return binary.AppendUvarint(nil, n) }
	big := bytes.Repeat([]byte("0123456789"), 30_000)
	for name, c := range map[string]struct {
		in   []byte
		max  int
		want []byte
		err  error
	}{
		"empty message":             {in: length(0), max: 0},
		"message":                   {in: []byte("\x03abc"), max: 3, want: []byte("abc")},
		"grows past the first step": {in: appendFrame(nil, big), max: len(big), want: big},
		"nothing left":              {err: io.EOF},
		"half a length":             {in: []byte{0x80}, max: 10, err: io.ErrUnexpectedEOF},
		"half a message":            {in: []byte("\x03ab"), max: 10, err: io.ErrUnexpectedEOF},
		"length alone":              {in: length(5), max: 10, err: io.ErrUnexpectedEOF},
		"one byte too long":         {in: []byte("\x03abc"), max: 2, err: ErrTooLarge},
		"far too long":              {in: length(math.MaxUint64), max: math.MaxInt32, err: ErrTooLarge},
		"length of eleven bytes":    {in: bytes.Repeat([]byte{0xff}, 11), max: 10, err: ErrFrame},
	} {
		for _, buf := range [][]byte{nil, make([]byte, 0, 1<<20)} {
			r := bufio.NewReader(iotest.OneByteReader(bytes.NewReader(c.in)))
			got, err := readFrame(r, c.max, buf)
			if !errors.Is(err, c.err) || err == nil && !bytes.Equal(got, c.want) {
				t.Errorf("%s: got %d bytes, %v; want %d, %v", name, len(got), err, len(c.want), c.err)
			}
		}
	}
}

// A length that promises much makes us hold little.
func TestReadFrameDoesNotTrustTheLength(t *testing.T) {
	in := append(binary.AppendUvarint(nil, 1<<30), make([]byte, 100)...)
	const runs = 16
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := readFrame(bufio.NewReader(bytes.NewReader(in)), 1<<30, nil); err != io.ErrUnexpectedEOF {
			t.Fatalf("got %v", err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 4*firstAlloc {
		t.Errorf("%d bytes set aside for a promise", got)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x03abc\x00\x05de"), 10)
	f.Add(bytes.Repeat([]byte{0xff}, 12), 1)
	f.Fuzz(func(t *testing.T, in []byte, max int) {
		max &= 1<<20 - 1
		r := bufio.NewReader(bytes.NewReader(in))
		var again []byte
		for {
			m, err := readFrame(r, max, nil)
			if err != nil {
				break
			}
			if len(m) > max {
				t.Fatalf("read %d bytes, at most %d allowed", len(m), max)
			}
			again = appendFrame(again, m)
		}
		// Lengths may be written longer than needed, so compare what is read.
		a, b := bufio.NewReader(bytes.NewReader(in)), bufio.NewReader(bytes.NewReader(again))
		for {
			want, err := readFrame(b, max, nil)
			if err != nil {
				return
			}
			if got, err := readFrame(a, max, nil); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%q came back as %q, %v", got, want, err)
			}
		}
	})
}

func TestAddrGroup(t *testing.T) {
	for addr, want := range map[string]string{
		"/ip4/203.0.114.77/tcp/1":         "203.0.114.0/24",
		"/ip4/203.0.114.78/udp/1/quic-v1": "203.0.114.0/24",
		"/ip6/2607:f8b0:1:2::3/tcp/1":     "2607:f8b0:1::/48",
		"/ip4/192.168.1.2/tcp/1":          "",
		"/ip4/127.0.0.1/tcp/1":            "",
		"/ip4/169.254.1.1/tcp/1":          "",
		"/ip6/fe80::1/tcp/1":              "",
		"/ip6/fd00::1/tcp/1":              "",
		"/ip4/100.64.0.1/tcp/1":           "",
	} {
		a, err := ma.NewMultiaddr(addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := addrGroup(a); got != want {
			t.Errorf("%s: got %q, want %q", addr, got, want)
		}
	}
}

func TestRankDials(t *testing.T) {
	var addrs []ma.Multiaddr
	for _, s := range []string{"/ip4/192.168.1.2/udp/1/quic-v1", "/ip4/192.168.1.2/tcp/1", "/ip4/8.8.8.8/udp/1/quic-v1", "/ip4/8.8.8.8/tcp/1"} {
		a, err := ma.NewMultiaddr(s)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, a)
	}
	delay := make(map[string]int64)
	for _, d := range rankDials(addrs) {
		delay[d.Addr.String()] = d.Delay.Milliseconds()
	}
	if len(delay) != len(addrs) {
		t.Fatalf("%d of %d addresses are dialled", len(delay), len(addrs))
	}
	if delay["/ip4/192.168.1.2/tcp/1"] != 0 || delay["/ip4/192.168.1.2/udp/1/quic-v1"] < 200 {
		t.Errorf("nearby: %v, want TCP first", delay)
	}
	if delay["/ip4/8.8.8.8/udp/1/quic-v1"] != 0 || delay["/ip4/8.8.8.8/tcp/1"] < 200 {
		t.Errorf("far: %v, want QUIC first", delay)
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("/ip4/127.0.0.1/tcp/1/p2p/12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d")
	f.Add("/ip4/1.2.3.4/tcp/1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/p2p-circuit/p2p/12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d")
	f.Fuzz(func(t *testing.T, s string) {
		info, err := parseTarget(s)
		if err == nil && (len(info.Addrs) == 0 || info.ID == "") {
			t.Errorf("%q gives %v", s, info)
		}
	})
}
