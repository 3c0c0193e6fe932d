package executor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
)

// A script is a connection on which a child says what is in it, and that
// throws away what it hears.
type script struct{ io.Reader }

func (script) Write(p []byte) (int, error) { return len(p), nil }

// A strictSink checks what gets through to the caller.
type strictSink struct {
	memSink
	t     *testing.T
	bytes uint64
}

func (s *strictSink) path(p string) {
	if checkPath(p) != nil || p != "out" && !strings.HasPrefix(p, "out/") {
		s.t.Errorf("path %q got through", p)
	}
	if n := len(s.order); n > 0 && comparePaths(strings.TrimSuffix(s.order[n-1], "/"), p) >= 0 {
		s.t.Errorf("path %q after %q", p, s.order[n-1])
	}
}

func (s *strictSink) Dir(p string) error { s.path(p); return s.memSink.Dir(p) }

func (s *strictSink) File(p string, size int64, r io.Reader) error {
	s.path(p)
	err := s.memSink.File(p, size, r)
	if n := int64(len(s.files[p])); n > size || err == nil && n != size {
		s.t.Errorf("file %q of %d bytes has %d", p, size, n)
	}
	s.bytes += uint64(len(s.files[p]))
	return err
}

// hear lets a parent hear what a child says.
func hear(t *testing.T, says []byte) (Result, *strictSink, error) {
	sink := &strictSink{t: t}
	k := Task{
		Stdin: strings.NewReader("0123456789"), Input: memTree{"in/a": []byte("abc")},
		Outputs: []string{"/out"}, Limits: Limits{Memory: 1 << 20, Disk: 1000, Timeout: 1}, Sink: sink,
	}
	e, err := newExecution(t.Context(), nil, k)
	if err != nil {
		t.Fatal(err)
	}
	e.box, e.begun = &box{conn: newFrameConn(script{bytes.NewReader(says)})}, time.Now()
	res, err := e.converse()
	if n := uint64(sink.stdout.Len()+sink.stderr.Len()) + sink.bytes; n > 1000+3 {
		t.Errorf("%d bytes got through a quota of 1000, and 3 of input", n)
	}
	return res, sink, err
}

// say builds what a child says; a frame is a type and a body.
func say(frames ...any) []byte {
	var b bytes.Buffer
	for i := 0; i < len(frames); i += 2 {
		body := frames[i+1].([]byte)
		b.WriteByte(byte(frames[i].(frameType)))
		binary.Write(&b, binary.LittleEndian, uint32(len(body)))
		b.Write(body)
	}
	return b.Bytes()
}

var goodChild = say(
	frameStdout, []byte("hello"), frameRead, readRequest{stdinFile, 0, 10}.encode(), frameProgress, []byte("\x01\x00\x00\x00text"),
	frameStderr, []byte("oops"), frameRead, readRequest{0, 1, 2}.encode(),
	frameDir, appendString(nil, "out"), frameFile, encodeFile("out/x", 5), frameBytes, []byte("he"),
	frameRead, readRequest{0, 0, 3}.encode(), frameBytes, []byte("llo"),
	frameDone, done{code: 3, peak: 65536}.encode(),
)

func TestAParentBelievesNothing(t *testing.T) {
	if res, sink, err := hear(t, goodChild); err != nil || res.ExitCode != 3 || sink.files["out/x"] != "hello" {
		t.Fatalf("a good child: %+v, %v", res, err)
	}
	big := make([]byte, 1001)
	end := done{}.encode()
	word := appendU32(nil, 1)
	dir, file := func(p string) []byte { return appendString(nil, p) }, encodeFile
	for name, says := range map[string][]byte{
		"nothing":                    nil,
		"half a header":              {byte(frameStdout), 1},
		"half a body":                goodChild[:8],
		"an unknown frame":           say(frameType(200), []byte{}),
		"a frame of the parent":      say(frameTask, []byte{}),
		"a skeleton after the start": say(frameMade, []byte("x")),
		"code after the start":       say(frameCode, []byte("x")),
		"a frame out of turn":        say(frameBytes, []byte("x")),
		"a huge frame":               {byte(frameStdout), 255, 255, 255, 255},
		"stdout beyond the quota":    say(frameStdout, big),
		"stderr beyond the quota":    say(frameStdout, big[:600], frameStderr, big[:600]),
		"a file beyond the quota":    say(frameFile, file("out", 1004)),
		"a file outside":             say(frameFile, file("etc/passwd", 1)),
		"a path upwards":             say(frameDir, dir("out"), frameDir, dir("out/../x")),
		"an absolute path":           say(frameDir, dir("/out")),
		"a path without its parent":  say(frameDir, dir("out"), frameFile, file("out/a/b", 1)),
		"a file in a file":           say(frameFile, file("out", 0), frameFile, file("out/a", 0)),
		"paths out of order":         say(frameDir, dir("out"), frameDir, dir("out/b"), frameDir, dir("out/a")),
		"a path twice":               say(frameDir, dir("out"), frameDir, dir("out")),
		"stdout after the end":       say(frameDir, dir("out"), frameStdout, []byte("x")),
		"more bytes than the file":   say(frameFile, file("out", 1), frameBytes, []byte("xx")),
		"fewer bytes than the file":  say(frameFile, file("out", 3), frameBytes, []byte("x"), frameDone, end),
		"empty bytes":                say(frameFile, file("out", 3), frameBytes, []byte{}),
		"a read beyond the end":      say(frameRead, readRequest{0, 2, 2}.encode()),
		"a read that overflows":      say(frameRead, readRequest{0, 1<<64 - 1, 2}.encode()),
		"a read of no file":          say(frameRead, readRequest{1, 0, 1}.encode()),
		"a read of too much":         say(frameRead, readRequest{0, 0, maxRead + 1}.encode()),
		"memory that it had not":     say(frameDone, done{peak: 1 << 30}.encode()),
		"a trap without a name":      say(frameDone, done{outcome: Trapped, trap: 99}.encode()),
		"an outcome without meaning": say(frameDone, done{outcome: OutOfFuel + 1}.encode()),
		"frames after the end":       say(frameDone, end, frameStdout, []byte("x")),
		"a fault":                    say(frameFault, []byte("no memory")),
		"empty output":               say(frameStdout, []byte{}),
		"half a word on progress":    say(frameProgress, []byte{1, 2}),
		"progress after the end":     say(frameDir, dir("out"), frameProgress, word),
		"progress without a break":   say(slices.Repeat([]any{frameProgress, word}, 1000)...),
	} {
		_, _, err := hear(t, says)
		want := errProtocol
		switch name {
		case "nothing", "half a header", "half a body":
			want = errEnded
		case "a fault":
			want = ErrKilled
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
}

func FuzzParent(f *testing.F) {
	f.Add(goodChild)
	f.Add(say(frameBad, []byte("no")))
	f.Add(say(frameDir, appendString(nil, "out"), frameDir, appendString(nil, "out/a"), frameDone, done{}.encode()))
	f.Fuzz(func(t *testing.T, says []byte) { hear(t, says) })
}

func FuzzHello(f *testing.F) {
	f.Add(encodeHello(report(layerLandlock, map[layerSet]string{layerRoot: "why"})))
	f.Fuzz(func(t *testing.T, body []byte) {
		if layers, err := decodeHello(body); err == nil && !bytes.Equal(encodeHello(layers), body) {
			t.Errorf("%x decodes to %+v", body, layers)
		}
	})
}

// FuzzChild feeds a child's decoder, and then builds the task's world.
func FuzzChild(f *testing.F) {
	o := order{
		args: []string{"a"}, env: []string{"A=1"}, stdin: 5, outputs: []string{"out"}, memory: 1 << 20, disk: 1 << 20,
		entries: []Entry{{Path: "in/a", Size: 3}, {Path: "in/d", Dir: true}},
	}
	f.Add(o.encode())
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := decodeOrder(body)
		if err != nil {
			return
		}
		if !bytes.Equal(o.encode(), body) {
			t.Errorf("%x is not what it decodes to", body)
		}
		if h, err := newHost(o, noInput, func(frameType, []byte) {}); err == nil {
			checkTree(t, h.fs)
		}
	})
}

func noInput(_ uint32, p []byte, off int64) {
	for i := range p {
		p[i] = byte(off + int64(i))
	}
}

// checkTree checks what is always true of a tree: names are names, directories
// know their parent, nobody is there twice, the quota counts what there is.
func checkTree(t *testing.T, fs *fsys) {
	t.Helper()
	seen, used := map[*node]bool{}, uint64(0)
	var walk func(n *node)
	walk = func(n *node) {
		if seen[n] || n.gone {
			t.Fatal("a node is in the tree twice, or gone")
		}
		seen[n] = true
		if !n.isDir() {
			if n.data.baseBytes < 0 || n.data.baseBytes > n.data.size {
				t.Fatalf("%d bytes of %d are the input's", n.data.baseBytes, n.data.size)
			}
			used += n.data.charge()
		}
		for name, kid := range n.kids {
			if checkName(name) != 0 || name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
				t.Fatalf("a file is called %q", name)
			}
			if kid.isDir() && kid.parent != n {
				t.Fatalf("%q has another parent", name)
			}
			walk(kid)
		}
	}
	walk(fs.root)
	if used > fs.quota.used || fs.quota.used > fs.quota.limit || fs.created < 0 || fs.created > maxNodes {
		t.Fatalf("files have %d bytes, %d of %d counted; %d nodes", used, fs.quota.used, fs.quota.limit, fs.created)
	}
}

// FuzzWASI has a guest call whatever it likes: each call is 16 bytes, the
// function and its arguments; memory begins with the same bytes.
func FuzzWASI(f *testing.F) {
	rt := wazero.NewRuntimeWithConfig(f.Context(), wazero.NewRuntimeConfigInterpreter())
	module, _ := wat(f, "noop").Open(f.Context())
	mod, err := rt.Instantiate(context.Background(), module)
	if err != nil {
		f.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(wasiFuncs))
	at := func(name string) byte { return byte(slices.Index(names, name)) }
	open := []byte{at("path_open"), 3, 0, 14, 4, 5, 255, 255, 0, 100, 0, 0, 0, 0, 'o', 'u'}
	f.Add(slices.Concat(open, []byte{at("fd_write"), 4, 100, 1, 200}, make([]byte, 11)))
	f.Add(slices.Concat([]byte{at("path_rename"), 3, 30, 2, 3, 46, 3}, make([]byte, 9), []byte("in/../in/a/x/../../out/y/z/.")))
	f.Add(slices.Concat([]byte{at("fd_readdir"), 3, 99, 200, 0, 90}, make([]byte, 10)))
	f.Fuzz(func(t *testing.T, script []byte) {
		o := order{outputs: []string{"out"}, stdin: 9, disk: 200_000, entries: []Entry{{Path: "in/a", Size: 100_000}, {Path: "in/b/c", Size: 9}}}
		h, err := newHost(o, noInput, func(frameType, []byte) {})
		if err != nil {
			t.Fatal(err)
		}
		mem, _ := mod.Memory().Read(0, 65536)
		clear(mem)
		copy(mem, script)
		var s [9]uint64
		for calls := 0; len(script) >= 16 && calls < 500; calls++ {
			for i := range s {
				s[i] = uint64(script[i+1]) // -1 and other extremes for the high ones
				if s[i] == 249 {
					s[i] = progressFD
				}
				if s[i] >= 250 {
					s[i] = -(256 - s[i])
				}
			}
			fn := wasiFuncs[names[int(script[0])%len(names)]]
			if _, ended := invoke(h, mod.Memory(), fn, s[:]); ended {
				break // it slept for ever
			}
			script = script[16:]
		}
		checkTree(t, h.fs)
	})
}

// FuzzResolve compares a path's meaning with a plain reading of it.
func FuzzResolve(f *testing.F) {
	for _, p := range []string{"a/b", "../a", "a/../..", "./a/.", "a//b/", "", "/", "a/x/y", "a/f/", "a/\xff", strings.Repeat("n", 256)} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		fs, err := newTree([]Entry{{Path: "top/a/b/c", Dir: true}, {Path: "top/a/f", Size: 1}, {Path: "secret", Size: 1}}, nil, 0, noInput)
		if err != nil {
			t.Fatal(err)
		}
		top := fs.root.kids["top"]
		at, e := fs.resolve(top, p)
		if e != 0 {
			return
		}
		if at.node == fs.root || at.dir == fs.root || at.node == fs.root.kids["secret"] {
			t.Fatalf("%q leads out", p)
		}
		if at.node == nil && (at.dir == nil || at.name == "") {
			t.Fatalf("%q leads nowhere", p)
		}
		if strings.Contains(p, "secret") && at.node != nil && at.name == "secret" {
			t.Fatalf("%q found what is not there", p)
		}
	})
}

// FuzzContent compares a file with plain bytes, whatever is done to it.
func FuzzContent(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 255, 255, 9, 2, 0, 128, 7})
	f.Add([]byte{0, 0, 0, 9, 1, 0, 10, 0, 0, 0, 200, 1, 2, 0, 0, 9})
	f.Add([]byte{1, 0, 1, 0, 2, 128, 0, 1, 0, 200, 9, 100})
	f.Fuzz(func(t *testing.T, script []byte) {
		const base = 150_000
		fs, err := newTree([]Entry{{Path: "f", Size: base}}, nil, 400_000, noInput)
		if err != nil {
			t.Fatal(err)
		}
		n := fs.root.kids["f"]
		want := make([]byte, base)
		noInput(0, want, 0)
		for ; len(script) >= 4; script = script[4:] {
			off, size := int64(script[1])<<8|int64(script[2]), int(script[3])*300
			off *= 4
			switch script[0] % 3 {
			case 0:
				p := bytes.Repeat([]byte{script[3] | 1}, size)
				if fs.writeAt(n, p, off) == 0 && size > 0 {
					want = append(want, make([]byte, max(0, int(off)+size-len(want)))...)
					copy(want[off:], p)
				}
			case 1:
				if fs.resize(n, off) == 0 {
					want = append(want, make([]byte, max(0, int(off)-len(want)))...)[:off]
				}
			case 2:
				got := make([]byte, size)
				k := fs.readAt(n, got, off)
				if off = min(off, int64(len(want))); !bytes.Equal(got[:k], want[off:min(int(off)+size, len(want))]) {
					t.Fatalf("read of %d at %d differs", size, off)
				}
			}
			if fs.quota.used != n.data.charge() {
				t.Fatalf("%d counted, %d used", fs.quota.used, n.data.charge())
			}
		}
		got := make([]byte, len(want)+1)
		if k := fs.readAt(n, got, 0); !bytes.Equal(got[:k], want) {
			t.Fatal("the file differs in the end")
		}
		checkTree(t, fs)
	})
}

// FuzzModule looks at modules that nobody has validated.
func FuzzModule(f *testing.F) {
	for _, name := range []string{"noop", "trap", "badimport"} {
		b, _ := wat(f, name).Open(f.Context())
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if checkHeader(b) == nil {
			checkSections(b)
		}
	})
}
