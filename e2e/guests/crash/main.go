// Command crash is a guest that fails in the way its argument asks for: a
// number is the exit code to leave with, "panic" panics, "memory" allocates
// until it is stopped, "stack" recurses until it is stopped. Whatever it
// printed and wrote before must be reported too.
package main

import (
	"fmt"
	"os"
	"strconv"
)

func main() {
	fmt.Println("about to crash")
	fmt.Fprintln(os.Stderr, "about to crash:", os.Args[1:])
	if len(os.Args) != 2 {
		usage()
	}
	switch how := os.Args[1]; how {
	case "panic":
		panic("as asked")
	case "memory":
		exhaust()
	case "stack":
		fmt.Println(deep(0))
	default:
		code, err := strconv.Atoi(how)
		if err != nil {
			usage()
		}
		os.Exit(code)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: crash CODE|panic|memory|stack")
	os.Exit(2)
}

// exhaust keeps and touches every byte that it allocates.
func exhaust() {
	var kept [][]byte
	for {
		b := make([]byte, 1<<20)
		for i := 0; i < len(b); i += 4096 {
			b[i] = 1
		}
		kept = append(kept, b)
		if len(kept)%64 == 0 {
			fmt.Println(len(kept), "MiB")
		}
	}
}

// deep calls itself until the stack ends; n never gets so far down by itself.
func deep(n int) int {
	if n < 0 {
		return 0
	}
	return deep(n+1) + 1
}
