package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A world is what surrounds an executor, and must not be seen in any result.
type world struct {
	Name     string
	Dir      string // below the folder of the run: where the runner works
	TZ, Lang string
	Procs    int    // GOMAXPROCS
	GC       string // GOGC
	Padding  int    // bytes more of environment
	Nice     int
	Spin     int    // goroutines that compute all the time, in the runner
	Beside   bool   // a process that computes all the time
	Cache    string // of compiled code: none, memory, fresh, shared
	Together int    // executions at a time
	Fresh    bool   // new sandboxes for each pair: for each execution if compiled, else for five
}

// allWorlds gives ten of them.
func allWorlds() []world {
	return []world{
		{Name: "plain", Dir: "a", TZ: "UTC", Lang: "C", Procs: 2, GC: "100", Cache: "memory", Together: 1},
		{Name: "one processor", Dir: "b/c/d/e/f", TZ: "Asia/Kathmandu", Lang: "ne_NP.UTF-8", Procs: 1, GC: "100", Cache: "shared", Together: 1},
		{Name: "many at once", Dir: "many at once", TZ: "Pacific/Apia", Lang: "sm_WS.UTF-8", Procs: 8, GC: "400", Cache: "shared", Together: 3},
		{Name: "under load", Dir: "load", TZ: "America/St_Johns", Lang: "en_CA.UTF-8", Procs: 2, GC: "100", Spin: 1, Cache: "memory", Together: 1},
		{Name: "beside another", Dir: "β/日本", TZ: "Asia/Tokyo", Lang: "ja_JP.UTF-8", Procs: 3, GC: "50", Beside: true, Cache: "memory", Together: 2},
		{Name: "yielding", Dir: strings.Repeat("long/", 40), TZ: "Antarctica/Troll", Lang: "de_DE@euro", Procs: 2, GC: "100", Nice: 15, Cache: "shared", Together: 1},
		{Name: "large environment", Dir: "env", TZ: "Africa/Monrovia", Lang: "tr_TR.UTF-8", Procs: 3, GC: "10", Padding: 100_000, Cache: "fresh", Together: 2},
		{Name: "no garbage collection", Dir: "gc", TZ: "", Lang: "", Procs: 2, GC: "off", Cache: "memory", Together: 1},
		{Name: "new sandboxes", Dir: "new", TZ: "Australia/Lord_Howe", Lang: "C.UTF-8", Procs: 3, GC: "100", Cache: "memory", Together: 2, Fresh: true},
		{Name: "no cache", Dir: "none", TZ: "Etc/GMT+12", Lang: "POSIX", Procs: 2, GC: "100", Spin: 1, Nice: 5, Cache: "none", Together: 2},
	}
}

// command gives a process in this world, below dir.
func (w world) command(dir, exe string, args ...string) (*exec.Cmd, error) {
	at := filepath.Join(dir, w.Dir)
	home, temp := filepath.Join(at, "home"), filepath.Join(at, "tmp")
	for _, d := range []string{home, temp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	if nice, err := exec.LookPath("nice"); err == nil && w.Nice > 0 {
		exe, args = nice, append([]string{"-n", strconv.Itoa(w.Nice), exe}, args...)
	}
	cmd := exec.Command(exe, args...)
	cmd.Dir = at
	cmd.Env = []string{
		"HOME=" + home, "TMPDIR=" + temp, "PWD=" + at, "LANG=" + w.Lang, "LC_ALL=" + w.Lang, "TZ=" + w.TZ,
		"GOMAXPROCS=" + strconv.Itoa(w.Procs), "GOGC=" + w.GC,
	}
	for i := 0; i*100 < w.Padding; i++ {
		cmd.Env = append(cmd.Env, fmt.Sprintf("PADDING_%05d=%s", i, strings.Repeat("x", 86)))
	}
	return cmd, nil
}

// engine names what runs a program.
func engine(interpret bool) string {
	if interpret {
		return "interpreter"
	}
	return "compiler"
}
