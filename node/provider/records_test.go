package provider

import (
	"testing"

	"github.com/mustermesh/muster/proto"
)

func TestARestoredResultCountsWithItsSize(t *testing.T) {
	e := proto.ExecutionID{7}
	a := proto.Answer{
		Execution: e, Lease: proto.LeaseID{1}, Epoch: 1, Output: proto.RawCID([]byte("output")), OutputSize: 12_345,
		Outcome: proto.OutcomeExited, Engine: proto.Engine{Name: "e", Version: "1", Arch: "amd64"},
	}
	w, err := parseWork(e, resultValue(a))
	if err != nil || !w.Result || w.Bytes != a.OutputSize || w.Assignment.Execution != e {
		t.Errorf("got %+v and %v", w, err)
	}
	if w, err := parseWork(e, []byte{recordVersion, workResult, 0xff}); err != nil || !w.Result || w.Bytes != 0 {
		t.Errorf("of an answer that cannot be read: %+v and %v; want a result, of no size", w, err)
	}
}
