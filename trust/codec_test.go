package trust

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// The bytes on disk must not move under a version.
func TestRecordsHaveTheBytesOfTheirVersion(t *testing.T) {
	lie := Evidence{
		Peer: peer(1), Kind: WrongProven, Time: start, Job: proto.JobID{1}, Task: 2, Digest: proto.Digest{3},
		Execution: proto.ExecutionID{4}, Output: proto.RawCID([]byte("y")), Right: proto.RawCID([]byte("x")),
		Weight: 1, Detail: "d", Answer: []byte("a"),
	}
	wantLie := "0103" + "04" + zeros(15) + "0006ba1694472000" + "01" + zeros(31) + "00000002" + "03" + zeros(31) +
		"3ff0000000000000" +
		"00000024" + hex.EncodeToString(lie.Output.Bytes()) + "00000024" + hex.EncodeToString(lie.Right.Bytes()) +
		"00000001" + "64" + "00000001" + "61"
	if got := hex.EncodeToString(encodeEvidence(lie)); got != wantLie {
		t.Errorf("evidence:\n got %s\nwant %s", got, wantLie)
	}
	e := entry{belief: fold(lie), kept: 5, oldest: start}
	wantEntry := "01" + "0006ba1694472000" + zeros(24) + "00000001" + "0006ba1694472000" + "00000000" + "8000000000000000" +
		"00000005" + "0006ba1694472000" + zeros(8*(kinds-1))
	if got := hex.EncodeToString(encodeEntry(e)); got != wantEntry {
		t.Errorf("standing:\n got %s\nwant %s", got, wantEntry)
	}
}

func TestOnlyOneFormOfARecordIsRead(t *testing.T) {
	evidence, standing := encodeEvidence(seen(OKChecked, start)), encodeEntry(entry{belief: fold(seen(OKChecked, start))})
	change := func(b []byte, at int, with ...byte) []byte {
		b = bytes.Clone(b)
		copy(b[at:], with)
		return b
	}
	for name, b := range map[string][]byte{
		"nothing":                         nil,
		"a byte too many":                 append(bytes.Clone(evidence), 0),
		"a byte too few":                  evidence[:len(evidence)-1],
		"no kind":                         change(evidence, 1, 0),
		"an unknown kind":                 change(evidence, 1, byte(kinds)),
		"no time":                         change(evidence, 18, 0x80, 0, 0, 0, 0, 0, 0, 0),
		"a task beyond all":               change(evidence, 58, 1),
		"a weight of zero":                change(evidence, 94, 0, 0, 0, 0, 0, 0, 0, 0),
		"an endless detail":               change(evidence, len(evidence)-8, 0xff),
		"an output that is no content id": append(change(evidence[:106], 102, 0, 0, 0, 1), 9),
	} {
		if _, err := decodeEvidence(peer(1), b); !errors.Is(err, ErrDamaged) {
			t.Errorf("evidence, %s: got %v, want ErrDamaged", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"a byte too many":             append(bytes.Clone(standing), 0),
		"a negative sum":              change(standing, 9, 0xbf),
		"a negative zero":             change(standing, 17, 0x80, 0, 0, 0, 0, 0, 0, 0),
		"an infinite sum":             change(standing, 9, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0),
		"a lie at no time":            change(standing, 33, 0, 0, 0, 1),
		"more debt than there can be": change(standing, 45, 0, 0, 0, CheckDebt+1),
	} {
		if _, err := decodeEntry(b); !errors.Is(err, ErrDamaged) {
			t.Errorf("standing, %s: got %v, want ErrDamaged", name, err)
		}
	}
}

func zeros(n int) string { return strings.Repeat("00", n) }

func FuzzEvidence(f *testing.F) {
	f.Add(encodeEvidence(seen(WrongProven, start)))
	f.Add(encodeEvidence(seen(Refused, start)))
	f.Add([]byte{recordVersion + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEvidence(peer(1), b)
		if err != nil {
			if !errors.Is(err, ErrNewer) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if again := encodeEvidence(e); !bytes.Equal(again, b) {
			t.Fatalf("read %x, and wrote %x", b, again)
		}
		belief{}.apply(e)
	})
}

func FuzzStanding(f *testing.F) {
	f.Add(encodeEntry(entry{belief: fold(seen(OKChecked, start), seen(Lost, start)), kept: 2, oldest: start}))
	f.Add(encodeEntry(entry{belief: fold(seen(WrongProven, start))}))
	f.Add([]byte{recordVersion + 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrNewer) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if again := encodeEntry(e); !bytes.Equal(again, b) {
			t.Fatalf("read %x, and wrote %x", b, again)
		}
		if s := e.standing(start, peer(1)); !(s.N >= 0) || !(s.Availability >= 0 && s.Availability <= 1) {
			t.Fatalf("standing out of range: %+v", s)
		}
	})
}
