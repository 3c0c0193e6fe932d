package executor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"
)

// childName is argv[0] of a child, by which it knows itself.
const childName = "muster-sandbox"

// hooked tells that main calls ChildMain, so that this binary can be started as
// a child.
var hooked atomic.Bool

// guestHook runs in the place of the guest, in tests of the walls around it; it
// tells whether it did. It is nil but in this package's own tests.
var guestHook func(args []string, write func(p []byte)) bool

// ChildMain must be the first statement of main. In an ordinary process it
// returns at once; in one that was started as a sandbox it never returns.
func ChildMain() {
	hooked.Store(true)
	if len(os.Args) == 0 || os.Args[0] != childName {
		return
	}
	if err := serveChild(newFrameConn(os.Stdin)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveChild is the life of a child: shut itself in, compile the program, run
// its tasks one after the other until the parent is gone.
func serveChild(conn *frameConn) error {
	os.Clearenv()
	runtime.GOMAXPROCS(2) // a guest that computes never yields: the second is for what is sent meanwhile
	body, err := expect(conn, frameSetup)
	if err != nil {
		return err
	}
	s, err := decodeSetup(body)
	if err != nil {
		return err
	}
	if err := conn.send(frameHello, encodeHello(isolate(s))); err != nil {
		return err
	}
	m, err := bareMachine(context.Background())
	if err == nil {
		m, err = loadNext(conn, m)
	}
	if err != nil {
		return err
	}
	for {
		if body, err = expect(conn, frameTask); err != nil {
			return err
		}
		if err := runNext(conn, m, body); err != nil {
			return errors.Join(err, conn.send(frameFault, []byte(clip(err.Error()))))
		}
	}
}

func expect(conn *frameConn, want frameType) ([]byte, error) {
	t, body, err := conn.next()
	if err == nil && t != want {
		err = fmt.Errorf("%w: frame of type %d, want %d", errProtocol, t, want)
	}
	return body, err
}

// loadNext gets the program, compiles it or takes up its code, and answers what
// it is worth. Nothing of the program has run when it returns.
func loadNext(conn *frameConn, m *machine) (*machine, error) {
	t, body, err := conn.next()
	switch {
	case err != nil:
		return nil, err
	case t == frameKept:
		err = m.restore(context.Background(), slices.Clone(body), &codeReader{conn: conn})
	case t == frameModule:
		m, err = compileNext(conn, m, body)
	default:
		err = fmt.Errorf("%w: frame of type %d, want a program", errProtocol, t)
	}
	if err != nil {
		return nil, err
	}
	return m, conn.send(frameReady)
}

// compileNext compiles the program of a frameModule, and sends what came of it.
func compileNext(conn *frameConn, m *machine, body []byte) (*machine, error) {
	ctx := context.Background()
	l, err := decodeLoad(body)
	if err == nil && l.interpret {
		m, err = interpreterMachine(ctx)
	}
	if err != nil {
		return nil, err
	}
	module, err := m.compile(ctx, slices.Clone(l.program))
	var bad *ProgramError
	if errors.As(err, &bad) {
		return nil, errors.Join(err, conn.send(frameBad, []byte(clip(bad.Reason))))
	} else if err != nil {
		return nil, err
	}
	err = sendCode(conn, module, m.slot.take(), l.keep)
	if len(body) > maxRead {
		debug.FreeOSMemory() // compiling took much, and this may sit idle for long
	}
	return m, err
}

// runNext runs one task. Its error is ours, and ends the child.
func runNext(conn *frameConn, m *machine, body []byte) error {
	o, err := decodeOrder(body)
	if err != nil {
		return err
	}
	out := newOutput(conn)
	defer out.end()
	in := &inputs{sizes: o.inputSize, fetch: fetchFrom(conn)}
	h, err := newHost(o, in.readAt, out.write)
	if err != nil {
		return conn.send(frameBad, []byte(clip(err.Error())))
	}
	before := cpuTime()
	var d done
	if guestHook == nil || !guestHook(o.args, func(p []byte) { out.write(frameStdout, p) }) {
		d, err = m.run(context.Background(), h, o.memory)
	}
	if err != nil {
		return err
	}
	d.cpu = time.Duration(cpuTime() - before)
	out.end()
	for _, p := range slices.Sorted(slices.Values(o.outputs)) {
		if err := sendOutput(conn, h.fs, p); err != nil {
			return err
		}
	}
	return conn.send(frameDone, d.encode())
}

// inputSize is the size of an input file, by its number.
func (o *order) inputSize(file uint32) int64 {
	if file == stdinFile {
		return o.stdin
	}
	return o.entries[file].Size
}

// fetchFrom asks the parent. A child that gets no answer is of no use to
// anybody, and ends in the middle of whatever the guest does.
func fetchFrom(conn *frameConn) fetcher {
	return func(file uint32, p []byte, off int64) {
		err := conn.send(frameRead, readRequest{file, uint64(off), uint32(len(p))}.encode())
		if err != nil {
			os.Exit(1)
		}
		body, err := expect(conn, frameData)
		if err != nil || len(body) != len(p) {
			os.Exit(1)
		}
		copy(p, body)
	}
}
