// Command tour is a guest written in Go: its first argument says what it does.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		return
	}
	if err := tours[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(3)
	}
}

var tours = map[string]func([]string) error{
	"echo":  echo,
	"walk":  walk,
	"chaos": chaos,
	"sleep": sleep,
	"fill":  fill,
	"alloc": alloc,
	"deep":  func([]string) error { fmt.Println(deep(1)); return nil },
	"files": files,
	"sum":   sum,
	"count": count,
	"loop":  loop,
	"panic": func([]string) error { panic("on purpose") },
}

// echo tells what it was given.
func echo(args []string) error {
	fmt.Printf("%q\n%q\n", args, os.Environ())
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

// walk lists the tree.
func walk([]string) error {
	return filepath.WalkDir("/", func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			info, _ := d.Info()
			fmt.Println(p, d.IsDir(), info.Size(), info.ModTime().Unix())
		}
		return err
	})
}

// chaos prints what differs from run to run on other machines.
func chaos([]string) error {
	m := map[int]bool{}
	for i := range 50 {
		m[i] = true
	}
	for k := range m {
		fmt.Print(k, " ")
	}
	var b [16]byte
	rand.Read(b[:])
	fmt.Printf("\n%x %v\n", b, time.Now().UTC())
	c := make(chan int)
	for i := range 20 {
		go func() { time.Sleep(time.Duration(i%3) * time.Millisecond); c <- i }()
	}
	for range 20 {
		fmt.Print(<-c, " ")
	}
	fmt.Fprintln(os.Stderr, time.Now().UnixNano())
	return os.WriteFile("/out/chaos", fmt.Append(nil, time.Now(), len(m)), 0o644)
}

// sleep sleeps for an hour.
func sleep([]string) error {
	begun := time.Now()
	time.Sleep(time.Hour)
	fmt.Println(time.Since(begun).Round(time.Second))
	return nil
}

// fill writes a file until it is refused.
func fill([]string) error {
	f, err := os.Create("/out/fill")
	for err == nil {
		_, err = f.Write(make([]byte, 100_000))
	}
	info, _ := f.Stat()
	fmt.Println(info.Size())
	return err
}

// alloc takes memory until there is none.
func alloc([]string) error {
	var all [][]byte
	for {
		all = append(all, make([]byte, 1<<20))
	}
}

func deep(n int) int { return deep(n+1) + 1 }

// files makes, renames and removes files.
func files([]string) error {
	for i := range 300 {
		if err := os.WriteFile(fmt.Sprintf("/out/f%03d", i), []byte{byte(i)}, 0o644); err != nil {
			return err
		}
	}
	if err := os.Rename("/out/f000", "/out/zz"); err != nil {
		return err
	}
	list, err := os.ReadDir("/out")
	fmt.Println(len(list), list[0].Name(), list[len(list)-1].Name())
	for _, e := range list[:len(list)-2] {
		if err := os.Remove("/out/" + e.Name()); err != nil {
			return err
		}
	}
	return err
}

// sum adds up the bytes of a file.
func sum(args []string) error {
	f, err := os.Open(args[0])
	if err != nil {
		return err
	}
	total, r := 0, bufio.NewReaderSize(f, 1<<16)
	for {
		b, err := r.ReadByte()
		if err == io.EOF {
			break
		} else if err != nil {
			return err
		}
		total += int(b)
	}
	fmt.Println(total)
	return nil
}

// count computes for a while.
func count([]string) error {
	longest, at := 0, 0
	for i := 1; i < 300_000; i++ {
		n, steps := i, 0
		for ; n != 1; steps++ {
			if n%2 == 0 {
				n /= 2
			} else {
				n = 3*n + 1
			}
		}
		if steps > longest {
			longest, at = steps, i
		}
	}
	fmt.Println(longest, at)
	return nil
}

// loop prints and then never ends.
func loop([]string) error {
	fmt.Println("looping")
	for i := 0; ; i++ {
	}
}
