package store

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"testing"
)

// TestMain lets the test binary play a second muster: with MUSTER_TEST_CHILD set
// it does what that names to the home in MUSTER_TEST_HOME.
func TestMain(m *testing.M) {
	switch os.Getenv("MUSTER_TEST_CHILD") {
	case "":
		os.Exit(m.Run())
	case "open":
		childOpen(os.Getenv("MUSTER_TEST_HOME"))
	case "commit":
		childCommit(os.Getenv("MUSTER_TEST_HOME"))
	}
}

// childOpen holds the home until its input ends.
func childOpen(home string) {
	db, err := Open(home, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	defer db.Close()
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
}

// childCommit commits one key after the other and says each when it is durable,
// until somebody kills it.
func childCommit(home string) {
	db, err := Open(home, slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println("error", err)
		return
	}
	value := make([]byte, 20_000) // so that memtables fill up and are flushed
	for i := 0; ; i++ {
		var b Batch
		b.Put(fmt.Appendf(nil, "k/%08d", i), value)
		if err := db.Commit(context.Background(), &b, Durable); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println(i)
	}
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t *testing.T, what, home string) *child {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "MUSTER_TEST_CHILD="+what, "MUSTER_TEST_HOME="+home)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &child{cmd, in, bufio.NewScanner(out)}
}

// line gives the child's next line; it fails the test if there is none.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("the child said nothing more: %v", c.out.Err())
	}
	return c.out.Text()
}

func open(t testing.TB, home string) *DB {
	t.Helper()
	db, err := Open(home, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func put(t testing.TB, db *DB, key, value string, d Durability) {
	t.Helper()
	var b Batch
	b.Put([]byte(key), []byte(value))
	if err := db.Commit(context.Background(), &b, d); err != nil {
		t.Fatal(err)
	}
}
