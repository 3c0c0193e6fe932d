package overlay

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestACrewTakesWorkUntilItIsFullOrEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := NewWorkers(ctx, 2)
		finish := make(chan struct{})
		var done atomic.Int32
		piece := func(ctx context.Context) {
			select {
			case <-finish:
			case <-ctx.Done():
			}
			done.Add(1)
		}
		first, second, third := c.Try(piece), c.Try(piece), c.Try(piece)
		if !first || !second || third {
			t.Error("want two pieces taken and the third declined")
		}
		finish <- struct{}{}
		synctest.Wait()
		if !c.Try(piece) {
			t.Error("declined though one has ended")
		}
		cancel()
		if c.Try(piece) {
			t.Error("taken after the end")
		}
		if err := c.Wait(); err != nil || done.Load() != 3 {
			t.Errorf("%d pieces done (%v), want all 3", done.Load(), err)
		}
		if c.Try(piece) {
			t.Error("taken after wait")
		}
	})
}
