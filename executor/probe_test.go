package executor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	llsys "github.com/landlock-lsm/go-landlock/landlock/syscall"
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
		c, err := net.DialTimeout(args[0], args[1], 5*time.Second)
		if err != nil {
			return "", err
		}
		defer c.Close()
		_, err = c.Write([]byte("x")) // which is what sends something where there is no connection
		return "", err
	},
	"exec": func([]string) (string, error) { return "", syscall.Exec("/bin/true", []string{"true"}, nil) },
	"fork": func([]string) (string, error) {
		pid, err := syscall.ForkExec("/does/not/exist", []string{"x"}, nil)
		if pid > 0 || errors.Is(err, syscall.ENOENT) {
			return "only the exec after it failed", nil
		}
		return "", err
	},
	"peek": func(args []string) (string, error) {
		pid, _ := strconv.Atoi(args[0])
		at, _ := strconv.ParseUint(args[1], 0, 64)
		b := make([]byte, len(secret))
		local := []unix.Iovec{{Base: &b[0], Len: uint64(len(b))}}
		n, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(at), Len: len(b)}}, 0)
		if err == nil && (n != len(b) || string(b) != string(secret[:])) {
			err = errors.New("something else was read")
		}
		return string(b), err
	},
	"mount": func(args []string) (string, error) {
		err := unix.Mount(args[0], args[0], "", unix.MS_BIND, "")
		if err == nil {
			unix.Unmount(args[0], unix.MNT_DETACH)
		}
		return "", err
	},
	"open": func([]string) (string, error) {
		var open []string
		for fd := range 64 {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil {
				link, _ := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
				open = append(open, link)
			}
		}
		return strings.Join(open, " "), nil
	},
	"threads": func([]string) (string, error) {
		for range 2 * maxThreads {
			go func() { runtime.LockOSThread(); select {} }()
			runtime.Gosched()
		}
		return "", nil
	},
	"setuid": func([]string) (string, error) { return "", syscall.Setuid(0) },
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
	"forge": forgeCode,
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

// secret is in the memory of this process, for another to read.
var secret = [8]byte{'s', 'e', 'c', 'r', 'e', 't', '!', '!'}

// An attack is what must not succeed behind all walls, and those walls each of
// which is enough to prevent it.
type attack struct {
	args   []string
	heldBy layerSet
}

func attacks(t *testing.T) map[string]attack {
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dir := openDir(t)
	path, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	name, err := net.Listen("unix", "@muster-probe-"+filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{tcp, udp, path, name} {
		t.Cleanup(func() { c.Close() })
	}
	os.Chmod(dir+"/socket", 0o777)
	const s, l, n = layerSeccomp, layerLandlock, layerSpaces
	const p = layerPrivileges
	self := strconv.Itoa(os.Getpid())
	proc := n
	if builtWithCgo {
		proc = 0 // it has a /proc of its own
	}
	return map[string]attack{
		"read a file of the host":    {[]string{"read", "/etc/passwd"}, s | l | n},
		"list the root":              {[]string{"list", "/"}, s | l | proc},
		"list the processes":         {[]string{"list", "/proc"}, s | l | proc},
		"write a file":               {[]string{"write", dir}, s | l | n},
		"write a file to the root":   {[]string{"write", "/"}, s | l | n},
		"see a process of the host":  {[]string{"signal", self}, s | l | n},
		"read this process's memory": {[]string{"peek", self, fmt.Sprintf("%p", &secret)}, s | l | n},
		"connect over TCP":           {[]string{"connect", "tcp", tcp.Addr().String()}, s | l | n},
		"send over UDP":              {[]string{"connect", "udp", udp.LocalAddr().String()}, s | n},
		"connect to a socket file":   {[]string{"connect", "unix", path.Addr().String()}, s | n},
		"connect to a socket's name": {[]string{"connect", "unix", name.Addr().String()}, s | l | n},
		"execute a program":          {[]string{"exec"}, s | l | n},
		"fork":                       {[]string{"fork"}, s},
		"become root":                {[]string{"setuid"}, s | p},
		"mount":                      {[]string{"mount", dir}, s | l | p},
		"make a network namespace":   {[]string{"nest"}, s | p},
		"make a user namespace":      {[]string{"nestuser"}, s | layerNested},
		"have a capability":          {[]string{"caps"}, s | p},
		"see the environment":        {[]string{"environ"}, 0}, // there is none, whatever the walls
	}
}

// openDir is a directory that everybody may write to.
func openDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	return dir
}

// How a probe ended, if it did not get what it wanted.
const (
	probeFailed = "failed: " // and why
	probeKilled = "killed by the filter"
	probeGone   = "the process is gone"
)

// tryProbe runs a probe in a sandbox of its own, and gives what it says or how it ended.
func tryProbe(t *testing.T, w *WASM, args []string) string {
	t.Helper()
	k := probeTask(t, args...)
	e, sink := start(t, w, k)
	_, err := e.Wait(t.Context())
	w.Release(k.Owner, k.Program.CID) // it may have changed its process
	switch {
	case err == nil:
		return sink.stdout.String()
	case !errors.Is(err, ErrKilled):
		t.Fatalf("probe %q: %v", args, err)
	case strings.Contains(err.Error(), wordsForbidden):
		return probeKilled
	}
	return probeGone
}

// behind opens an executor with some of the walls, all of which this host must
// be able to build.
func behind(t *testing.T, walls layerSet) *WASM {
	w := openTest(t, nil)
	w.starter.omit = allLayers &^ walls
	f, err := w.Fingerprint(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	on := layersOn(f.Layers)
	for i, l := range f.Layers {
		if !l.On && l.Detail == "" {
			t.Errorf("%s is off without a reason", l.Name)
		}
		if bit := layerSet(1) << i; walls.has(bit) && !on.has(bit) {
			if bit != layerCgroup { // which no attack is held by
				t.Skipf("NOT CHECKED: this host does not enforce %s (%s)", l.Name, l.Detail)
			}
			t.Logf("NOT CHECKED with a control group: %s", l.Detail)
		}
	}
	if extra := on &^ walls; extra != 0 {
		t.Fatalf("there are walls %b besides", extra)
	}
	return w
}

const allLayers = layerSeccomp<<1 - 1

func TestAGuestThatBreaksOutFindsNothing(t *testing.T) {
	for name, walls := range map[string]layerSet{"all layers": allLayers, "all but seccomp": allLayers &^ layerSeccomp} {
		t.Run(name, func(t *testing.T) {
			w := behind(t, walls)
			for what, a := range attacks(t) {
				if a.heldBy != 0 && a.heldBy&walls == 0 {
					continue
				}
				got := tryProbe(t, w, a.args)
				t.Logf("%s: %s", what, got)
				if killed := a.heldBy.has(layerSeccomp) && walls.has(layerSeccomp); killed && got != probeKilled {
					t.Errorf("seccomp does not kill a guest that tries to %s: %q", what, got)
				} else if !killed && !strings.HasPrefix(got, probeFailed) {
					t.Errorf("a guest can %s: %q", what, got)
				}
			}
		})
	}
}

// TestEachWallHoldsAlone: if one of them has a hole, another is behind it.
func TestEachWallHoldsAlone(t *testing.T) {
	for name, walls := range map[string]layerSet{
		"seccomp": layerSeccomp, "landlock": layerLandlock, "namespaces": layerSpaces | layerRoot,
	} {
		t.Run(name, func(t *testing.T) {
			if abi, _ := llsys.LandlockGetABIVersion(); walls == layerLandlock && abi < 6 {
				t.Skipf("NOT CHECKED: this kernel's Landlock has abi %d, which knows no signals and sockets", abi)
			}
			w, n := behind(t, walls), 0
			for what, a := range attacks(t) {
				if a.heldBy&walls == 0 {
					continue
				}
				n++
				got := tryProbe(t, w, a.args)
				if want := got == probeKilled; want != (walls == layerSeccomp) || !want && !strings.HasPrefix(got, probeFailed) {
					t.Errorf("behind this wall alone a guest can %s: %q", what, got)
				}
			}
			t.Logf("%d attacks held", n)
		})
	}
}

// The probes themselves must be able to succeed, or they would prove nothing.
func TestProbesSucceedWithoutWalls(t *testing.T) {
	w := behind(t, 0)
	if f, err := w.Fingerprint(t.Context()); err != nil || f.Level != LevelNone {
		t.Errorf("got %+v, %v; want no layers", f, err)
	}
	root := os.Getuid() == 0
	for name, a := range attacks(t) {
		needsRoot := a.heldBy.has(layerPrivileges) || a.args[len(a.args)-1] == "/" && a.args[0] == "write"
		if needsRoot && !root || a.heldBy == 0 || name == "write a file to the root" {
			continue // the walls are not what stops it, or it would change the host
		}
		got := tryProbe(t, w, a.args)
		if strings.HasPrefix(got, probeFailed) || got == probeKilled || (got == probeGone) != (a.args[0] == "exec") {
			t.Errorf("without walls a guest cannot %s: %s", name, got)
		}
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
	w = behind(t, allLayers&^layerSeccomp) // who it is must not be asked there
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
	weakens := layerSpaces | layerRoot | layerPrivileges
	if seccompKnown {
		weakens |= layerSeccomp
	}
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
		if weak := bit&weakens != 0; weak != (f.Level < LevelNamespaces) {
			t.Errorf("without %s: level %s", name, f.Level)
		}
	}
}

// TestAsNobody runs the isolation tests as an ordinary user.
func TestAsNobody(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("NOT CHECKED as uid 65534: only root can become it; these tests ran as an ordinary user anyway")
	}
	tests, pass := "TestAGuestThat|TestEach|TestProbes", []string{"TestAGuestThatBreaksOutFindsNothing/all_layers", "TestEachWallHoldsAlone/seccomp", "TestEachWallHoldsAlone/landlock", "TestEachWallHoldsAlone/namespaces"}
	if !raceEnabled { // with which a child is built, for which this user has no folders
		tests, pass = tests+"|TestHostile", append(pass, "TestHostileGuests")
	}
	cmd := exec.Command("/proc/self/exe", "-test.run="+tests, "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	for _, test := range pass {
		if err != nil || !bytes.Contains(out, []byte("PASS: "+test)) {
			t.Fatalf("as uid %d, %s: %v\n%s", nobody, test, err, out)
		}
	}
}

// TestNothingIsInherited: whatever the daemon was started with stays outside.
func TestNothingIsInherited(t *testing.T) {
	f, err := os.Open("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := unix.Dup(int(f.Fd())) // which a child inherits
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	got := strings.Fields(tryProbe(t, behind(t, layerDescriptors), []string{"open"}))
	for i, link := range got {
		if want := []string{"socket:", "pipe:", "pipe:"}; i < 3 && strings.HasPrefix(link, want[i]) {
			continue
		}
		if i < 3 || link != "anon_inode:[eventpoll]" && link != "anon_inode:[eventfd]" {
			t.Errorf("descriptor %d is %s", i, link)
		}
	}
	if got := tryProbe(t, behind(t, 0), []string{"open"}); !strings.Contains(got, "/etc/passwd") {
		t.Errorf("without this wall it is not open either: %s", got)
	}
}
