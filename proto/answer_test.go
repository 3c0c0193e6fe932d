package proto

import (
	"crypto/sha256"
	"testing"
)

func TestRootsNameTheListOfStateRoots(t *testing.T) {
	roots := func(rs ...Hash) Hash { return Answer{StateRoots: rs}.Roots() }
	if roots() != (Hash{}) {
		t.Errorf("no state roots are named %x, want zero", roots())
	}
	if want := Hash(sha256.Sum256([]byte{0: 1, 32: 2, 63: 0})); roots(Hash{1}, Hash{2}) != want {
		t.Errorf("two are named %x, want %x, the hash of both", roots(Hash{1}, Hash{2}), want)
	}
	seen := map[Hash]string{}
	for name, h := range map[string]Hash{
		"none": roots(), "one": roots(Hash{1}), "another": roots(Hash{2}), "two": roots(Hash{1}, Hash{2}),
		"two, the other way round": roots(Hash{2}, Hash{1}), "one, twice": roots(Hash{1}, Hash{1}), "zero": roots(Hash{}),
	} {
		if other, twice := seen[h]; twice {
			t.Errorf("%s and %s have one name", name, other)
		}
		seen[h] = name
	}
}
