package executor

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pageSection gives section n of docs/machine.md.
func pageSection(t testing.TB, n int) string {
	t.Helper()
	page, err := os.ReadFile("../docs/machine.md")
	if err != nil {
		t.Fatal(err)
	}
	_, s, ok := strings.Cut(string(page), fmt.Sprintf("\n## %d. ", n))
	if !ok {
		t.Fatalf("docs/machine.md has no section %d", n)
	}
	s, _, _ = strings.Cut(s, "\n## ")
	return s
}

func readGuest(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "guests", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A pageFunc is what the page says of a function.
type pageFunc struct{ params, errors string }

// pageFuncs reads the tables of §8.
func pageFuncs(t testing.TB) map[string]pageFunc {
	funcs := map[string]pageFunc{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)`([^|]*)\\|([^|]*)\\|([^|]*)\\|").FindAllStringSubmatch(pageSection(t, 8), -1) {
		if _, twice := funcs[row[1]]; twice {
			t.Errorf("the page has %s twice", row[1])
		}
		params := ""
		for _, p := range strings.Fields(row[2]) {
			switch {
			case p == "path":
				params += "ii"
			case strings.HasSuffix(p, ":64"):
				params += "I"
			default:
				params += "i"
			}
		}
		funcs[row[1]] = pageFunc{params, row[4]}
	}
	return funcs
}

func TestThePageHasEveryFunction(t *testing.T) {
	funcs := pageFuncs(t)
	for name := range wasiFuncs {
		if got, ok := funcs[name]; !ok || got.params != wasiFuncs[name].params {
			t.Errorf("the page has %s with parameters %q (%t), want %q", name, got.params, ok, wasiFuncs[name].params)
		}
	}
	if got := funcs["proc_exit"]; got.params != "i" || len(funcs) != len(wasiFuncs)+1 {
		t.Errorf("the page has %d functions, want %d; proc_exit has %q", len(funcs), len(wasiFuncs)+1, got.params)
	}
}

func TestThePageHasEveryTrap(t *testing.T) {
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(pageSection(t, 9), -1) {
		got = append(got, row[1])
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(Traps)); !slices.Equal(got, want) {
		t.Errorf("the page has %q, want %q", got, want)
	}
}

func TestThePageHasTheLimits(t *testing.T) {
	page := ""
	for _, n := range []int{1, 2, 3, 6, 7, 8} {
		page += pageSection(t, n)
	}
	for _, want := range []string{
		profileVersionText(), number(MaxEntries), number(maxNodes) + " files and directories", number(maxListed) + " entries together",
		fmt.Sprintf("At most %d are open", maxFDs), fmt.Sprintf("More than %d are EINVAL", maxVectors), fmt.Sprintf("0 or above %d", maxSubscriptions),
		fmt.Sprintf("at most %d bytes, names of at most %d", MaxPath, MaxName), number(clockEpoch), fmt.Sprintf("| %d | progress |", progressFD),
		fmt.Sprintf("| %d | every call", fuelCall), fmt.Sprintf("| 1 | each %d bytes", 1<<fuelShift), fmt.Sprintf("| %d | each entry", fuelEntry),
		fmt.Sprintf("| %d | each piece", fuelComponent), fmt.Sprintf("| 1 | each %d KiB", 1<<fuelCutShift>>10),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// profileVersionText is how the page says which machine it is about.
func profileVersionText() string {
	name, version, _ := strings.Cut(profileName, "/")
	return fmt.Sprintf("The name is `%s`, the version %s", name, version)
}

// number writes n as the page does.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// pageErrnos reads the numbers of errors.
func pageErrnos(t testing.TB) map[string]errno {
	errnos := map[string]errno{}
	for _, m := range regexp.MustCompile(`(?m)^\|( \d+ \|.*)\n\|[-|]+\n\|(.*)$`).FindAllStringSubmatch(pageSection(t, 8), -1) {
		numbers, names := strings.Split(m[1], "|"), strings.Split(m[2], "|")
		for i, name := range names {
			if n, err := strconv.Atoi(strings.TrimSpace(numbers[i])); err == nil {
				errnos[strings.TrimSpace(name)] = errno(n)
			}
		}
	}
	return errnos
}

// A claim is an error that a function can give.
type claim struct {
	name string
	e    errno
}

// pageClaims reads which errors the page says that functions give.
func pageClaims(t testing.TB) map[claim]bool {
	section, numbers, claims := pageSection(t, 8), pageErrnos(t), map[claim]bool{}
	part := func(from, to string) string {
		_, s, ok := strings.Cut(section, from)
		if s, _, _ = strings.Cut(s, to); !ok {
			t.Fatalf("section 8 has no %q", from)
		}
		return s
	}
	firstCells := func(s string) string {
		return fmt.Sprint(regexp.MustCompile(`(?m)^\| E[A-Z]+ `).FindAllString(s, -1))
	}
	for name, f := range pageFuncs(t) {
		text := strings.ReplaceAll(f.errors, "PATH", firstCells(part("**Paths.**", "### 8.1")))
		if strings.Contains(text, "see below") {
			text += firstCells(part("**`"+name+"`**", "\n\n**"))
		}
		for _, word := range regexp.MustCompile(`\bE[A-Z]{3,}\b`).FindAllString(text, -1) {
			e, ok := numbers[word]
			if !ok {
				t.Errorf("%s: the page has no number for %s", name, word)
			}
			claims[claim{name, e}] = true
		}
	}
	return claims
}

// A hostCall is a call and what is to come of it.
type hostCall struct {
	want errno
	name string
	args []any
}

// pathSteps are the ways in which every path can be wrong: descriptor 4 is a
// file, 5 a directory that is gone.
func pathSteps() (steps []hostCall) {
	functions := map[string]func(fd int, path any) []any{
		"path_create_directory":   func(fd int, p any) []any { return []any{fd, p} },
		"path_remove_directory":   func(fd int, p any) []any { return []any{fd, p} },
		"path_unlink_file":        func(fd int, p any) []any { return []any{fd, p} },
		"path_readlink":           func(fd int, p any) []any { return []any{fd, p, 0, 0, 0} },
		"path_filestat_get":       func(fd int, p any) []any { return []any{fd, 0, p, 64} },
		"path_filestat_set_times": func(fd int, p any) []any { return []any{fd, 0, p, 0, 0, 0} },
		"path_open":               func(fd int, p any) []any { return []any{fd, 0, p, openCreate, rightRead, 0, 99, 64} },
		"path_rename":             func(fd int, p any) []any { return []any{fd, p, 99, "new"} },
	}
	for _, c := range []struct {
		want errno
		fd   int
		path any
	}{
		{eBadF, 99, "x"}, {eNotDir, 4, "x"}, {eNotDir, 1, "x"}, {eNameTooLong, 3, span{0, MaxPath + 1}}, {eFault, 3, span{65536, 1}},
		{eNoEnt, 3, ""}, {eNoEnt, 5, "x"}, {eNotCapable, 3, "/x"}, {eNoEnt, 3, "no/x"}, {eNoEnt, 3, "no/\xff"}, {eNotDir, 3, "in/a/x"}, {eNotDir, 3, "in/a/.."},
		{eNotDir, 3, "in/a/"}, {eNotCapable, 3, "../x"}, {eNotCapable, 3, "in/../../in"}, {eNameTooLong, 3, strings.Repeat("n", MaxName+1)},
		{eIlSeq, 3, "\xff"}, {eIlSeq, 3, "in/\x00"},
	} {
		for _, name := range slices.Sorted(maps.Keys(functions)) {
			steps = append(steps, hostCall{c.want, name, functions[name](c.fd, c.path)})
		}
		steps = append(steps, hostCall{c.want, "path_rename", []any{3, "in", c.fd, c.path}})
	}
	return steps
}

// fileSteps are calls on descriptors: 4 is a file of 3 bytes, 6 can only be read,
// 7 only be written; a list of one buffer of 4 bytes is at 128.
func fileSteps() []hostCall {
	return []hostCall{
		{eBadF, "fd_advise", []any{99, 0, 0, 0}},
		{eBadF, "fd_allocate", []any{99, 0, 0}}, {eIsDir, "fd_allocate", []any{3, 0, 0}}, {eSPipe, "fd_allocate", []any{1, 0, 0}}, {eBadF, "fd_allocate", []any{6, 0, 9}},
		{eFBig, "fd_allocate", []any{4, 1, maxFile}}, {eNoSpc, "fd_allocate", []any{4, 0, 1000}}, {eOK, "fd_allocate", []any{4, 0, 2}},
		{eBadF, "fd_datasync", []any{99}}, {eBadF, "fd_sync", []any{99}}, {eBadF, "fd_filestat_set_times", []any{99, 0, 0, 0}},
		{eBadF, "fd_fdstat_get", []any{99, 0}}, {eFault, "fd_fdstat_get", []any{0, 65520}},
		{eBadF, "fd_fdstat_set_flags", []any{99, 0}}, {eInval, "fd_fdstat_set_flags", []any{4, 32}}, {eOK, "fd_fdstat_set_flags", []any{4, 31}}, {eOK, "fd_fdstat_set_flags", []any{4, 0}},
		{eBadF, "fd_fdstat_set_rights", []any{99, 0, 0}}, {eNotCapable, "fd_fdstat_set_rights", []any{0, rightWrite, 0}}, {eOK, "fd_fdstat_set_rights", []any{6, rightRead, -1}},
		{eBadF, "fd_filestat_get", []any{99, 0}}, {eFault, "fd_filestat_get", []any{4, 65500}},
		{eBadF, "fd_filestat_set_size", []any{99, 0}}, {eIsDir, "fd_filestat_set_size", []any{3, 0}}, {eBadF, "fd_filestat_set_size", []any{6, 0}}, {eFBig, "fd_filestat_set_size", []any{4, -1}},
		{eBadF, "fd_pread", []any{99, 0, 0, 0, 0}}, {eIsDir, "fd_pread", []any{3, 0, 0, 0, 0}}, {eSPipe, "fd_pread", []any{0, 0, 0, 0, 0}}, {eInval, "fd_pread", []any{7, 0, 0, -1, 0}},
		{eBadF, "fd_pread", []any{7, 0, 1025, 0, 0}}, {eInval, "fd_pread", []any{4, 0, 1025, 0, 0}}, {eFault, "fd_pread", []any{4, 65535, 1, 0, 0}}, {eOK, "fd_pread", []any{4, 128, 1, 1 << 50, 64}},
		{eBadF, "fd_prestat_dir_name", []any{99, 0, 1}}, {eBadF, "fd_prestat_dir_name", []any{4, 0, 1}}, {eNameTooLong, "fd_prestat_dir_name", []any{3, 0, 0}}, {eFault, "fd_prestat_dir_name", []any{3, 65536, 1}},
		{eBadF, "fd_pwrite", []any{99, 0, 0, 0, 0}}, {eIsDir, "fd_pwrite", []any{3, 0, 0, 0, 0}}, {eInval, "fd_pwrite", []any{6, 0, 0, -1, 0}}, {eBadF, "fd_pwrite", []any{6, 0, 1025, 0, 0}},
		{eInval, "fd_pwrite", []any{4, 0, 1025, 0, 0}}, {eFault, "fd_pwrite", []any{4, 65535, 1, 0, 0}}, {eFBig, "fd_pwrite", []any{4, 128, 1, maxFile - 3, 64}}, {eNoSpc, "fd_pwrite", []any{4, 128, 1, maxFile - 4, 64}},
		{eInval, "fd_read", []any{0, 0, 1025, 0}}, {eFault, "fd_read", []any{0, 65535, 1, 0}}, {eFault, "fd_read", []any{0, 128, 1, 65535}},
		{eBadF, "fd_readdir", []any{99, 0, 0, 0, 0}}, {eFault, "fd_readdir", []any{3, 65000, 1000, 0, 64}},
		{eBadF, "fd_seek", []any{99, 0, 0, 0}}, {eIsDir, "fd_seek", []any{3, 0, 0, 0}}, {eFault, "fd_seek", []any{4, 0, 0, 65535}},
		{eBadF, "fd_tell", []any{99, 0}}, {eIsDir, "fd_tell", []any{3, 0}}, {eSPipe, "fd_tell", []any{0, 0}}, {eFault, "fd_tell", []any{4, 65535}},
		{eOK, "fd_seek", []any{4, maxFile, 0, 64}}, {eFBig, "fd_write", []any{4, 128, 1, 64}}, {eOK, "fd_seek", []any{4, 1000, 0, 64}}, {eNoSpc, "fd_write", []any{4, 128, 1, 64}},
		{eInval, "fd_seek", []any{4, 1<<63 - 1, 1, 64}},
	}
}

// otherSteps are the rest.
func otherSteps() []hostCall {
	return []hostCall{
		{eFault, "args_sizes_get", []any{65534, 0}}, {eFault, "args_sizes_get", []any{0, 65534}}, {eFault, "environ_get", []any{0, 65534}}, {eFault, "environ_sizes_get", []any{65534, 0}},
		{eInval, "clock_res_get", []any{4, 0}}, {eFault, "clock_res_get", []any{0, 65535}}, {eFault, "clock_time_get", []any{3, 0, 65535}},
		{eNoSys, "proc_raise", []any{9}}, {eOK, "sched_yield", nil},
		{eInval, "poll_oneoff", []any{0, 0, maxSubscriptions + 1, 0}}, {eFault, "poll_oneoff", []any{65530, 0, 1, 0}},
		{eBadF, "sock_accept", []any{99, 0, 0}}, {eNotSock, "sock_accept", []any{0, 0, 0}}, {eBadF, "sock_recv", []any{99, 0, 0, 0, 0, 0}}, {eNotSock, "sock_recv", []any{3, 0, 0, 0, 0, 0}},
		{eBadF, "sock_send", []any{99, 0, 0, 0, 0}}, {eNotSock, "sock_send", []any{4, 0, 0, 0, 0}}, {eBadF, "sock_shutdown", []any{99, 0}},
		{eExist, "path_create_directory", []any{3, "in/a"}},
		{eFault, "path_filestat_get", []any{3, -1, "in/a", 65500}}, {eNoEnt, "path_filestat_set_times", []any{3, 0, "no", 0, 0, 0}}, {eOK, "path_filestat_set_times", []any{3, 0, "in/a", 0, 0, 0}},
		{eNoEnt, "path_readlink", []any{3, "no", 0, 0, 0}}, {eNoEnt, "path_remove_directory", []any{3, "no"}}, {eNoEnt, "path_unlink_file", []any{3, "no"}},
		{eNoEnt, "path_rename", []any{3, "no", 3, "in/."}}, {eBusy, "path_rename", []any{3, "in/a", 3, "out/.."}}, {eNotDir, "path_rename", []any{3, "in/a", 3, "new/"}}, {eBusy, "path_rename", []any{3, "in", 3, "in/d/."}},
		{eInval, "path_open", []any{3, 0, "no", 0, 0, 0, 32, 64}}, {eNoEnt, "path_open", []any{3, 0, "no", openDirectory | openExclusive | openTruncate, 0, 0, 0, 64}},
		{eExist, "path_open", []any{3, 0, "in/a", openCreate | openExclusive | openDirectory, 0, 0, 0, 64}}, {eNotDir, "path_open", []any{3, 0, "in/a", openDirectory | openTruncate, 0, 0, 0, 64}},
		{eIsDir, "path_open", []any{3, 0, "in", 0, rightWrite, 0, 0, 64}}, {eIsDir, "path_open", []any{3, 0, "in", openDirectory | openCreate, 0, 0, 0, 64}}, {eIsDir, "path_open", []any{3, 0, "in", openTruncate, 0, 0, 0, 64}},
		{eInval, "path_open", []any{3, 0, "in/a", openTruncate, rightRead, 0, 0, 64}}, {eInval, "path_open", []any{3, 0, "new/", openCreate | openDirectory, 0, 0, 0, 64}}, {eIsDir, "path_open", []any{3, 0, "new/", openCreate, 0, 0, 0, 64}},
		{eFault, "path_open", []any{3, 0, "in/a", openExclusive | 16, rightRead, 0, 0, 65535}},
	}
}

// fullSteps are calls where nothing more can be made, opened or listed.
func fullSteps() []hostCall {
	return []hostCall{
		{eNoSpc, "path_create_directory", []any{3, "new"}}, {eNoSpc, "path_open", []any{3, 0, "new", openCreate, 0, 0, 0, 64}},
		{eMFile, "path_open", []any{3, 0, "in/a", 0, 0, 0, 0, 64}}, {eNoSpc, "fd_readdir", []any{3, 1000, 100, 0, 64}},
		{eOK, "path_filestat_get", []any{3, 0, "in/a", 64}},
	}
}

// TestThePagesErrors makes every error happen that the page names, and none that
// it does not.
func TestThePagesErrors(t *testing.T) {
	o := testOrder()
	o.env = []string{"A=1"}
	c := newCaller(t, o)
	c.open("in/a", 0)
	c.call("path_create_directory", 3, "gone")
	c.open("gone", openDirectory)
	c.call("path_remove_directory", 3, "gone")
	c.call("path_open", 3, 0, "in/a", 0, rightRead, 0, 0, 64)
	c.call("path_open", 3, 0, "in/a", 0, rightWrite, 0, 0, 64)
	c.mem.WriteUint32Le(128, 200)
	c.mem.WriteUint32Le(132, 4)
	claims, seen := pageClaims(t), map[claim]bool{}
	try := func(steps []hostCall) {
		for _, s := range steps {
			seen[claim{s.name, s.want}] = true
			if got := c.call(s.name, s.args...); got != s.want {
				t.Errorf("%s%v: errno %d, want %d", s.name, s.args, got, s.want)
			}
		}
	}
	try(pathSteps())
	try(fileSteps())
	try(otherSteps())
	c.h.fs.created, c.h.listed = maxNodes, maxListed
	for len(c.h.fds) < maxFDs {
		c.h.fds = append(c.h.fds, nil)
	}
	for i := range c.h.fds {
		if c.h.fds[i] == nil {
			c.h.fds[i] = c.h.fds[4]
		}
	}
	try(fullSteps())
	for _, s := range errnoSteps() {
		seen[claim{s.name, s.want}] = true
	}
	for k := range claims {
		if !seen[k] {
			t.Errorf("the page says that %s can give errno %d, and nothing tries it", k.name, k.e)
		}
	}
	for k := range seen {
		if k.e != eOK && !claims[k] {
			t.Errorf("%s gives errno %d, which the page does not say", k.name, k.e)
		}
	}
}

// TestThePagePricesHostFunctions has functions do what §3.5 and §8 price.
func TestThePagePricesHostFunctions(t *testing.T) {
	o := testOrder()
	o.env, o.disk = []string{strings.Repeat("e", 31), "A=1"}, 1<<20
	c := newCaller(t, o)
	c.open("in/a", 0)
	c.mem.WriteUint32Le(128, 200)
	c.mem.WriteUint32Le(132, 31)
	c.mem.WriteUint32Le(136, 200)
	c.mem.WriteUint32Le(140, 17)
	for _, s := range []struct {
		hostCall
		units uint64 // besides 500
	}{
		{hostCall{eOK, "sched_yield", nil}, 0},
		{hostCall{eBadF, "fd_close", []any{99}}, 0},
		{hostCall{eOK, "args_sizes_get", []any{64, 68}}, 50},
		{hostCall{eOK, "environ_sizes_get", []any{64, 68}}, 2 * 50},
		{hostCall{eOK, "environ_get", []any{64, 1000}}, 2*50 + 2},
		{hostCall{eOK, "random_get", []any{1000, 160}}, 10},
		{hostCall{eFault, "random_get", []any{65000, 1600}}, 0},
		{hostCall{eOK, "fd_filestat_get", []any{4, 1000}}, 4},
		{hostCall{eOK, "fd_write", []any{1, 128, 2, 64}}, 2*50 + 1 + 1},
		{hostCall{eOK, "fd_pwrite", []any{4, 128, 2, 0, 64}}, 2*50 + 1 + 1},
		{hostCall{eInval, "fd_write", []any{1, 128, 1025, 64}}, 0},
		{hostCall{eOK, "fd_filestat_set_size", []any{4, 20000}}, 0},
		{hostCall{eOK, "fd_filestat_set_size", []any{4, 10000}}, 20000 / 4096},
		{hostCall{eOK, "path_open", []any{3, 0, "in/a", openTruncate, rightWrite, 0, 0, 64}}, 2*50 + 10000/4096},
		{hostCall{eOK, "path_filestat_get", []any{3, 0, "in/././././././a", 1000}}, 8*50 + 1 + 4},
		{hostCall{eNoEnt, "path_filestat_get", []any{3, 0, "", 1000}}, 50},
		{hostCall{eNotCapable, "path_filestat_get", []any{3, 0, "/a", 1000}}, 2 * 50},
		{hostCall{eBadF, "path_filestat_get", []any{99, 0, "a/b", 1000}}, 0},
		{hostCall{eOK, "path_rename", []any{3, "in/a", 3, "in/d/a"}}, 2*50 + 3*50},
		{hostCall{eOK, "path_rename", []any{3, "out", 3, "in/d/out"}}, 50 + 3*50 + 2*50},
		{hostCall{eBusy, "path_rename", []any{3, "in", 3, "."}}, 2 * 50},
		{hostCall{eOK, "fd_readdir", []any{3, 1000, 160, 0, 64}}, 10 + 50 + 3*50},
		{hostCall{eOK, "fd_readdir", []any{3, 1000, 160, 2, 64}}, 10 + 50},
		{hostCall{eOK, "fd_readdir", []any{3, 1000, 30, 0, 64}}, 1 + 50 + 2*50},
		{hostCall{eOK, "poll_oneoff", []any{60000, 1000, 3, 64}}, 3 * 50},
	} {
		before := c.h.meter.used()
		if e := c.call(s.name, s.args...); e != s.want {
			t.Errorf("%s%v: errno %d, want %d", s.name, s.args, e, s.want)
		}
		if got := c.h.meter.used() - before - fuelCall; got != s.units {
			t.Errorf("%s%v: %d units, want %d", s.name, s.args, got, s.units)
		}
	}
}
