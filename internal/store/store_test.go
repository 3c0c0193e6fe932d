package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestASecondProcessIsRefusedAndNamesTheFirst(t *testing.T) {
	home := t.TempDir()
	first := startChild(t, "open", home)
	if got := first.line(t); got != "open" {
		t.Fatalf("child says %q", got)
	}
	_, err := Open(home, slog.New(slog.DiscardHandler))
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != first.Process.Pid {
		t.Fatalf("got %v, want a LockedError of pid %d", err, first.Process.Pid)
	}
	if want := fmt.Sprintf("another muster (pid %d) uses this home", first.Process.Pid); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not say %q", err, want)
	}
	first.in.Close()
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	open(t, home) // the lock file is still there, the lock is not
}

func TestTheSameProcessIsRefusedTwice(t *testing.T) {
	home := t.TempDir()
	open(t, home)
	var locked *LockedError
	if _, err := Open(home, slog.New(slog.DiscardHandler)); !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Errorf("got %v, want a LockedError of our own pid", err)
	}
}

func TestKillLosesNothingDurable(t *testing.T) {
	home := t.TempDir()
	c := startChild(t, "commit", home)
	last := -1
	for last < 1500 { // 30 MB: several memtables
		n, err := strconv.Atoi(c.line(t))
		if err != nil {
			t.Fatal(c.out.Text())
		}
		last = n
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for c.out.Scan() { // what it still managed to promise
		if n, err := strconv.Atoi(c.out.Text()); err == nil {
			last = n
		}
	}
	c.Wait()
	db := open(t, home)
	for i := range last + 1 {
		if v, err := db.Get(fmt.Appendf(nil, "k/%08d", i)); err != nil || len(v) != 20_000 {
			t.Fatalf("key %d of %d: %d bytes, %v", i, last, len(v), err)
		}
	}
}

// A log is made, gets its size, then its header: a kill may come between any two.
func TestLogsThatWereJustMadeAreNoDamage(t *testing.T) {
	for _, size := range []int64{0, 8 << 20} {
		for _, name := range []string{"00017.mem", "000017.vlog"} {
			home := t.TempDir()
			db := open(t, home)
			put(t, db, "k", "v", Durable)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(home, dbName), name, "")
			if err := os.Truncate(filepath.Join(home, dbName, name), size); err != nil {
				t.Fatal(err)
			}
			db = open(t, home)
			if v, err := db.Get([]byte("k")); err != nil || string(v) != "v" {
				t.Errorf("%s of %d bytes: got %q, %v", name, size, v, err)
			}
			put(t, db, "l", "w", Durable)
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	cases := []struct {
		name   string
		spoil  func(t *testing.T, db string)
		is     error
		saying string
	}{
		{"a newer format", func(t *testing.T, db string) { write(t, db, "FORMAT", "muster-store 2\n") }, ErrNewer, "install the newer muster"},
		{"a format that makes no sense", func(t *testing.T, db string) { write(t, db, "FORMAT", "\x00\x01") }, ErrDamaged, "put a copy"},
		{"a database without a format", func(t *testing.T, db string) { os.Remove(filepath.Join(db, "FORMAT")) }, ErrDamaged, "FORMAT"},
		{"garbage in the manifest", func(t *testing.T, db string) { write(t, db, "MANIFEST", "garbage all over") }, ErrDamaged, "put a copy"},
		{"no manifest", func(t *testing.T, db string) { os.Remove(filepath.Join(db, "MANIFEST")) }, ErrDamaged, "put a copy"},
		{"a table lost", func(t *testing.T, db string) { os.Remove(onlyTable(t, db)) }, ErrDamaged, "put a copy"},
		{"a table cut short", func(t *testing.T, db string) {
			if err := os.Truncate(onlyTable(t, db), 100); err != nil {
				t.Fatal(err)
			}
		}, ErrDamaged, "put a copy"},
		{"a flipped bit in a table's index", func(t *testing.T, db string) {
			path := onlyTable(t, db)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)-60] ^= 1
			write(t, db, filepath.Base(path), string(b))
		}, ErrDamaged, "put a copy"},
		{"an empty manifest", func(t *testing.T, db string) { write(t, db, "MANIFEST", "") }, ErrDamaged, "put a copy"},
		{"garbage in a table", func(t *testing.T, db string) {
			write(t, db, filepath.Base(onlyTable(t, db)), strings.Repeat("x", 4096))
		}, ErrDamaged, "put a copy"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			home := t.TempDir()
			db := open(t, home)
			put(t, db, "k", "v", Durable)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, filepath.Join(home, dbName))
			_, err := Open(home, slog.New(slog.DiscardHandler))
			if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.saying) || !strings.Contains(fmt.Sprint(err), home) {
				t.Fatalf("got %v, want %v naming %s and saying %q", err, c.is, home, c.saying)
			}
			var locked *LockedError
			if _, err = Open(home, slog.New(slog.DiscardHandler)); errors.As(err, &locked) {
				t.Error("a failed Open keeps the lock")
			}
		})
	}
}

func onlyTable(t *testing.T, db string) string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(db, "*.sst"))
	if err != nil || len(tables) != 1 {
		t.Fatalf("tables: %v, %v; want one", tables, err)
	}
	return tables[0]
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheHomeIsPrivate(t *testing.T) {
	home := filepath.Join(t.TempDir(), "a", "b")
	open(t, home)
	for _, dir := range []string{home, filepath.Join(home, dbName)} {
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want mode 0700", dir, info.Mode(), err)
		}
	}
}

func TestABatchIsAppliedInOrder(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "gone", "x", Lazy)
	var b Batch
	b.Put([]byte("a"), []byte("1"))
	b.Put([]byte("a"), []byte("2"))
	b.Delete([]byte("gone"))
	b.Put([]byte("b"), nil)
	b.Delete([]byte("c"))
	b.Put([]byte("c"), []byte("3"))
	if err := db.Commit(t.Context(), &b, Lazy); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"a": "2", "b": "", "c": "3"} {
		if got, err := db.Get([]byte(key)); err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v; want %q", key, got, err, want)
		}
	}
	if _, err := db.Get([]byte("gone")); !errors.Is(err, ErrNotFound) {
		t.Errorf("gone: got %v, want ErrNotFound", err)
	}
}

func TestScan(t *testing.T) {
	db := open(t, t.TempDir())
	for _, k := range []string{"a", "p", "p/1", "p/2", "p/3", "p/\xff\xff", "p0", "q", "\xff", "\xff\xff/1"} {
		put(t, db, k, "v"+k, Lazy)
	}
	cases := []struct {
		name string
		r    Range
		want []string
	}{
		{"prefix", Range{Prefix: []byte("p/")}, []string{"p/1", "p/2", "p/3", "p/\xff\xff"}},
		{"all", Range{}, []string{"a", "p", "p/1", "p/2", "p/3", "p/\xff\xff", "p0", "q", "\xff", "\xff\xff/1"}},
		{"reverse", Range{Prefix: []byte("p/"), Reverse: true}, []string{"p/\xff\xff", "p/3", "p/2", "p/1"}},
		{"reverse at the end of all keys", Range{Prefix: []byte("\xff"), Reverse: true}, []string{"\xff\xff/1", "\xff"}},
		{"reverse over all", Range{Reverse: true, Limit: 2}, []string{"\xff\xff/1", "\xff"}},
		{"from", Range{Prefix: []byte("p/"), From: []byte("p/2")}, []string{"p/2", "p/3", "p/\xff\xff"}},
		{"from between keys", Range{Prefix: []byte("p/"), From: []byte("p/20")}, []string{"p/3", "p/\xff\xff"}},
		{"from before the prefix", Range{Prefix: []byte("p/"), From: []byte("a"), Limit: 1}, []string{"p/1"}},
		{"from behind the prefix", Range{Prefix: []byte("p/"), From: []byte("q")}, nil},
		{"reverse from", Range{Prefix: []byte("p/"), From: []byte("p/2"), Reverse: true}, []string{"p/2", "p/1"}},
		{"reverse from between keys", Range{Prefix: []byte("p/"), From: []byte("p/20"), Reverse: true}, []string{"p/2", "p/1"}},
		{"reverse from behind the prefix", Range{Prefix: []byte("p/"), From: []byte("z"), Reverse: true, Limit: 1}, []string{"p/\xff\xff"}},
		{"limit", Range{Prefix: []byte("p/"), Limit: 2}, []string{"p/1", "p/2"}},
		{"nothing", Range{Prefix: []byte("zz")}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			err := db.ScanRange(c.r, func(k, v []byte) error {
				if string(v) != "v"+string(k) {
					t.Errorf("key %q has value %q", k, v)
				}
				got = append(got, string(k))
				return nil
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestScanEndsEarly(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "a", "1", Lazy)
	put(t, db, "b", "2", Lazy)
	n := 0
	if err := db.Scan(nil, func(_, _ []byte) error { n++; return ErrStop }); err != nil || n != 1 {
		t.Errorf("ErrStop: visited %d, %v; want 1 and no error", n, err)
	}
	boom := errors.New("boom")
	if err := db.Scan(nil, func(_, _ []byte) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v, want the function's error", err)
	}
}

func TestBatchLimits(t *testing.T) {
	db := open(t, t.TempDir())
	var most, heavy, many, noKey, longKey, reservedKey Batch
	for i := range MaxBatchOps {
		most.Put(fmt.Appendf(nil, "%d", i), nil)
		many.Delete(fmt.Appendf(nil, "%d", i))
	}
	many.Delete([]byte("x"))
	heavy.Put([]byte("k"), make([]byte, MaxBatchBytes))
	noKey.Put(nil, nil)
	longKey.Put(make([]byte, MaxKeyBytes+1), nil)
	reservedKey.Put([]byte("!badger!x"), nil)
	cases := []struct {
		name  string
		batch *Batch
		want  error
	}{
		{"as many operations as allowed", &most, nil},
		{"too many operations", &many, ErrTooBig},
		{"too many bytes", &heavy, ErrTooBig},
		{"an empty key", &noKey, ErrBadKey},
		{"a long key", &longKey, ErrBadKey},
		{"a reserved key", &reservedKey, ErrBadKey},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if err := db.Commit(t.Context(), c.batch, Lazy); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	var full Batch
	full.Put([]byte("full"), make([]byte, MaxBatchBytes-opOverhead-4))
	if err := db.Commit(t.Context(), &full, Durable); err != nil {
		t.Errorf("the largest batch: %v", err)
	}
	if v, err := db.Get([]byte("full")); err != nil || len(v) != MaxBatchBytes-opOverhead-4 {
		t.Errorf("got %d bytes, %v", len(v), err)
	}
}

func TestAfterClose(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "k", "v", Lazy)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Get([]byte("k")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get: %v", err)
	}
	if err := db.Scan(nil, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Scan: %v", err)
	}
	if err := db.Commit(context.Background(), &Batch{}, Durable); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit: %v", err)
	}
	if err := db.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("Close: %v", err)
	}
}

func TestCloseWaitsForAScan(t *testing.T) {
	db := open(t, t.TempDir())
	put(t, db, "a", "1", Lazy)
	put(t, db, "b", "2", Lazy)
	closed := make(chan error, 1)
	err := db.Scan(nil, func(key, _ []byte) error {
		if string(key) == "a" {
			go func() { closed <- db.Close() }()
			for db.enter() == nil { // until Close has begun
				db.leave()
			}
			select {
			case <-closed:
				t.Error("Close did not wait")
			default:
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}
