package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"muster":      func() { os.Exit(run(newApp(fakeMesh()), os.Args[1:])) },
		"muster-play": func() { playShow(os.Args[1:]) },
	})
}

// TestScripts runs the command line as a user does, against a node that is a
// fake. Each script has a fake, a home and a folder of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			socket := filepath.Join(e.WorkDir, "s")
			e.Defer(newFakeNode().serve(t, socket))
			e.Setenv("FAKE_API", socket)
			e.Setenv("MUSTER_HOME", filepath.Join(e.WorkDir, "home"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": code},
	})
}

// code CODE COMMAND… runs a command that must end with this exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code CODE COMMAND...")
	}
	want := args[0]
	script := `"$@"; echo "$?" > "$CODE_FILE"`
	file := ts.MkAbs(".code")
	ts.Setenv("CODE_FILE", file)
	ts.Check(ts.Exec("sh", append([]string{"-c", script, "sh"}, args[1:]...)...))
	if got := ts.ReadFile(".code"); got != want+"\n" {
		ts.Fatalf("got exit code %swant %s", got, want)
	}
}
