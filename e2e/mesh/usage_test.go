package mesh

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	line := "4242 (a) b (c) S 17 4242 4242 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 9 0 12345 1000000 77 18446744073709551615 1 1 0"
	got, ok := parseStat(line)
	want := process{parent: 17, cpu: 11 + 22 + 33 + 44, resident: 77 * int64(os.Getpagesize())}
	if !ok || got != want {
		t.Errorf("got %+v, %v; want %+v", got, ok, want)
	}
	for _, bad := range []string{"", "1 (x) S 2", "4242 (a) S x 4242 4242 0 -1 4194560 100 200 0 0 11 22 33 44 20 0 9 0 12345 1000000 77 1"} {
		if _, ok := parseStat(bad); ok {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestBelow(t *testing.T) {
	all := map[int]process{10: {parent: 1}, 11: {parent: 10}, 12: {parent: 11}, 20: {parent: 1}, 1: {}}
	for pid, want := range map[int]bool{10: true, 11: true, 12: true, 20: false, 1: false, 99: false} {
		if got := below(all, pid, 10); got != want {
			t.Errorf("%d below 10: got %v, want %v", pid, got, want)
		}
	}
}
