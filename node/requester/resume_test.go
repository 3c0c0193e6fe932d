package requester

import (
	"testing"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

func TestARecordOfAnExecutionIsReadAsItWasWritten(t *testing.T) {
	want := scheduler.ExecutionRecord{
		Execution: proto.ExecutionID{1}, Lease: proto.LeaseID{2}, Task: 99_999, Role: scheduler.RoleHedge,
		Created: time.UnixMilli(1_900_000_000_123), Blamed: true,
	}
	for _, want.Role = range roles {
		v := executionValue(want)
		if got, err := parseExecution(want.Execution, v); err != nil || got != want {
			t.Errorf("got %+v and %v, want %+v", got, err, want)
		}
		for n := range v {
			if got, err := parseExecution(want.Execution, v[:n]); err == nil {
				t.Errorf("%d of %d bytes were read as %+v", n, len(v), got)
			}
		}
	}
	v := executionValue(want)
	v[len(want.Lease)] = byte(len(roles))
	if _, err := parseExecution(want.Execution, v); err == nil {
		t.Error("an unknown role was read")
	}
}

func TestEpochsOfALaterRunAreAboveThoseOfAnEarlierOne(t *testing.T) {
	most := uint64(proto.MaxTasks) * 1000 // leases of a phase
	if epochOf(1, phaseTasks)+most >= epochOf(1, phaseReduce) || epochOf(1, phaseReduce)+most >= epochOf(2, phaseTasks) {
		t.Error("epochs of phases or runs overlap")
	}
}
