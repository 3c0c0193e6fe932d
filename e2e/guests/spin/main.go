// Command spin is a guest that keeps a processor busy: for as many rounds of
// ten million steps as its argument says, or for ever without one. The steps
// are counted, not timed, so that the answer is the same everywhere; sixty
// rounds take about a second where nothing else slows them down.
package main

import (
	"fmt"
	"os"
	"strconv"
)

const stepsPerRound = 10_000_000

func main() {
	rounds := -1
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 0 {
			fmt.Fprintln(os.Stderr, "usage: spin [ROUNDS]")
			os.Exit(2)
		}
		rounds = n
	}
	x := uint64(88172645463325252)
	for done := 0; done != rounds; done++ {
		x = spin(x, stepsPerRound)
	}
	fmt.Printf("%016x\n", x)
}

// spin takes x through the given number of xorshift steps.
func spin(x uint64, steps int) uint64 {
	for range steps {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x
}
