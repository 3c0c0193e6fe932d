package proto

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

func TestAPartialReceiptHasNothingOfAnAnswer(t *testing.T) {
	partial := Receipt{Job: JobID{1}, Execution: ExecutionID{2}, Digest: Digest{3}, Amount: 4, CPU: 5 * time.Second}
	got, err := ParseReceipt(partial.Marshal())
	if err != nil || !reflect.DeepEqual(got, partial) || !got.Partial() {
		t.Errorf("got %+v and %v, want %+v", got, err, partial)
	}
	for name, change := range map[string]func(*Receipt){
		"an output without an answer": func(r *Receipt) { r.Output = RawCID([]byte("x")) },
		"fuel without an answer":      func(r *Receipt) { r.Fuel = 1 },
		"an engine without an answer": func(r *Receipt) { r.Engine.Arch = "amd64" },
		"an answer without an output": func(r *Receipt) { r.Answer = Hash{9} },
	} {
		t.Run(name, func(t *testing.T) {
			r := partial
			change(&r)
			if _, err := ParseReceipt(r.Marshal()); !errors.Is(err, ErrMalformed) {
				t.Errorf("got %v, want it refused", err)
			}
		})
	}
}
