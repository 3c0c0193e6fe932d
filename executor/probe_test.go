package executor

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// probe runs Go code in the place of the guest, in a task whose first argument
// is "probe": what a guest could do that broke out of its machine.
func probe(args []string, write func([]byte)) bool {
	if len(args) < 2 || args[0] != "probe" {
		return false
	}
	said, err := probes[args[1]](append(args[2:], ""))
	if err != nil {
		said = "failed: " + err.Error()
	}
	write([]byte(said))
	return true
}

var probes = map[string]func(args []string) (string, error){
	"read": func(args []string) (string, error) {
		b, err := os.ReadFile(args[0])
		return fmt.Sprint(len(b) > 0), err
	},
	"list": func(args []string) (string, error) {
		list, err := os.ReadDir(args[0])
		if err == nil && len(list) == 0 {
			err = errors.New("empty")
		}
		return fmt.Sprint(len(list)), err
	},
	"write": func(args []string) (string, error) {
		return "", os.WriteFile(args[0]+"/muster-probe", []byte("x"), 0o666)
	},
	"signal": func(args []string) (string, error) {
		pid, _ := strconv.Atoi(args[0])
		return "", syscall.Kill(pid, 0)
	},
	"connect": func(args []string) (string, error) {
		c, err := net.DialTimeout("tcp", args[0], 5*time.Second)
		if err == nil {
			c.Close()
		}
		return "", err
	},
	"setuid": func([]string) (string, error) { return "", syscall.Setuid(0) },
	"mount":  func([]string) (string, error) { return "", unix.Mount("none", "/", "tmpfs", 0, "") },
	"nest":   func([]string) (string, error) { return "", unix.Unshare(unix.CLONE_NEWNET) },
	"nestuser": func([]string) (string, error) {
		// A process with threads may not unshare its user namespace, so by a fork.
		attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER}
		pid, err := syscall.ForkExec("/", []string{"x"}, &syscall.ProcAttr{Sys: attr})
		if pid > 0 {
			return "", nil
		}
		if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOENT) {
			return "it was made", nil // only the exec after it failed
		}
		return "", err
	},
	"caps": func([]string) (string, error) {
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		err := unix.Capget(&header, &data[0])
		if data == [2]unix.CapUserData{} && err == nil {
			err = errors.New("no capabilities")
		}
		return fmt.Sprint(data), err
	},
	"environ": func([]string) (string, error) {
		if len(os.Environ()) == 0 {
			return "", errors.New("empty")
		}
		return fmt.Sprint(os.Environ()), nil
	},
	"eat": func([]string) (string, error) {
		for eaten = make([]byte, 700<<20); ; {
			for i := 0; i < len(eaten); i += 4096 {
				eaten[i]++
			}
		}
	},
	"hoard": func([]string) (string, error) { return fmt.Sprint(len(make([]byte, 2<<30))), nil },
	"crash": func([]string) (string, error) { panic("crashed on purpose") },
	"leave": func([]string) (string, error) { os.Exit(0); return "", nil },
	"uid":   func([]string) (string, error) { return fmt.Sprint(os.Getuid()), nil },
}

// eaten is out here so that the compiler does not drop what is written to it.
var eaten []byte

// probeTask is a task that runs a probe.
func probeTask(t testing.TB, args ...string) Task {
	k := task(wat(t, "noop"))
	k.Args = append([]string{"probe"}, args...)
	return k
}

// attack lists what must not succeed behind all walls.
func attacks(t *testing.T) map[string][]string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return map[string][]string{
		"read a file of the host":   {"read", "/etc/passwd"},
		"list the root":             {"list", "/"},
		"list the processes":        {"list", "/proc"},
		"write a file":              {"write", os.TempDir()},
		"write a file to the root":  {"write", "/"},
		"see a process of the host": {"signal", strconv.Itoa(os.Getpid())},
		"connect to the loopback":   {"connect", l.Addr().String()},
		"become root":               {"setuid"},
		"mount":                     {"mount"},
		"make a network namespace":  {"nest"},
		"make a user namespace":     {"nestuser"},
		"have a capability":         {"caps"},
		"see the environment":       {"environ"},
	}
}

func TestAGuestThatBreaksOutFindsNothing(t *testing.T) {
	w := openTest(t, nil)
	f, err := w.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range f.Layers {
		if !l.On {
			t.Skipf("NOT CHECKED: this host does not enforce %s (%s); level %s is reported", l.Name, l.Detail, f.Level)
		}
	}
	if f.Level != LevelNamespaces {
		t.Errorf("all layers are on, but the level is %s", f.Level)
	}
	for name, args := range attacks(t) {
		if _, sink := mustRun(t, w, probeTask(t, args...)); !strings.HasPrefix(sink.stdout.String(), "failed: ") {
			t.Errorf("a guest can %s: %q", name, sink.stdout.String())
		} else {
			t.Logf("%s: %s", name, sink.stdout.String())
		}
	}
}

// The probes themselves must be able to succeed, or they would prove nothing.
func TestProbesSucceedWithoutWalls(t *testing.T) {
	w := openTest(t, nil)
	w.starter.omit = 1<<len(layerNames) - 1
	f, err := w.Fingerprint(t.Context())
	if err != nil || f.Level != LevelNone || layersOn(f.Layers) != 0 {
		t.Errorf("got %+v, %v; want no layers", f, err)
	}
	root := os.Getuid() == 0
	for name, args := range attacks(t) {
		needsRoot := args[0] == "setuid" || args[0] == "mount" || args[0] == "nest" || args[0] == "caps" || args[1%len(args)] == "/"
		if args[0] == "mount" || needsRoot && !root || args[0] == "environ" || args[0] == "write" {
			continue // would change the host; or the walls are not what stops it
		}
		if _, sink := mustRun(t, w, probeTask(t, args...)); strings.HasPrefix(sink.stdout.String(), "failed: ") {
			t.Errorf("without walls a guest cannot %s: %s", name, sink.stdout.String())
		}
		w.Release(peer(1), wat(t, "noop").CID) // it may have changed its process
	}
}

func TestRootStartsSandboxesAsNobody(t *testing.T) {
	want := strconv.Itoa(os.Getuid())
	if want == "0" {
		want = strconv.Itoa(nobody)
	}
	w := openTest(t, nil)
	if f, err := w.Fingerprint(t.Context()); err != nil || f.Level != LevelNamespaces {
		t.Skipf("NOT CHECKED: no namespaces on this host: %v %v", f.Level, err)
	}
	if _, sink := mustRun(t, w, probeTask(t, "uid")); sink.stdout.String() != want {
		t.Errorf("a sandbox runs as %s, want %s", sink.stdout.String(), want)
	}
}

func TestEachLayerIsReportedForItself(t *testing.T) {
	w := openTest(t, nil)
	f, err := w.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := layersOn(f.Layers)
	for i, name := range layerNames {
		bit := layerSet(1) << i
		if !all.has(bit) {
			t.Logf("NOT CHECKED: %s is off on this host anyway", name)
			continue
		}
		w := openTest(t, nil)
		w.starter.omit = bit
		f, err := w.Fingerprint(t.Context())
		want := all &^ bit
		if bit == layerSpaces {
			want &^= layerRoot | layerNested // they need it
		}
		if got := layersOn(f.Layers); err != nil || got != want {
			t.Errorf("without %s: layers %b, %v; want %b", name, got, err, want)
		}
		if weak := bit&(layerSpaces|layerRoot|layerPrivileges) != 0; weak != (f.Level < LevelNamespaces) {
			t.Errorf("without %s: level %s", name, f.Level)
		}
	}
}

// TestAsNobody runs the isolation tests as an ordinary user.
func TestAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT CHECKED as uid 65534: only root can become it; these tests ran as an ordinary user anyway")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=TestAGuestThat|TestEachLayer", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: TestAGuestThatBreaksOut")) {
		t.Errorf("as uid %d: %v\n%s", nobody, err, out)
	}
}
