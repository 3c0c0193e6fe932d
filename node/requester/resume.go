package requester

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// maxTrash is how many useless records wait for a write that happens anyway.
const maxTrash = 1024

// epochOf gives what the epochs of one phase begin after, in the nth run of its
// job: above all of the phase and of the runs before.
func epochOf(run uint32, phase int) uint64 { return uint64(run)<<32 | uint64(phase)<<30 }

// countRun notes that the job is taken up once more: what an earlier run awarded
// is told apart by its epochs. The first run is on record since the job was
// submitted.
func (j *Job) countRun() error {
	j.mu.Lock()
	first := j.fresh
	j.fresh = false
	if !first {
		j.progress.Run++
	}
	j.mu.Unlock()
	if first {
		return nil
	}
	return j.write(context.WithoutCancel(j.ctx), nil, store.Durable)
}

func leaseKey(id proto.JobID, phase int, lease proto.LeaseID) []byte {
	return append(jobKey(id, fmt.Sprintf("/l/%d/", phase)), lease[:]...)
}

func executionKey(id proto.JobID, phase int, e proto.ExecutionID) []byte {
	return append(jobKey(id, fmt.Sprintf("/x/%d/", phase)), e[:]...)
}

// roles in the order of their numbers on disk.
var roles = []scheduler.Role{scheduler.RoleExecutor, scheduler.RoleChecker, scheduler.RoleHedge}

// blamed marks the role of an execution that its provider was told off for.
const blamed = 0x80

func executionValue(r scheduler.ExecutionRecord) []byte {
	role := byte(max(slices.Index(roles, r.Role), 0))
	if r.Blamed {
		role |= blamed
	}
	v := append(r.Lease[:], role)
	v = binary.AppendUvarint(v, uint64(r.Task))
	return binary.AppendVarint(v, r.Created.UnixMilli())
}

func parseExecution(e proto.ExecutionID, v []byte) (r scheduler.ExecutionRecord, err error) {
	malformed := fmt.Errorf("record of execution %s: %w", e, proto.ErrMalformed)
	if len(v) < len(r.Lease)+1 || int(v[len(r.Lease)]&^blamed) >= len(roles) {
		return r, malformed
	}
	role := v[len(r.Lease)]
	r = scheduler.ExecutionRecord{Execution: e, Lease: proto.LeaseID(v), Role: roles[role&^blamed], Blamed: role&blamed != 0}
	v = v[len(r.Lease)+1:]
	task, n := binary.Uvarint(v)
	if n <= 0 || task >= proto.MaxTasks {
		return r, malformed
	}
	ms, m := binary.Varint(v[n:])
	if m <= 0 {
		return r, malformed
	}
	r.Task, r.Created = int(task), time.UnixMilli(ms)
	return r, nil
}

// recordAssigned writes what must be found again after a crash, before any
// provider hears of it: leases, executions, and failures.
func (j *Job) recordAssigned(a scheduler.Actions) error {
	if len(a.Leases)+len(a.Executions)+len(a.Troubled) == 0 {
		return nil
	}
	var b store.Batch
	for _, l := range a.Leases {
		v, err := json.Marshal(l)
		if err != nil {
			return err
		}
		b.Put(leaseKey(j.id, j.phase, l.Lease), v)
	}
	for _, e := range a.Executions {
		b.Put(executionKey(j.id, j.phase, e.Execution), executionValue(e))
	}
	for _, i := range a.Troubled {
		view := j.core.Task(i)
		if view.Settlement != nil {
			continue // it is written with its result
		}
		v, err := marshalTask(view)
		if err != nil {
			return err
		}
		b.Put(taskKey(j.id, j.phase, i), v)
	}
	return j.r.db.CommitAll(context.WithoutCancel(j.ctx), &b, store.Lazy)
}

// discard notes which records are of no use any more.
func (j *Job) discard(a scheduler.Actions) {
	for _, e := range a.Over {
		j.trash = append(j.trash, executionKey(j.id, j.phase, e))
	}
}

// resume takes up what earlier runs of this node left of the phase.
func (j *Job) resume(now time.Time) error {
	var troubled []scheduler.TaskView
	for i := range j.tasks {
		v, ok, err := loadTask(j.r.db, j.id, j.phase, i)
		if err != nil {
			return err
		}
		switch {
		case ok && v.Settlement != nil:
			j.core.Restore(i, *v.Settlement)
		case ok:
			troubled = append(troubled, v)
		}
	}
	for _, v := range troubled {
		j.core.RestoreFailures(v)
	}
	return j.resumeLeases(now)
}

func (j *Job) resumeLeases(now time.Time) error {
	byLease := make(map[proto.LeaseID][]scheduler.ExecutionRecord)
	prefix := jobKey(j.id, fmt.Sprintf("/x/%d/", j.phase))
	err := j.r.db.Scan(prefix, func(k, v []byte) error {
		if len(k) != len(prefix)+len(proto.ExecutionID{}) {
			return fmt.Errorf("execution record: malformed key %x", k)
		}
		r, err := parseExecution(proto.ExecutionID(k[len(prefix):]), v)
		byLease[r.Lease] = append(byLease[r.Lease], r)
		return err
	})
	if err != nil {
		return err
	}
	var leases []scheduler.LeaseRecord
	err = j.r.db.Scan(jobKey(j.id, fmt.Sprintf("/l/%d/", j.phase)), func(k, v []byte) error {
		var r scheduler.LeaseRecord
		if err := json.Unmarshal(v, &r); err != nil {
			return fmt.Errorf("lease record: %w", err)
		}
		if !bytes.HasSuffix(k, r.Lease[:]) {
			return fmt.Errorf("lease record: malformed key %x", k)
		}
		leases = append(leases, r)
		return nil
	})
	// A peer has one lease of a job: where a crash left two, the newer one counts.
	slices.SortFunc(leases, func(a, b scheduler.LeaseRecord) int { return cmp.Compare(b.Epoch, a.Epoch) })
	for _, r := range leases {
		j.core.RestoreLease(now, r, byLease[r.Lease])
		if !j.core.Holds(r.Peer, r.Lease) {
			j.r.part(partingKey{j.id, j.phase, r.Lease})
			delete(byLease, r.Lease)
			continue
		}
		l := j.newTaken(r, true)
		for _, x := range byLease[r.Lease] {
			l.expect(x.Execution, x.Task)
		}
		delete(byLease, r.Lease)
	}
	for _, answered := range byLease { // their lease went before their tasks were settled
		for _, x := range answered {
			j.trash = append(j.trash, executionKey(j.id, j.phase, x.Execution))
		}
	}
	return err
}
