// Command chaos is a guest that prints everything a program can find to differ
// from one execution to the next. Executions of one task must print the same,
// and different tasks must not.
package main

import (
	cryptorand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

func main() {
	start := time.Now()
	fmt.Println("task", os.Getenv("MUSTER_TASK_INDEX"), "of", os.Getenv("MUSTER_TASK_COUNT"))
	fmt.Println("start", start.UnixNano())
	fmt.Println("crypto/rand", cryptorand.Text())
	fmt.Println("math/rand", rand.Uint64(), rand.Uint64())
	fmt.Println("map order", mapOrder())
	fmt.Println("first of two goroutines", race())
	fmt.Println("pid", os.Getpid())
	time.Sleep(10 * time.Millisecond)
	fmt.Println("took", time.Since(start))
}

// mapOrder returns the keys of a map in the order that a loop meets them.
func mapOrder() []int {
	m := make(map[int]bool)
	for i := range 32 {
		m[i] = true
	}
	var order []int
	for i := range m {
		order = append(order, i)
	}
	return order
}

// race says which of two goroutines the scheduler and select let through.
func race() string {
	a, b := make(chan string, 1), make(chan string, 1)
	go func() { a <- "a" }()
	go func() { b <- "b" }()
	select {
	case first := <-a:
		return first
	case first := <-b:
		return first
	}
}
