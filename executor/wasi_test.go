package executor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// A caller calls the host's functions as a guest does.
type caller struct {
	t   *testing.T
	h   *host
	mem api.Memory
	out bytes.Buffer
}

func newCaller(t *testing.T, o order) *caller {
	rt := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	mod, err := rt.Instantiate(t.Context(), read(t, "noop"))
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{t: t, mem: mod.Memory()}
	if c.h, err = newHost(o, noInput, func(_ frameType, p []byte) { c.out.Write(p) }); err != nil {
		t.Fatal(err)
	}
	return c
}

// A span is a pointer and a length.
type span struct{ at, length int }

// call calls a function; a string argument becomes a pointer and a length.
func (c *caller) call(name string, args ...any) errno {
	c.t.Helper()
	s, at := make([]uint64, 0, 9), uint32(4096)
	for _, a := range args {
		switch a := a.(type) {
		case string:
			c.mem.WriteString(at, a)
			s = append(s, uint64(at), uint64(len(a)))
			at += uint32(len(a))
		case span:
			s = append(s, uint64(a.at), uint64(a.length))
		case int:
			s = append(s, uint64(a))
		}
	}
	fn, ok := wasiFuncs[name]
	if !ok || len(fn.params) != len(s) {
		c.t.Fatalf("%s takes %d arguments, not %d", name, len(fn.params), len(s))
	}
	e, ended := invoke(c.h, c.mem, fn, append(s, 0))
	if ended {
		c.t.Fatalf("%s%v: out of fuel", name, args)
	}
	return e
}

// invoke calls a function, and tells whether the guest ran out of fuel in it.
func invoke(h *host, mem api.Memory, fn wasiFunc, s []uint64) (e errno, ended bool) {
	defer func() {
		if r := recover(); r == errFuel {
			ended = true
		} else if r != nil {
			panic(r)
		}
	}()
	return fn.invoke(h, mem, s), false
}

// open opens a path with all rights.
func (c *caller) open(path string, flags int) (int, errno) {
	c.t.Helper()
	rights := rightRead | rightWrite
	if flags&openDirectory != 0 {
		rights = rightRead
	}
	e := c.call("path_open", 3, 0, path, flags, rights, rights, 0, 64)
	fd, _ := c.mem.ReadUint32Le(64)
	return int(fd), e
}

// write writes text to fd.
func (c *caller) write(fd int, text string) errno {
	c.mem.WriteUint32Le(128, 200)
	c.mem.WriteUint32Le(132, uint32(len(text)))
	c.mem.WriteString(200, text)
	return c.call("fd_write", fd, 128, 1, 64)
}

func testOrder() order {
	return order{
		stdin: 9, disk: 100, outputs: []string{"out"},
		entries: []Entry{{Path: "in/a", Size: 3}, {Path: "in/d/x", Size: 1}},
	}
}

func TestErrnos(t *testing.T) {
	c := newCaller(t, testOrder())
	fd, e := c.open("in/a", 0)
	if e != 0 || fd != 4 {
		t.Fatalf("open: fd %d, errno %d", fd, e)
	}
	for i, step := range errnoSteps() {
		if got := c.call(step.name, step.args...); got != step.want {
			t.Errorf("%d: %s%v: errno %d, want %d", i, step.name, step.args, got, step.want)
		}
	}
	checkTree(t, c.h.fs)
}

// errnoSteps are calls that follow each other.
func errnoSteps() []hostCall {
	return []hostCall{
		{eBadF, "fd_close", []any{99}},
		{eBadF, "fd_read", []any{-1, 0, 0, 0}},
		{eBadF, "fd_write", []any{0, 0, 0, 0}},
		{eBadF, "fd_prestat_get", []any{4, 0}},
		{eFault, "fd_prestat_get", []any{3, 65535}},
		{eFault, "random_get", []any{65000, 1000}},
		{eFault, "args_get", []any{65534, 0}},
		{eInval, "clock_time_get", []any{4, 0, 0}},
		{eInval, "poll_oneoff", []any{0, 0, 0, 0}},
		{eInval, "fd_write", []any{1, 0, 5000, 0}},
		{eSPipe, "fd_seek", []any{1, 0, 0, 0}},
		{eInval, "fd_seek", []any{4, -1, 0, 0}},
		{eInval, "fd_seek", []any{4, 0, 3, 0}},
		{eFBig, "fd_filestat_set_size", []any{4, 1 << 41}},
		{eNoSpc, "fd_filestat_set_size", []any{4, 1000}},
		{eFBig, "fd_allocate", []any{4, 1 << 41, 1}},
		{eNotDir, "fd_readdir", []any{4, 0, 0, 0, 0}},
		{eIsDir, "fd_read", []any{3, 0, 0, 0}},
		{eIsDir, "fd_write", []any{3, 0, 0, 0}},
		{eNotSock, "sock_shutdown", []any{1, 0}},
		{eBadF, "fd_read", []any{1000, 0, 0, 0}},
		{eBadF, "fd_prestat_get", []any{1000, 0}},
		{eBadF, "fd_renumber", []any{1000, 99}},
		{eSPipe, "fd_seek", []any{1000, 0, 0, 0}},
		{eSPipe, "fd_pwrite", []any{1000, 0, 0, 0, 0}},
		{eSPipe, "fd_filestat_set_size", []any{1000, 0}},
		{eNotDir, "fd_readdir", []any{1000, 0, 0, 0, 0}},
		{eNotDir, "path_create_directory", []any{1000, "x"}},
		{eNotSock, "sock_shutdown", []any{1000, 0}},
		{eNotSup, "fd_renumber", []any{1000, 1}},
		{eNotSup, "fd_renumber", []any{4, 1000}},
		{eNotSup, "fd_renumber", []any{1000, 1000}},
		{eFault, "fd_write", []any{1000, 65535, 1, 0}},
		{eInval, "fd_write", []any{1000, 0, 5000, 0}},
		{eOK, "fd_sync", []any{1000}},
		{eOK, "fd_close", []any{1000}},
		{eOK, "fd_fdstat_get", []any{1000, 0}},
		{eNotSup, "path_symlink", []any{"x", 3, "y"}},
		{eNotSup, "path_link", []any{3, 0, "in/a", 3, "b"}},
		{eInval, "path_readlink", []any{3, "in/a", 0, 0, 0}},
		{eExist, "path_create_directory", []any{3, "in/."}},
		{eIsDir, "path_unlink_file", []any{3, "in/d"}},
		{eNotEmpty, "path_remove_directory", []any{3, "in/d"}},
		{eNotDir, "path_remove_directory", []any{3, "in/a"}},
		{eInval, "path_remove_directory", []any{3, "in/d/."}},
		{eInval, "path_rename", []any{3, "in", 3, "in/d/in"}},
		{eNotEmpty, "path_rename", []any{3, "out", 3, "in/d"}},
		{eNotDir, "path_rename", []any{3, "in/d", 3, "in/a"}},
		{eIsDir, "path_rename", []any{3, "in/a", 3, "out"}},
		{eBusy, "path_rename", []any{3, "in/.", 3, "out/x"}},
		{eOK, "path_rename", []any{3, "in/a", 3, "in/a"}},
		{eOK, "path_rename", []any{3, "in/d", 3, "out"}},
		{eOK, "path_unlink_file", []any{3, "out/x"}},
		{eOK, "path_remove_directory", []any{3, "out"}},
		{eNoEnt, "path_filestat_get", []any{3, 0, "out", 0}},
		{eOK, "fd_renumber", []any{4, 1}},
		{eBadF, "fd_close", []any{4}},
		{eOK, "fd_tell", []any{1, 0}},
	}
}

func TestQuotaIsGivenBack(t *testing.T) {
	c := newCaller(t, testOrder())
	fd, _ := c.open("out/x", openCreate)
	steps := []struct {
		what string
		do   func() errno
		used uint64
		want errno
	}{
		{"write", func() errno { return c.write(fd, strings.Repeat("x", 90)) }, 90, eOK},
		{"print", func() errno { return c.write(1, "0123456789") }, 100, eOK},
		{"print more", func() errno { return c.write(2, "x") }, 100, eNoSpc},
		{"write more", func() errno { return c.write(fd, "x") }, 100, eNoSpc},
		{"unlink while open", func() errno { return c.call("path_unlink_file", 3, "out/x") }, 100, eOK},
		{"cut", func() errno { return c.call("fd_filestat_set_size", fd, 40) }, 50, eOK},
		{"close", func() errno { return c.call("fd_close", fd) }, 10, eOK},
	}
	for _, s := range steps {
		if e := s.do(); e != s.want || c.h.fs.quota.used != s.used {
			t.Errorf("%s: errno %d, %d bytes used; want %d, %d", s.what, e, c.h.fs.quota.used, s.want, s.used)
		}
	}
	if fd, e := c.open("in/a", 0); e != 0 || c.write(fd, "y") != 0 || c.h.fs.quota.used != 13 {
		t.Errorf("a byte written to an input file of 3: %d used, want 13", c.h.fs.quota.used)
	}
}

func TestOpenFilesAndNodesAreBounded(t *testing.T) {
	c := newCaller(t, testOrder())
	n, e := 0, eOK
	for ; e == 0; n++ {
		_, e = c.open("in/a", 0)
	}
	if e != eMFile || n != maxFDs-5+1 { // the four first, and progress
		t.Errorf("errno %d at the %dth open file", e, n)
	}
	for n, e = 0, eOK; e == 0; n++ {
		e = c.call("path_create_directory", 3, fmt.Sprint("out/", n))
	}
	if e != eNoSpc || n != maxNodes+1 {
		t.Errorf("errno %d at the %dth directory", e, n)
	}
	if e := c.call("path_remove_directory", 3, "out/7"); e != 0 {
		t.Fatal(e)
	}
	if e := c.call("path_create_directory", 3, "out/again"); e != 0 {
		t.Errorf("no room after one was removed: errno %d", e)
	}
}

func TestReaddirThroughASmallBuffer(t *testing.T) {
	c := newCaller(t, order{entries: []Entry{{Path: "b", Size: 1}, {Path: "a", Dir: true}, {Path: "long name", Size: 1}}})
	fd, e := c.open(".", openDirectory)
	if e != 0 {
		t.Fatal(e)
	}
	var got []string
	cookie := uint64(0)
	for range 10 {
		const size = 40 // holds one entry, and a part of the next
		if e := c.call("fd_readdir", fd, 1000, size, int(cookie), 64); e != 0 {
			t.Fatal(e)
		}
		used, _ := c.mem.ReadUint32Le(64)
		b, _ := c.mem.Read(1000, used)
		if used == 0 {
			break
		}
		name := int(binary.LittleEndian.Uint32(b[16:]))
		got = append(got, fmt.Sprintf("%s/%d", b[24:24+name], b[20]))
		cookie = binary.LittleEndian.Uint64(b)
		c.call("path_unlink_file", 3, "long name") // does not disturb a listing that has begun
	}
	if want := "./3 ../3 a/3 b/4 long name/4"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if listed := c.h.listed; listed != 3 || c.call("fd_close", fd) != 0 || c.h.listed != 0 {
		t.Errorf("%d entries listed, and %d after closing", listed, c.h.listed)
	}
}

func TestVirtualClock(t *testing.T) {
	c := newCaller(t, testOrder())
	now := func(id int) uint64 {
		if e := c.call("clock_time_get", id, 0, 64); e != 0 {
			t.Fatal(e)
		}
		v, _ := c.mem.ReadUint64Le(64)
		return v
	}
	if a, b := now(clockRealtime), now(clockMonotonic); a != clockEpoch+fuelCall || b != 2*fuelCall {
		t.Errorf("the clocks begin at %d and %d", a, b)
	}
	subscribe := func(i uint32, user uint64, tag byte, id uint32, timeout uint64, flags uint32) {
		at := 1000 + i*48
		c.mem.WriteUint64Le(at, user)
		c.mem.WriteUint64Le(at+8, uint64(tag))
		c.mem.WriteUint32Le(at+16, id)
		c.mem.WriteUint64Le(at+24, timeout)
		c.mem.WriteUint32Le(at+40, flags)
	}
	poll := func(n int) (users []uint64) {
		if e := c.call("poll_oneoff", 1000, 2000, n, 64); e != 0 {
			t.Fatal(e)
		}
		count, _ := c.mem.ReadUint32Le(64)
		for i := range count {
			v, _ := c.mem.ReadUint64Le(2000 + i*32)
			users = append(users, v)
		}
		return users
	}
	subscribe(0, 7, tagClock, clockMonotonic, 5_000_000, 0)
	subscribe(1, 8, tagClock, clockRealtime, clockEpoch+1_000_000, 1)
	subscribe(2, 9, tagClock, clockMonotonic, 1<<63, 0)
	if got := poll(3); fmt.Sprint(got) != "[8]" || c.h.clock() != 1_000_000 {
		t.Errorf("the earliest is %v at %d", got, c.h.clock())
	}
	subscribe(1, 8, tagRead, 0, 0, 0)
	if got, want := poll(2), uint64(1_000_000+fuelCall+2*fuelEntry); fmt.Sprint(got) != "[8]" || c.h.clock() != want {
		t.Errorf("a file is ready: %v, and time passed to %d, want %d", got, c.h.clock(), want)
	}
	subscribe(0, 1, tagClock, clockMonotonic, 1<<64-1, 0)
	_, ended := invoke(c.h, c.mem, wasiFuncs["poll_oneoff"], []uint64{1000, 2000, 1, 64})
	if !ended || c.h.clock() != MaxFuel {
		t.Errorf("it slept for ever until %d: out of fuel is %t", c.h.clock(), ended)
	}
}

func TestInputCacheGivesTheRightBytes(t *testing.T) {
	size, fetched := int64(inputBlocks*inputBlock+5), 0
	in := &inputs{
		sizes: func(uint32) int64 { return size },
		fetch: func(file uint32, p []byte, off int64) {
			fetched++
			if off+int64(len(p)) > size || len(p) > maxRead {
				t.Errorf("%d bytes at %d asked for", len(p), off)
			}
			for i := range p {
				p[i] = byte(file) + byte((off+int64(i))>>12)
			}
		},
	}
	for i := range int64(300) {
		off := i * 7_654_321 % (size - 100)
		file, p := uint32(i%3), make([]byte, min(size-off, i%100*30_000))
		in.readAt(file, p, off)
		for k := range p {
			if want := byte(file) + byte((off+int64(k))>>12); p[k] != want {
				t.Fatalf("file %d at %d: %d, want %d", file, off+int64(k), p[k], want)
			}
		}
	}
	before := fetched
	in.readAt(0, make([]byte, 10), 0)
	in.readAt(0, make([]byte, 10), 5000)
	if fetched > before+1 || len(in.blocks) != inputBlocks {
		t.Errorf("%d blocks kept, %d fetched for one", len(in.blocks), fetched-before)
	}
}
