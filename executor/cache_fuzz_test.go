package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mustermesh/muster/executor/rewrite"
	"github.com/tetratelabs/wazero"
)

// hearLoading lets a parent hear what a child says while it loads a program.
func hearLoading(t *testing.T, says []byte, limit int64) (*compiled, error) {
	conn, l := newFrameConn(script{bytes.NewReader(says)}), loading{limit: limit}
	for {
		kind, body, err := conn.next()
		if err != nil {
			return nil, err
		}
		ready, err := l.take(kind, body)
		if l.code != nil && l.code.size() > limit {
			t.Fatalf("%d bytes were taken, at most %d may", l.code.size(), limit)
		}
		if ready || err != nil {
			return l.code, err
		}
	}
}

var goodLoading = say(frameMade, []byte("bones"), frameCode, []byte("code"), frameCode, []byte("more"), frameCode, []byte{}, frameReady, []byte{})

func TestAParentTakesOneProgramsCode(t *testing.T) {
	code, err := hearLoading(t, goodLoading, 13)
	if err != nil || string(code.skeleton) != "bones" || string(bytes.Join(code.parts, nil)) != "codemore" {
		t.Fatalf("a good child: %+v, %v", code, err)
	}
	if code, err = hearLoading(t, say(frameReady, []byte{}), 0); err != nil || code != nil {
		t.Errorf("a child that keeps nothing: %+v, %v", code, err)
	}
	none, end := []byte{}, []any{frameCode, []byte{}, frameReady, []byte{}}
	for name, says := range map[string][]byte{
		"too much":              say(append([]any{frameMade, []byte("bones"), frameCode, []byte("code"), frameCode, []byte("more!")}, end...)...),
		"a skeleton too large":  say(append([]any{frameMade, make([]byte, 14)}, end...)...),
		"code without skeleton": say(append([]any{frameCode, []byte("code")}, end...)...),
		"two programs":          say(append([]any{frameMade, none, frameCode, none, frameMade, none}, end...)...),
		"code after its end":    say(append([]any{frameMade, none, frameCode, none, frameCode, []byte("x")}, end...)...),
		"code without an end":   say(frameMade, none, frameCode, []byte("x"), frameReady, none),
		"a frame of a task":     say(frameStdout, []byte("x")),
		"a frame of the parent": say(frameKept, []byte("x")),
	} {
		if code, err := hearLoading(t, says, 13); !errors.Is(err, errProtocol) {
			t.Errorf("%s: got %+v, %v, want a broken protocol", name, code, err)
		}
	}
}

func FuzzLoading(f *testing.F) {
	f.Add(goodLoading)
	f.Add(say(frameBad, []byte("no")))
	f.Fuzz(func(t *testing.T, says []byte) {
		if code, err := hearLoading(t, says, 1000); err == nil && code != nil && len(code.parts) == 0 && len(says) < 3*frameHeader {
			t.Errorf("%x gave %+v", says, code)
		}
	})
}

// FuzzCodeReader cuts code into parts, and then the stream somewhere: a child
// reads all of it, or an error.
func FuzzCodeReader(f *testing.F) {
	f.Add([]byte("some code"), uint16(3), uint16(5), uint16(100))
	f.Add([]byte{}, uint16(1), uint16(1), uint16(1))
	f.Fuzz(func(t *testing.T, code []byte, part, read, cut uint16) {
		var frames []any
		for p := code; len(p) > 0; {
			n := min(len(p), int(part)+1)
			frames, p = append(frames, frameCode, p[:n]), p[n:]
		}
		whole := say(append(frames, frameCode, []byte{})...)
		said := whole[:min(len(whole), int(cut))]
		r := &codeReader{conn: newFrameConn(script{bytes.NewReader(said)})}
		var got []byte
		buf, all := make([]byte, int(read)+1), len(said) == len(whole)
		var err error
		for n := 0; err == nil; got = append(got, buf[:n]...) {
			if n, err = r.Read(buf); err == nil && all && n < len(buf) && len(got)+n < len(code) {
				t.Fatalf("%d of %d bytes, and there are more", n, len(buf))
			}
		}
		if all != (err == io.EOF) || all && !bytes.Equal(got, code) || !bytes.HasPrefix(code, got) {
			t.Errorf("got %x, %v of %x, cut at %d of %d", got, err, code, cut, len(whole))
		}
	})
}

// FuzzLoadOrder reads what a child gets as its program.
func FuzzLoadOrder(f *testing.F) {
	f.Add(append(loadOrder{interpret: true, keep: 5}.header(), "program"...))
	f.Fuzz(func(t *testing.T, body []byte) {
		l, err := decodeLoad(body)
		if err == nil && !bytes.Equal(append(l.header(), l.program...), body) {
			t.Errorf("%x decodes to %+v", body, l)
		}
	})
}

// FuzzCodeFile opens anything as an entry: what is good is what was written.
func FuzzCodeFile(f *testing.F) {
	key := codeKey{1}
	file := func(dir string, code *compiled) []byte {
		path := filepath.Join(dir, "x")
		if err := writeCodeFile(path, key, code); err != nil {
			f.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	good := file(f.TempDir(), &compiled{[]byte("bones"), [][]byte{[]byte("code")}})
	f.Add(good)
	f.Add(good[:codeHeader])
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "y")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := openCodeFile(path, key)
		if err != nil {
			return
		}
		defer s.close()
		code, err := io.ReadAll(s)
		if err != nil || s.check() != nil {
			return
		}
		if again := file(t.TempDir(), &compiled{s.skeleton, [][]byte{code}}); !bytes.Equal(again, b) {
			t.Errorf("%x was taken for good", b)
		}
	})
}

// FuzzSkeleton makes a skeleton of anything. Where the module is valid, so is its
// skeleton, with the same imports, exports and memory.
func FuzzSkeleton(f *testing.F) {
	modules, err := filepath.Glob("testdata/guests/*.wasm")
	if err != nil || len(modules) == 0 {
		f.Fatal("no guests", err)
	}
	for _, path := range modules {
		b, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	f.Fuzz(func(t *testing.T, module []byte) {
		bones := skeleton(module)
		if _, err := rewrite.Rewrite(module); err != nil {
			return // the engine may take it, or do what it likes
		}
		whole, err := rt.CompileModule(ctx, withoutCustom(module))
		if err != nil {
			return
		}
		defer whole.Close(ctx)
		got, err := rt.CompileModule(ctx, bones)
		if err != nil {
			t.Fatalf("the skeleton of %x is not valid: %v", module, err)
		}
		defer got.Close(ctx)
		if a, b := shape(whole), shape(got); a != b {
			t.Errorf("the skeleton of %x has %s, want %s", module, b, a)
		}
		if again := skeleton(bones); !bytes.Equal(again, bones) {
			t.Errorf("%x has another skeleton again", module)
		}
	})
}

// shape is what can be seen of a module from outside.
func shape(code wazero.CompiledModule) string {
	var list []string
	for _, f := range code.ImportedFunctions() {
		module, name, _ := f.Import()
		list = append(list, fmt.Sprint("import ", module, name, f.ParamTypes(), f.ResultTypes()))
	}
	for name, f := range code.ExportedFunctions() {
		list = append(list, fmt.Sprint("export ", name, f.Index(), f.ParamTypes(), f.ResultTypes()))
	}
	for name, m := range code.ExportedMemories() {
		most, bounded := m.Max()
		list = append(list, fmt.Sprint("memory ", name, m.Min(), most, bounded))
	}
	slices.Sort(list)
	return strings.Join(list, "\n")
}
