package executor

import (
	"context"
	"math/rand/v2"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/sys"
)

// A host is what one task's guest sees of the world: WASI preview 1 over
// memory alone. It depends on the task and on nothing else.
type host struct {
	g         guest
	args, env []string
	fs        *fsys
	fds       []*desc // by number; nil if free
	stdin     int64   // bytes
	random    *rand.ChaCha8
	meter     meter
	listed    int // entries in the listings of fds
	write     func(t frameType, p []byte)
}

// newHost gives the world of o. write takes stdout, stderr and progress.
func newHost(o order, input fetcher, write func(frameType, []byte)) (*host, error) {
	fs, err := newTree(o.entries, o.outputs, o.disk, input)
	if err != nil {
		return nil, err
	}
	h := &host{args: append([]string{"program"}, o.args...), env: o.env, fs: fs, stdin: o.stdin, write: write}
	h.random, h.meter = rand.NewChaCha8(o.seed), newMeter(new(cell), o.fuel)
	h.fds = make([]*desc, progressFD+1)
	copy(h.fds, []*desc{
		{kind: kindStdin, rights: rightsRead},
		{kind: kindStdout, rights: rightWrite},
		{kind: kindStderr, rights: rightWrite},
		{kind: kindDir, node: fs.root, rights: rightsAll, preopen: true},
	})
	h.fds[progressFD] = &desc{kind: kindProgress, rights: rightWrite}
	fs.root.opens++
	return h, nil
}

// A guest is the calling guest's memory. An access outside of it is
// remembered, reads as zeros, and makes the call end with EFAULT.
type guest struct {
	mem   api.Memory
	meter meter
	fault bool
}

func (g *guest) bytes(p, n uint32) []byte {
	b, ok := g.mem.Read(p, n)
	if !ok {
		g.fault = true
		return nil
	}
	g.meter.spend(uint64(n) >> fuelShift)
	return b
}

func (g *guest) str(p, n uint32) string { return string(g.bytes(p, n)) }

func (g *guest) u32(p uint32) uint32 {
	v, ok := g.mem.ReadUint32Le(p)
	g.fault = g.fault || !ok
	return v
}

func (g *guest) u64(p uint32) uint64 {
	v, ok := g.mem.ReadUint64Le(p)
	g.fault = g.fault || !ok
	return v
}

func (g *guest) put32(p, v uint32) {
	if !g.mem.WriteUint32Le(p, v) {
		g.fault = true
	}
}

func (g *guest) put64(p uint32, v uint64) {
	if !g.mem.WriteUint64Le(p, v) {
		g.fault = true
	}
}

// A wasiFunc is one function of the interface; s holds its arguments.
type wasiFunc struct {
	params string // i is i32, I is i64
	call   func(h *host, s []uint64) errno
}

// invoke calls f for the guest of h, whose memory is mem.
func (f wasiFunc) invoke(h *host, mem api.Memory, s []uint64) errno {
	h.meter.spend(fuelCall)
	h.g = guest{mem: mem, meter: h.meter}
	for i, c := range f.params {
		if c == 'i' {
			s[i] = uint64(uint32(s[i])) // the engine leaves the upper half undefined
		}
	}
	if e := f.call(h, s); !h.g.fault {
		return e
	}
	return eFault
}

const wasiModule = "wasi_snapshot_preview1"

// wasiFuncs is the whole of WASI preview 1.
var wasiFuncs = map[string]wasiFunc{
	"args_get":                {"ii", func(h *host, s []uint64) errno { return h.putStrings(h.args, s) }},
	"args_sizes_get":          {"ii", func(h *host, s []uint64) errno { return h.putSizes(h.args, s) }},
	"environ_get":             {"ii", func(h *host, s []uint64) errno { return h.putStrings(h.env, s) }},
	"environ_sizes_get":       {"ii", func(h *host, s []uint64) errno { return h.putSizes(h.env, s) }},
	"clock_res_get":           {"ii", (*host).clockResGet},
	"clock_time_get":          {"iIi", (*host).clockTimeGet},
	"fd_advise":               {"iIIi", (*host).fdCheck},
	"fd_allocate":             {"iII", (*host).fdAllocate},
	"fd_close":                {"i", (*host).fdClose},
	"fd_datasync":             {"i", (*host).fdCheck},
	"fd_fdstat_get":           {"ii", (*host).fdStatGet},
	"fd_fdstat_set_flags":     {"ii", (*host).fdStatSetFlags},
	"fd_fdstat_set_rights":    {"iII", (*host).fdStatSetRights},
	"fd_filestat_get":         {"ii", (*host).fdFileStatGet},
	"fd_filestat_set_size":    {"iI", (*host).fdFileStatSetSize},
	"fd_filestat_set_times":   {"iIIi", (*host).fdCheck},
	"fd_pread":                {"iiiIi", (*host).fdPread},
	"fd_prestat_get":          {"ii", (*host).fdPrestatGet},
	"fd_prestat_dir_name":     {"iii", (*host).fdPrestatDirName},
	"fd_pwrite":               {"iiiIi", (*host).fdPwrite},
	"fd_read":                 {"iiii", (*host).fdRead},
	"fd_readdir":              {"iiiIi", (*host).fdReaddir},
	"fd_renumber":             {"ii", (*host).fdRenumber},
	"fd_seek":                 {"iIii", (*host).fdSeek},
	"fd_sync":                 {"i", (*host).fdCheck},
	"fd_tell":                 {"ii", (*host).fdTell},
	"fd_write":                {"iiii", (*host).fdWrite},
	"path_create_directory":   {"iii", (*host).pathCreateDirectory},
	"path_filestat_get":       {"iiiii", (*host).pathFileStatGet},
	"path_filestat_set_times": {"iiiiIIi", (*host).pathFileStatSetTimes},
	"path_link":               {"iiiiiii", notSupported},
	"path_open":               {"iiiiiIIii", (*host).pathOpen},
	"path_readlink":           {"iiiiii", (*host).pathReadlink},
	"path_remove_directory":   {"iii", (*host).pathRemoveDirectory},
	"path_rename":             {"iiiiii", (*host).pathRename},
	"path_symlink":            {"iiiii", notSupported},
	"path_unlink_file":        {"iii", (*host).pathUnlinkFile},
	"poll_oneoff":             {"iiii", (*host).pollOneoff},
	"proc_raise":              {"i", func(*host, []uint64) errno { return eNoSys }},
	"random_get":              {"ii", (*host).randomGet},
	"sched_yield":             {"", func(*host, []uint64) errno { return eOK }},
	"sock_accept":             {"iii", notSocket},
	"sock_recv":               {"iiiiii", notSocket},
	"sock_send":               {"iiiii", notSocket},
	"sock_shutdown":           {"ii", notSocket},
}

func notSupported(*host, []uint64) errno { return eNotSup }

func notSocket(h *host, s []uint64) errno {
	if _, e := h.fd(s[0]); e != 0 {
		return e
	}
	return eNotSock
}

// exportWASI makes WASI importable in rt. The functions act on what current
// gives at the time of the call.
func exportWASI(ctx context.Context, rt wazero.Runtime, current func() *host) error {
	b := rt.NewHostModuleBuilder(wasiModule)
	for name, f := range wasiFuncs {
		fn := func(_ context.Context, mod api.Module, s []uint64) {
			s[0] = uint64(f.invoke(current(), mod.Memory(), s))
		}
		b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(fn), valueTypes(f.params), valueTypes("i")).Export(name)
	}
	exit := func(_ context.Context, _ api.Module, s []uint64) {
		current().meter.spend(fuelCall)
		panic(sys.NewExitError(uint32(s[0])))
	}
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(exit), valueTypes("i"), nil).Export("proc_exit")
	_, err := b.Instantiate(ctx)
	return err
}

func valueTypes(letters string) []api.ValueType {
	types := make([]api.ValueType, 0, len(letters))
	for _, c := range letters {
		if c == 'I' {
			types = append(types, api.ValueTypeI64)
		} else {
			types = append(types, api.ValueTypeI32)
		}
	}
	return types
}

func (h *host) putStrings(list []string, s []uint64) errno {
	at, buf := uint32(s[0]), uint32(s[1])
	h.meter.spend(fuelEntry * uint64(len(list)))
	for _, v := range list {
		h.g.put32(at, buf)
		if b := h.g.bytes(buf, uint32(len(v)+1)); b != nil {
			copy(b, v)
			b[len(v)] = 0
		}
		at, buf = at+4, buf+uint32(len(v)+1)
	}
	return eOK
}

func (h *host) putSizes(list []string, s []uint64) errno {
	h.meter.spend(fuelEntry * uint64(len(list)))
	n := 0
	for _, v := range list {
		n += len(v) + 1
	}
	h.g.put32(uint32(s[0]), uint32(len(list)))
	h.g.put32(uint32(s[1]), uint32(n))
	return eOK
}

func (h *host) randomGet(s []uint64) errno {
	h.random.Read(h.g.bytes(uint32(s[0]), uint32(s[1])))
	return eOK
}
