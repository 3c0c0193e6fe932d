package main

import "testing"

func TestSpinInPiecesIsSpinAtOnce(t *testing.T) {
	if got, want := spin(spin(1, 400), 600), spin(1, 1000); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
	// The first number of xor64 in Marsaglia, "Xorshift RNGs", 2003, from the
	// seed given there.
	if got, want := spin(88172645463325252, 1), uint64(8748534153485358512); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}
