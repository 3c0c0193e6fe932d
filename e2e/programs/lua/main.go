// Command lua runs a Lua program on gopher-lua, an interpreter in Go: the file
// that is named first, with the other arguments in the table arg.
package main

import (
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: lua FILE [ARGUMENT...]")
		os.Exit(2)
	}
	state := lua.NewState()
	defer state.Close()
	args := state.NewTable()
	for _, a := range os.Args[2:] {
		args.Append(lua.LString(a))
	}
	state.SetGlobal("arg", args)
	if err := state.DoFile(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
