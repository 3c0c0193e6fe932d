package livelog

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mustermesh/muster/proto"
)

func id(n int) (e proto.ExecutionID) {
	binary.BigEndian.PutUint64(e[:], uint64(n))
	return e
}

func openTest(t testing.TB, perStream, total int64) *Spool {
	t.Helper()
	s, err := Open(Config{Dir: t.TempDir(), PerStream: perStream, Total: total})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if files, _ := filepath.Glob(filepath.Join(s.cfg.Dir, "*")); len(files) > 0 {
			t.Errorf("files are left: %q", files)
		}
	})
	return s
}

func write(t testing.TB, s *Spool, e proto.ExecutionID, offset uint64, data []byte) {
	t.Helper()
	if err := s.Write(proto.Log{Execution: e, Offset: offset, Data: data}); err != nil {
		t.Fatal(err)
	}
}

// readAll reads an ended stream; where something is missing, it says how much.
func readAll(t testing.TB, s *Spool, k Key) (text string, cut uint64) {
	t.Helper()
	var b bytes.Buffer
	for offset := uint64(0); ; {
		c, err := s.Read(context.Background(), k, offset)
		if err == io.EOF {
			if c.Cut > 0 {
				fmt.Fprintf(&b, "[%d]", c.Cut)
			}
			return b.String(), cut + c.Cut
		}
		if err != nil || len(c.Data) == 0 || c.At != offset+c.Cut {
			t.Fatalf("at %d: %d bytes at %d after %d cut, %v", offset, len(c.Data), c.At, c.Cut, err)
		}
		if c.Cut > 0 {
			fmt.Fprintf(&b, "[%d]", c.Cut)
		}
		b.Write(c.Data)
		cut += c.Cut
		offset = c.At + uint64(len(c.Data))
	}
}

func TestWhatComesTwiceIsKeptOnce(t *testing.T) {
	type piece struct {
		offset uint64
		data   string
	}
	for name, c := range map[string]struct {
		pieces []piece
		want   string
	}{
		"nothing":                   {nil, ""},
		"in order":                  {[]piece{{0, "ab"}, {2, "cd"}}, "abcd"},
		"sent again":                {[]piece{{0, "ab"}, {2, "cd"}, {0, "ab"}, {2, "cd"}}, "abcd"},
		"sent again in one":         {[]piece{{0, "ab"}, {0, "abcd"}}, "abcd"},
		"overlapping":               {[]piece{{0, "abc"}, {2, "cde"}}, "abcde"},
		"said otherwise later":      {[]piece{{0, "abc"}, {0, "xyzd"}}, "abcd"},
		"begun late":                {[]piece{{5, "ab"}}, "[5]ab"},
		"a gap":                     {[]piece{{0, "ab"}, {5, "cd"}}, "ab[3]cd"},
		"a gap filled too late":     {[]piece{{0, "ab"}, {5, "cd"}, {2, "xyz"}, {7, "e"}}, "ab[3]cde"},
		"going back over a gap":     {[]piece{{4, "ab"}, {0, "abcdefgh"}}, "[4]abgh"},
		"empty":                     {[]piece{{0, "ab"}, {9, ""}, {2, "c"}}, "abc"},
		"to the end of all numbers": {[]piece{{0, "a"}, {math.MaxInt64 - 1, "b"}, {math.MaxInt64, ""}}, "a[9223372036854775805]b"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openTest(t, 1<<20, 1<<20)
			s.Begin(id(1))
			for _, p := range c.pieces {
				write(t, s, id(1), p.offset, []byte(p.data))
			}
			s.End(id(1))
			if got, _ := readAll(t, s, Key{Execution: id(1)}); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got, _ := readAll(t, s, Key{Execution: id(1), Stderr: true}); got != "" {
				t.Errorf("the other stream has %q", got)
			}
		})
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := openTest(t, 1<<20, 1<<20)
	if err := s.Write(proto.Log{Execution: id(1), Data: []byte("x")}); !errors.Is(err, ErrUnknown) {
		t.Errorf("before it began: got %v, want ErrUnknown", err)
	}
	s.Begin(id(1))
	for _, offset := range []uint64{math.MaxInt64, 1 << 63, math.MaxUint64} {
		if err := s.Write(proto.Log{Execution: id(1), Offset: offset, Data: []byte("x")}); !errors.Is(err, ErrOffset) {
			t.Errorf("at %d: got %v, want ErrOffset", offset, err)
		}
	}
	write(t, s, id(1), 0, []byte("a"))
	s.End(id(1))
	write(t, s, id(1), 1, []byte("b"))
	if got, _ := readAll(t, s, Key{Execution: id(1)}); got != "a" {
		t.Errorf("after the end there is %q, want a", got)
	}
	s.Drop(id(1))
	if _, err := s.Read(t.Context(), Key{Execution: id(1)}, 0); !errors.Is(err, ErrUnknown) {
		t.Errorf("dropped: got %v, want ErrUnknown", err)
	}
	s.Close()
	if _, err := s.Read(t.Context(), Key{Execution: id(1)}, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v, want ErrClosed", err)
	}
	if _, err := Open(Config{Dir: t.TempDir(), PerStream: 1, Total: 1 << 30}); err == nil {
		t.Error("a stream of one byte is accepted")
	}
}

// pattern is what a stream holds at each offset.
func pattern(offset uint64, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		at := offset + uint64(i)
		p[i] = byte(at) ^ byte(at>>8) ^ byte(at>>16)
	}
	return p
}

func TestTheEndOfALongStreamIsKept(t *testing.T) {
	const perStream, size = 300_000, 5 << 20
	s := openTest(t, perStream, 4<<20)
	s.Begin(id(1))
	for at := 0; at < size; at += 1000 {
		write(t, s, id(1), uint64(at), pattern(uint64(at), 1000))
		if s.used > perStream+pairCost {
			t.Fatalf("%d bytes used at %d", s.used, at)
		}
	}
	if files, _ := os.ReadDir(s.cfg.Dir); len(files) > perStream/blockSize {
		t.Errorf("%d files", len(files))
	}
	s.End(id(1))
	c, err := s.Read(t.Context(), Key{Execution: id(1)}, 0)
	const total = (size + 999) / 1000 * 1000
	if kept := total - int(c.At); err != nil || kept < perStream-2*blockSize || kept > perStream || c.Cut != c.At {
		t.Errorf("%d bytes are kept, %d cut, %v", kept, c.Cut, err)
	}
	for at := c.At; at < total; { // from anywhere, across blocks
		got, err := s.Read(t.Context(), Key{Execution: id(1)}, at)
		if err != nil || got.At != at || !bytes.Equal(got.Data, pattern(at, len(got.Data))) || len(got.Data) > blockSize {
			t.Fatalf("at %d: %d bytes at %d, %v", at, len(got.Data), got.At, err)
		}
		at += uint64(min(len(got.Data), 7001))
	}
}

func TestSmallLogsHaveNoFiles(t *testing.T) {
	s := openTest(t, 1<<20, 16<<20)
	for i := range 100 {
		s.Begin(id(i))
		write(t, s, id(i), 0, pattern(0, 1000))
	}
	if files, _ := os.ReadDir(s.cfg.Dir); len(files) != 0 {
		t.Errorf("%d files", len(files))
	}
	write(t, s, id(7), 1000, pattern(1000, blockSize))
	if files, _ := os.ReadDir(s.cfg.Dir); len(files) != 1 {
		t.Errorf("%d files for one large log", len(files))
	}
}

func TestTheOldestThatAreOverMakeRoom(t *testing.T) {
	const each = 3 * blockSize
	s := openTest(t, 8*blockSize, 16*blockSize)
	for i := range 8 { // five fit
		s.Begin(id(i))
		for at := 0; at < each; at += 1 << 12 {
			write(t, s, id(i), uint64(at), pattern(uint64(at), 1<<12))
		}
		if i != 1 {
			s.End(id(i))
		}
		if s.used > s.cfg.Total {
			t.Fatalf("%d bytes used", s.used)
		}
	}
	for i, there := range []bool{false, true, false, false, true, true, true, true} {
		_, err := s.Read(t.Context(), Key{Execution: id(i)}, 0)
		if there && err != nil || !there && !errors.Is(err, ErrUnknown) {
			t.Errorf("execution %d: %v, want it to be there: %v", i, err, there)
		}
	}
}

func TestManyThatRunShareWhatThereIs(t *testing.T) {
	s := openTest(t, 8*blockSize, 16*blockSize)
	for i := range 32 {
		s.Begin(id(i))
	}
	for at := 0; at < 4*blockSize; at += 1 << 13 {
		for i := range 32 {
			write(t, s, id(i), uint64(at), pattern(uint64(at), 1<<13))
			if s.used > s.cfg.Total {
				t.Fatalf("%d bytes used", s.used)
			}
		}
	}
	for i := range 32 {
		s.End(id(i))
		text, cut := readAll(t, s, Key{Execution: id(i)})
		if cut == 0 || len(text) < blockSize/16 {
			t.Errorf("execution %d: %d bytes and %d cut", i, len(text), cut)
		}
	}
}

func TestThousandsOfExecutionsLeaveNothingBehind(t *testing.T) {
	s := openTest(t, 2*blockSize, 16*blockSize)
	for i := range 5000 {
		s.Begin(id(i))
		s.End(id(i))
		if i%2 == 0 {
			s.Drop(id(i))
		}
	}
	if s.used > s.cfg.Total || len(s.ended) > 3*len(s.logs)+32 {
		t.Errorf("%d bytes used, %d names for %d logs", s.used, len(s.ended), len(s.logs))
	}
}

func TestReadersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openTest(t, 1<<20, 1<<20)
		s.Begin(id(1))
		k := Key{id(1), true}
		got := make(chan string)
		go func() {
			for offset := uint64(0); ; {
				c, err := s.Read(t.Context(), k, offset)
				if err != nil {
					got <- err.Error()
					return
				}
				offset = c.At + uint64(len(c.Data))
				got <- string(c.Data)
			}
		}()
		for i, what := range []string{"a", "bc"} {
			synctest.Wait()
			s.Write(proto.Log{Execution: id(1), Stderr: true, Offset: uint64(i), Data: []byte(what)})
			if p := <-got; p != what {
				t.Errorf("got %q, want %q", p, what)
			}
		}
		synctest.Wait()
		s.End(id(1))
		if p := <-got; p != io.EOF.Error() {
			t.Errorf("in the end %q", p)
		}
		s.Begin(id(2))
		ctx, cancel := context.WithCancel(t.Context())
		errs := make(chan error)
		for _, ctx := range []context.Context{ctx, t.Context()} {
			go func() {
				_, err := s.Read(ctx, Key{Execution: id(2)}, 0)
				errs <- err
			}()
		}
		synctest.Wait()
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
		s.Drop(id(2))
		if err := <-errs; !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v, want ErrUnknown", err)
		}
	})
}

func TestADiskThatFailsCutsAndGoesOn(t *testing.T) {
	s := openTest(t, 1<<20, 1<<20)
	s.Begin(id(1))
	st := s.logs[id(1)].streams[0]
	good := st.file
	st.file = func() string { return filepath.Join(s.cfg.Dir, "no", "such") }
	err := s.Write(proto.Log{Execution: id(1), Data: pattern(0, blockSize)})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want os.ErrNotExist", err)
	}
	if c, ok, err := st.read(0); ok || err != nil {
		t.Errorf("after it: %+v, %v", c, err)
	}
	st.file = good
	s.Begin(id(2))
	s.logs[id(2)].streams[0].file = func() string { return s.cfg.Dir }
	if err := s.Write(proto.Log{Execution: id(2), Data: pattern(0, blockSize+1)}); err == nil {
		t.Error("a file that cannot be written is no error")
	}
	s.End(id(2))
	if got, cut := readAll(t, s, Key{Execution: id(2)}); got != "[65536]" || cut != blockSize {
		t.Errorf("a log whose end is cut: %q, %d cut", got, cut)
	}
	s.Drop(id(2))
	write(t, s, id(1), blockSize, []byte("on"))
	s.End(id(1))
	if got, _ := readAll(t, s, Key{Execution: id(1)}); got != "[65536]on" || s.used != pairCost+2 {
		t.Errorf("got %q, %d bytes used", got, s.used)
	}
}

func TestOpenRemovesWhatWasLeft(t *testing.T) {
	dir := t.TempDir()
	old, other := filepath.Join(dir, "7"+suffix), filepath.Join(dir, "other")
	for _, path := range []string{old, other} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(Config{Dir: dir, PerStream: 1 << 20, Total: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if files, _ := os.ReadDir(dir); len(files) != 1 || files[0].Name() != "other" {
		t.Errorf("left are %v", files)
	}
}

func TestManyAtOnce(t *testing.T) {
	s := openTest(t, 4*blockSize, 16*blockSize)
	var g sync.WaitGroup
	for i := range 8 {
		s.Begin(id(i))
		g.Go(func() {
			for at := uint64(0); at < 10*blockSize; at += 10_000 {
				if err := s.Write(proto.Log{Execution: id(i), Offset: at, Data: pattern(at, 10_000)}); err != nil && !errors.Is(err, ErrUnknown) {
					t.Error(err)
				}
			}
			s.End(id(i))
		})
		g.Go(func() {
			for at := uint64(0); ; {
				c, err := s.Read(t.Context(), Key{Execution: id(i)}, at)
				if err == io.EOF || errors.Is(err, ErrUnknown) { // made room for others
					return
				}
				if err != nil || !bytes.Equal(c.Data, pattern(c.At, len(c.Data))) {
					t.Errorf("%d bytes at %d, %v", len(c.Data), c.At, err)
					return
				}
				at = c.At + uint64(len(c.Data))
			}
		})
	}
	g.Wait()
}

// A span is what came of a stream: bytes that are all the same.
type span struct {
	from, to uint64
	b        byte
}

// FuzzWrite has a stranger send anything, and compares with a list of all that
// counts: what is read is right, the rest is said to be cut.
func FuzzWrite(f *testing.F) {
	f.Add([]byte{0, 0, 10, 0, 10, 10, 0, 5, 255})
	f.Add(bytes.Repeat([]byte{1, 2, 200}, 60))
	f.Add(bytes.Repeat([]byte{3, 0, 255, 5, 1, 0}, 30))
	f.Add(bytes.Repeat([]byte{5, 9, 1}, 2*maxGaps))
	f.Add([]byte{9, 255, 255, 8, 0, 1, 7, 3, 3, 6, 200, 200})
	dir, zeros := f.TempDir(), make([]byte, 255)
	f.Fuzz(func(t *testing.T, script []byte) {
		const perStream = 200
		s := &Spool{cfg: Config{Dir: dir, PerStream: perStream, Total: 1 << 20}, block: 64, logs: map[proto.ExecutionID]*pair{}}
		defer s.Close()
		s.Begin(id(1))
		var want []span
		end, came := uint64(0), uint64(0)
		for step := 0; len(script) >= 3 && step < 3*maxGaps; script, step = script[3:], step+1 {
			offset, data := uint64(script[1]), zeros[:script[2]]
			for i := range data {
				data[i] = byte(step)
			}
			switch script[0] % 10 {
			case 9:
				offset = math.MaxUint64 - offset
			case 8:
				offset += 1 << 62
			case 5, 6, 7:
				offset += end
			case 3, 4:
				offset = end
			}
			err := s.Write(proto.Log{Execution: id(1), Offset: offset, Data: data})
			if wrong := offset > math.MaxInt64-uint64(len(data)); wrong != errors.Is(err, ErrOffset) || !wrong && err != nil {
				t.Fatalf("%d bytes at %d: %v", len(data), offset, err)
			} else if to := offset + uint64(len(data)); !wrong && to > end && len(data) > 0 {
				want = append(want, span{max(offset, end), to, byte(step)})
				came, end = came+to-max(offset, end), to
			}
			if s.used > perStream+pairCost {
				t.Fatalf("%d bytes used", s.used)
			}
		}
		s.End(id(1))
		checkRead(t, s, want, came)
	})
}

// checkRead reads everything; came bytes have come.
func checkRead(t *testing.T, s *Spool, want []span, came uint64) {
	read, at, end := uint64(0), uint64(0), uint64(0)
	if len(want) > 0 {
		end = want[len(want)-1].to
	}
	for {
		c, err := s.Read(context.Background(), Key{Execution: id(1)}, at)
		if err == io.EOF {
			break
		}
		if err != nil || c.At != at+c.Cut || len(c.Data) == 0 {
			t.Fatalf("at %d: %d bytes at %d, %d cut, %v", at, len(c.Data), c.At, c.Cut, err)
		}
		for len(want) > 0 && want[0].to <= c.At {
			if read > 0 && want[0].to > at {
				t.Fatalf("%+v is said to be cut between %d and %d", want[0], at, c.At)
			}
			want = want[1:]
		}
		for i, b := range c.Data {
			for at = c.At + uint64(i); len(want) > 0 && want[0].to <= at; {
				want = want[1:]
			}
			if len(want) == 0 || at < want[0].from || b != want[0].b {
				t.Fatalf("byte %d is %d, want %+v", at, b, want)
			}
		}
		read += uint64(len(c.Data))
		at++
	}
	if at != end || read > came || read < min(came, 20) {
		t.Fatalf("read %d of %d bytes, to %d of %d", read, came, at, end)
	}
}
