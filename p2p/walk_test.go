package p2p

import (
	"errors"
	"testing"

	"github.com/mustermesh/muster/proto"
)

// FuzzWalk follows graphs that strangers made, of blocks that link to each other
// by number: the walk ends, visits each block once, and holds little.
func FuzzWalk(f *testing.F) {
	f.Add([]byte{0, 1, 1, 2, 2, 0}, 100)
	f.Fuzz(func(t *testing.T, edges []byte, max int) {
		max = 1 + max&1023
		m := newMemory()
		names := make(map[proto.CID]byte)
		byName := make([]proto.CID, 256)
		for i := range byName {
			byName[i] = m.nodeOf([]byte{byte(i), 1, 2})
			names[byName[i]] = byte(i)
		}
		w := newWalk(byName[0], max)
		visited := make(map[proto.CID]bool)
		for {
			id, ok := w.next()
			if !ok {
				return
			}
			if visited[id] {
				t.Fatalf("%d is visited twice", names[id])
			}
			visited[id] = true
			var links []proto.CID
			for i := 0; i+1 < len(edges); i += 2 {
				if edges[i] == names[id] {
					links = append(links, byName[edges[i+1]])
				}
			}
			if err := w.push(links); err != nil {
				if !errors.Is(err, ErrTooLarge) {
					t.Fatal(err)
				}
				return
			}
			if len(visited) > max || len(w.stack) > 2*max {
				t.Fatalf("%d visited, %d waiting, limit %d", len(visited), len(w.stack), max)
			}
		}
	})
}
