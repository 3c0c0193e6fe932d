package requester

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mustermesh/muster/node/api"
	"github.com/mustermesh/muster/proto"
)

// A keptReceipt is a receipt on disk, with what a list of them shows.
type keptReceipt struct {
	Peer     proto.PeerID  `json:"peer"`
	TimeMS   int64         `json:"time_ms"`
	Amount   proto.Credits `json:"amount"`
	CPU      time.Duration `json:"cpu"` // nanoseconds
	Fuel     uint64        `json:"fuel,omitempty"`
	Engine   proto.Engine  `json:"engine,omitzero"` // of one that answered
	Output   proto.CID     `json:"output"`
	Envelope []byte        `json:"envelope"` // as it was signed
}

func receiptKey(id proto.JobID, phase, task int, e proto.ExecutionID) []byte {
	return append(jobKey(id, fmt.Sprintf("/r/%d/%08d/", phase, task)), e[:]...)
}

// keepReceipt has the next write take a receipt along.
func (j *Job) keepReceipt(task int, peer proto.PeerID, r proto.Receipt, envelope []byte) {
	v, err := json.Marshal(keptReceipt{
		Peer: peer, TimeMS: j.r.Now().UnixMilli(), Amount: r.Amount, CPU: r.CPU, Fuel: r.Fuel, Engine: r.Engine, Output: r.Output, Envelope: envelope,
	})
	if err != nil {
		panic(fmt.Sprintf("requester: receipt: %v", err)) // it has no field that could
	}
	j.puts = append(j.puts, record{receiptKey(j.id, j.phase, task, r.Execution), v})
}

// Receipts gives the receipts that this node signed for work of the job, in the
// order of tasks, those of the reduction last.
func (j *Job) Receipts() (out []*api.Receipt, err error) {
	prefix := jobKey(j.id, "/r/")
	err = j.r.db.Scan(prefix, func(k, v []byte) error {
		phase, rest, _ := strings.Cut(string(k[len(prefix):]), "/")
		task, id, _ := strings.Cut(rest, "/")
		index, err := strconv.ParseUint(task, 10, 32)
		if err != nil || len(id) != len(proto.ExecutionID{}) {
			return fmt.Errorf("receipt of job %s: malformed key %x", j.id, k)
		}
		var r keptReceipt
		if err := json.Unmarshal(v, &r); err != nil {
			return fmt.Errorf("receipt of job %s: %w", j.id, err)
		}
		m := &api.Receipt{
			Task: uint32(index), Execution: proto.ExecutionID([]byte(id)).String(), Peer: r.Peer.String(), Amount: float64(r.Amount) / 1e6,
			CpuSeconds: r.CPU.Seconds(), Output: r.Output.String(), TimeMs: r.TimeMS, Envelope: r.Envelope, Reduce: phase == strconv.Itoa(phaseReduce),
			Fuel: r.Fuel,
		}
		if r.Engine != (proto.Engine{}) {
			m.Engine = r.Engine.String()
		}
		out = append(out, m)
		return nil
	})
	return out, err
}
