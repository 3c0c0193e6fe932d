package executor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// grouped opens an executor whose sandboxes have control groups.
func grouped(t *testing.T) *WASM {
	w := openTest(t, nil)
	f, err := w.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range f.Layers {
		if l.Name == nameCgroup && !l.On {
			t.Skipf("NOT CHECKED: no control groups on this host: %s", l.Detail)
		}
	}
	return w
}

func TestAGroupHoldsOneChildAndEndsWithIt(t *testing.T) {
	w := grouped(t)
	k := task(wat(t, "noop"))
	e, _ := start(t, w, k)
	if _, err := e.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := e.(*execution).box.group
	for _, dir := range g.dirs {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if got := strings.TrimSpace(string(b)); err != nil || got != strconv.Itoa(pid(e)) {
			t.Errorf("in %s: %q, %v; want process %d", dir, got, err, pid(e))
		}
	}
	b, err := os.ReadFile(filepath.Join(g.dirs[0], g.files.limit))
	if got, want := strings.TrimSpace(string(b)), strconv.FormatUint(maxRSS(k.Limits.Memory, k.Limits.Disk), 10); err != nil || got != want {
		t.Errorf("its limit on memory is %s, %v; want %s", got, err, want)
	}
	w.Release(k.Owner, k.Program.CID)
	for _, dir := range g.dirs {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", dir, err)
		}
	}
	if len(g.groups.left) > 0 {
		t.Errorf("%q could not be removed", g.groups.left)
	}
}

func TestAGroupBoundsThreads(t *testing.T) {
	grouped(t)
	if got := tryProbe(t, behind(t, layerCgroup), []string{"threads"}); got != probeGone {
		t.Errorf("a guest with a thread too many: %q", got)
	}
	if got := tryProbe(t, behind(t, 0), []string{"threads"}); got != "" {
		t.Errorf("without the wall it is the same: %q", got)
	}
}

// TestGroupsOfADaemonThatWasKilledAreRemoved by the next one.
func TestGroupsOfADaemonThatWasKilledAreRemoved(t *testing.T) {
	parent, child, pidfd := startDoomed(t)
	base, err := findGroups("/proc/self")
	if err != nil {
		t.Skipf("NOT CHECKED: %v", err)
	}
	find := func() (dirs []string) {
		for _, dir := range base.dirs {
			list, _ := filepath.Glob(filepath.Join(dir, groupPrefix+strconv.Itoa(parent.Process.Pid)+"-*"))
			dirs = append(dirs, list...)
		}
		return dirs
	}
	if dirs := find(); len(dirs) != len(base.dirs) {
		t.Fatalf("process %d has groups %q", child, dirs)
	}
	grouped(t)
	if dirs := find(); len(dirs) != len(base.dirs) {
		t.Errorf("of the groups of a living daemon %q are left", dirs)
	}
	parent.Process.Kill()
	parent.Wait()
	if !gone(t, pidfd, 20*time.Second) {
		t.Fatal("the sandbox outlived its parent")
	}
	grouped(t)
	if dirs := find(); len(dirs) > 0 {
		t.Errorf("%q are left", dirs)
	}
}

// TestFindGroups looks at the files of other hosts, laid out in a directory.
func TestFindGroups(t *testing.T) {
	const v2 = "30 29 0:26 / MNT/cg rw - cgroup2 cgroup2 rw\n"
	for name, c := range map[string]struct {
		cgroup, mounts string
		files          map[string]string
		want           []string // none: no groups
		err            string
	}{
		"version 2, at the root": {
			"0::/\n", v2, map[string]string{"cg/cgroup.controllers": "cpu memory pids", "cg/cgroup.subtree_control": ""},
			[]string{"cg"}, "",
		},
		"version 2, and it counts already": {
			"0::/a/b\n", v2, map[string]string{"cg/a/b/cgroup.controllers": "memory pids", "cg/a/b/cgroup.subtree_control": "pids memory"},
			[]string{"cg/a/b"}, "",
		},
		"version 2, not delegated": {
			"0::/a/b\n", v2, map[string]string{"cg/a/b/cgroup.controllers": "memory pids"}, nil, "Delegate=yes",
		},
		"version 2 in a container": {
			"0::/docker/1/x\n", "30 29 0:26 /docker/1 MNT/cg rw - cgroup2 cgroup2 rw\n",
			map[string]string{"cg/x/cgroup.controllers": "memory pids", "cg/x/cgroup.subtree_control": ""}, []string{"cg/x"}, "",
		},
		"version 1": {
			"9:name=systemd:/\n8:pids:/p\n4:memory:/m\n", "30 29 0:26 / MNT/memory rw - cgroup cgroup rw,memory\n31 29 0:27 / MNT/pids rw - cgroup cgroup rw,pids\n",
			map[string]string{"memory/m/x": "", "pids/p/x": ""}, []string{"memory/m", "pids/p"}, "",
		},
		"version 1 with both in one place": {
			"4:memory,pids:/\n", "30 29 0:26 / MNT/both rw - cgroup cgroup rw,memory,pids\n",
			map[string]string{"both/x": ""}, []string{"both"}, "",
		},
		"hybrid, counted by version 1": {
			"8:pids:/\n4:memory:/\n0::/\n", v2 + "30 29 0:26 / MNT/m rw - cgroup cgroup rw,memory\n31 29 0:27 / MNT/p rw - cgroup cgroup rw,pids\n",
			map[string]string{"cg/cgroup.controllers": "hugetlb", "m/x": "", "p/x": ""}, []string{"m", "p"}, "",
		},
		"none":              {"", "", nil, nil, "no control groups"},
		"nonsense":          {"a:b\n::\n0::\n\n", "x\n - \n - cgroup2\n", nil, nil, "no control groups"},
		"mounted elsewhere": {"0::/a\n", "30 29 0:26 /b MNT/cg rw - cgroup2 c rw\n", nil, nil, "no control groups"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put := func(path, text string) {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			put("self/cgroup", c.cgroup)
			put("self/mountinfo", strings.ReplaceAll(c.mounts, "MNT", dir))
			for path, text := range c.files {
				put(path, text)
			}
			base, err := findGroups(filepath.Join(dir, "self"))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("got %v, %v; want %q", base.dirs, err, c.err)
				}
				return
			}
			for i := range c.want {
				c.want[i] = filepath.Join(dir, c.want[i])
			}
			if err != nil || !slices.Equal(base.dirs, c.want) {
				t.Errorf("got %v, %v; want %v", base.dirs, err, c.want)
			}
		})
	}
}

func TestSweepRemovesOnlyWhatIsOurs(t *testing.T) {
	dir, proc := t.TempDir(), t.TempDir()
	for _, name := range []string{"muster-7-1", "muster-8-1", "muster-x-1", "muster-7", "other-7-1"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(proc, "8"), 0o755); err != nil {
		t.Fatal(err)
	}
	groupBase{dirs: []string{dir}}.sweep(proc)
	list, err := os.ReadDir(dir)
	var left []string
	for _, e := range list {
		left = append(left, e.Name())
	}
	if want := []string{"muster-7", "muster-8-1", "muster-x-1", "other-7-1"}; err != nil || !slices.Equal(left, want) {
		t.Errorf("left are %q, %v; want %q", left, err, want)
	}
}

// TestMemoryIsBoundedWithAndWithoutAGroup: by the kernel, or by whoever looks
// at it from outside.
func TestMemoryIsBoundedWithAndWithoutAGroup(t *testing.T) {
	for name, omit := range map[string]layerSet{"with a group": 0, "without": layerCgroup} {
		w := openTest(t, nil)
		w.starter.omit = omit | layerRlimits // which would be first
		k := probeTask(t, "eat")
		k.Limits.Memory, k.Limits.Disk = 1<<20, 1<<20
		e, _ := start(t, w, k)
		if _, err := e.Wait(t.Context()); !errors.Is(err, ErrKilled) || !strings.Contains(err.Error(), "it grew over") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
