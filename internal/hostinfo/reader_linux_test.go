package hostinfo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// A machine is a copy of a golden tree, to be changed.
type machine struct {
	*testing.T
	*Reader
}

func newMachine(t *testing.T, golden string) machine {
	t.Helper()
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS(filepath.Join("testdata", golden))); err != nil {
		t.Fatal(err)
	}
	return machine{t, &Reader{root: root, self: 100, cpus: 4}}
}

func (m machine) write(path, text string) {
	m.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
		m.Fatal(err)
	}
}

func (m machine) remove(path string) {
	m.Helper()
	if err := os.RemoveAll(filepath.Join(m.root, path)); err != nil {
		m.Fatal(err)
	}
}

func want[T comparable](t *testing.T, what string, got Fact[T], value T, source string) {
	t.Helper()
	if got != known(value, source) {
		t.Errorf("%s: got %+v, want %v from %q", what, got, value, source)
	}
}

func wantUnknown[T comparable](t *testing.T, what string, got Fact[T], why string) {
	t.Helper()
	var zero T
	if got.Known || got.Value != zero || !strings.Contains(got.Why, why) {
		t.Errorf("%s: got %+v, want it unknown, because of %q", what, got, why)
	}
}

func TestALaptopTellsWhatItKnows(t *testing.T) {
	f := newMachine(t, "laptop").Read(start)
	want(t, "temperature", f.Temperature, 63.5, "coretemp Package id 0")
	want(t, "battery", f.OnBattery, true, "BAT0")
	want(t, "memory", f.MemoryAvailable, 8<<30, "")
	wantUnknown(t, "load", f.Load, "next reading")
	wantUnknown(t, "idle", f.UserIdle, "no terminal")
	if f.CPUs != 4 {
		t.Errorf("got %d cores, want 4", f.CPUs)
	}
}

func TestAMachineThatTellsNothingIsNoError(t *testing.T) {
	f := newMachine(t, "bare").Read(start)
	wantUnknown(t, "temperature", f.Temperature, "no sensor")
	wantUnknown(t, "battery", f.OnBattery, "power_supply")
	wantUnknown(t, "memory", f.MemoryAvailable, "MemAvailable")
	wantUnknown(t, "load", f.Load, "/proc/stat")
	wantUnknown(t, "idle", f.UserIdle, "no terminal")
}

func TestOnlyASensorThatWorksCounts(t *testing.T) {
	m := newMachine(t, "laptop")
	m.write("sys/class/hwmon/hwmon0/temp1_fault", "1")
	want(t, "with the package's sensor broken", m.Read(start).Temperature, 61, "x86_pkg_temp")
	m.write("sys/class/thermal/thermal_zone1/mode", "enabled")
	want(t, "with the other zone enabled", m.Read(start).Temperature, 99, "acpitz")
	m.remove("sys/class/thermal")
	wantUnknown(t, "with no zone", m.Read(start).Temperature, "no sensor")
}

func TestABatteryCountsWhileItFeedsTheMachine(t *testing.T) {
	m := newMachine(t, "laptop")
	m.write("sys/class/power_supply/AC/online", "1")
	want(t, "on mains", m.Read(start).OnBattery, false, "AC")
	m.write("sys/class/power_supply/AC/online", "0")
	m.write("sys/class/power_supply/BAT0/status", "Full")
	want(t, "with a full battery", m.Read(start).OnBattery, false, "")
	m.remove("sys/class/power_supply/BAT0")
	want(t, "with a mouse's battery alone", m.Read(start).OnBattery, false, "")
	m.write("sys/class/power_supply/ups/type", "UPS")
	m.write("sys/class/power_supply/ups/status", "Discharging")
	m.write("sys/class/power_supply/ups/online", "1")
	want(t, "on a UPS", m.Read(start).OnBattery, true, "ups")
}

// busy sets what the machine and our guest used so far, in hundredths of a second.
func (m machine) busy(total, guest int) {
	m.Helper()
	m.write("proc/stat", fmt.Sprintf("cpu  %d 0 0 1 1 0 0 99999 0 0", total))
	m.write("proc/102/stat", fmt.Sprintf("102 (guest) R 101 1 1 0 -1 4194560 0 0 0 0 %d 0 0 0 20 0 1 0 1", guest))
}

func TestOurOwnWorkIsNoLoadOfOthers(t *testing.T) {
	m := newMachine(t, "laptop")
	m.busy(0, 0)
	m.Read(start)
	m.busy(2000, 2000)
	want(t, "while the guest alone works", m.Read(start.Add(10*time.Second)).Load, 0, "/proc/stat")
	m.busy(5000, 3000)
	// 20 s of others in 10 s are 2 cores; after 10 s of a minute they weigh 1-exp(-1/6).
	if got := m.Read(start.Add(20 * time.Second)).Load; got.Value < 0.306 || got.Value > 0.308 {
		t.Errorf("got a load of %v after 10 s with 2 cores, want 0.307", got.Value)
	}
	m.busy(305000, 3000)
	if got := m.Read(start.Add(20*time.Second + 20*time.Minute)).Load; got.Value < 2.49 || got.Value > 2.51 {
		t.Errorf("got a load of %v after 20 minutes with 2.5 cores, want 2.5", got.Value)
	}
}

// A child that ended leaves its time to its parent, so it is not counted twice,
// and not as that of others.
func TestTheTimeOfAnEndedChildStaysOurs(t *testing.T) {
	m := newMachine(t, "laptop")
	m.busy(0, 500)
	m.Read(start)
	m.busy(300, 800)
	m.remove("proc/102")
	m.write("proc/101/stat", "101 (a ) R 1 (x) S 100 1 1 0 -1 4194560 0 0 0 0 20 0 800 0 20 0 1 0 1")
	want(t, "after the guest ended", m.Read(start.Add(10*time.Second)).Load, 0, "/proc/stat")
}

func TestALoadThatCannotBeToldBeginsAnew(t *testing.T) {
	m := newMachine(t, "laptop")
	m.busy(0, 0)
	m.Read(start)
	m.busy(1000, 0)
	want(t, "at first", m.Read(start.Add(10*time.Second)).Load, 1, "/proc/stat")
	m.busy(500, 0)
	wantUnknown(t, "when the count falls", m.Read(start.Add(20*time.Second)).Load, "next reading")
	wantUnknown(t, "when the clock stands", m.Read(start.Add(20*time.Second)).Load, "next reading")
	m.busy(3500, 0)
	want(t, "afterwards", m.Read(start.Add(30*time.Second)).Load, 3, "/proc/stat")
	m.remove("proc/100")
	wantUnknown(t, "without our process", m.Read(start.Add(40*time.Second)).Load, "our own process")
}

func (m machine) typed(path string, at time.Time) {
	m.Helper()
	m.write(path, "")
	if err := os.Chtimes(filepath.Join(m.root, path), at, start.Add(-time.Second)); err != nil {
		m.Fatal(err)
	}
}

func TestATerminalTellsWhenSomebodyTyped(t *testing.T) {
	m := newMachine(t, "bare")
	m.typed("dev/tty1", start.Add(-time.Hour))
	m.typed("dev/pts/3", start.Add(-10*time.Minute))
	m.typed("dev/pts/ptmx", start)
	want(t, "idle", m.Read(start).UserIdle, 10*time.Minute, "/dev/pts/3")
	m.typed("dev/pts/3", start.Add(time.Minute))
	want(t, "idle, with a time to come", m.Read(start).UserIdle, 0, "/dev/pts/3")
}

// Who sits before a graphical session need not touch a terminal.
func TestADesktopThatRestsIsUnknown(t *testing.T) {
	for _, display := range []string{"tmp/.X11-unix/X0", "run/user/1000/wayland-0"} {
		m := newMachine(t, "bare")
		m.write(display, "")
		m.typed("dev/pts/0", start.Add(-10*time.Minute))
		wantUnknown(t, display, m.Read(start).UserIdle, display)
		m.typed("dev/pts/0", start.Add(-time.Minute))
		want(t, display, m.Read(start).UserIdle, time.Minute, "/dev/pts/0")
	}
}

func TestAFullDiskIsKnown(t *testing.T) {
	if f := FreeDisk(t.TempDir()); !f.Known || f.Value == 0 {
		t.Errorf("got %+v, want the free bytes of the folder for tests", f)
	}
	wantUnknown(t, "no folder", FreeDisk(filepath.Join(t.TempDir(), "none")), "no such file")
}

// The machine that runs the test answers, whatever it is.
func TestThisMachineIsRead(t *testing.T) {
	r := New()
	r.Read(start)
	f := r.Read(start.Add(time.Hour))
	if !f.MemoryAvailable.Known || !f.Load.Known || f.CPUs < 1 {
		t.Errorf("got %+v, want memory and load, which every Linux tells", f)
	}
}

func FuzzParseProcess(f *testing.F) {
	f.Add("102 (a) b) S 101 1 1 0 -1 4194560 0 0 0 0 30 10 1 2 20 0 1 0 1")
	f.Add("")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		if p, ok := parseProcess(stat); ok && p.used < 0 {
			t.Errorf("%q gave a negative time", stat)
		}
	})
}
