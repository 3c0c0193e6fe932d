package provider

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLogsTakeASmallShareOfASlowStream: one piece at a time, and after each a
// pause that grows with the time that it took.
func TestLogsTakeASmallShareOfASlowStream(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration // of one piece of 16 KiB
		most  time.Duration // spent on sending, of ten seconds
		bytes int           // at least
	}{
		"a fast stream": {0, 0, 9 << 20},
		"a slow stream": {time.Second, 2 * time.Second, 16 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, sending, busy, sent := newVoice(), false, time.Duration(0), 0
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				for range 5 { // executions
					go func() {
						for v.say(ctx, 16<<10, func() error {
							if sending {
								t.Error("two at a time")
							}
							sending = true
							<-time.After(c.takes)
							sending, busy, sent = false, busy+c.takes, sent+16<<10
							return nil
						}) == nil {
						}
					}()
				}
				<-ctx.Done()
				synctest.Wait()
				if busy > c.most || sent > 10*voiceRate+16<<10 || sent < c.bytes {
					t.Errorf("%d bytes sent, in %v", sent, busy)
				}
			})
		})
	}
	v, failed := newVoice(), errors.New("broken")
	if err := v.say(t.Context(), 1, func() error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
}
