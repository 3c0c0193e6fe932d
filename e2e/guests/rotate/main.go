// Command rotate is a guest whose result hangs on one operator: it mixes numbers
// by turning their bits to the left.
package main

import (
	"fmt"
	"math/bits"
	"os"
)

func main() {
	h := uint32(len(os.Args)) // not known beforehand
	for i := range uint32(1000) {
		h = bits.RotateLeft32(h*0x9e3779b1+i, int(i%31)+1)
	}
	fmt.Printf("%08x\n", h)
}
