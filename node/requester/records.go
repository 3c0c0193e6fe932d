package requester

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Keys of jobs: "j/" and the id, then what. docs/storage.md.
const (
	jobPrefix     = "j/"
	recordVersion = 1
)

func jobKey(id proto.JobID, rest string) []byte {
	return append(append([]byte(jobPrefix), id[:]...), rest...)
}

func taskKey(id proto.JobID, phase, index int) []byte {
	return jobKey(id, fmt.Sprintf("/t/%d/%08d", phase, index))
}

// A jobRecord is a job as it was accepted, and how far it came.
type jobRecord struct {
	Version int       `json:"version"`
	Spec    proto.CID `json:"spec"` // content id of the signed specification's envelope
	Local   bool      `json:"local,omitempty"`
	// Interpret has a local job run on the engine's interpreter.
	Interpret bool            `json:"interpret,omitempty"`
	Written   json.RawMessage `json:"written,omitempty"` // the job as its user wrote it (protojson)
	Number    int64           `json:"number"`            // orders jobs by submission

	InputBytes int64 `json:"input_bytes,omitempty"` // of the largest task

	progress progress
	leases   []partingKey // on disk when the job was read
}

// A progress is the part of a job that changes; it has a key of its own.
type progress struct {
	Version int              `json:"version"`
	History []transition     `json:"history"`
	Phase   int              `json:"phase"`
	Run     uint32           `json:"run,omitempty"` // how often the job was taken up
	Output  proto.CID        `json:"output"`
	Spent   proto.Credits    `json:"spent,omitempty"`
	Reduced uint64           `json:"reduced,omitempty"` // fuel that the reduction used
	Counts  scheduler.Counts `json:"counts"`
	Reached uint32           `json:"reached"` // confidence, parts per million
	How     string           `json:"how,omitempty"`
	Exit    uint32           `json:"exit,omitempty"`
	Late    bool             `json:"late,omitempty"` // a task failed because its program reached the time limit
	Notes   []string         `json:"notes,omitempty"`
}

// A transition is a change of a job's state.
type transition struct {
	State  scheduler.State `json:"state"`
	Reason string          `json:"reason,omitempty"`
	TimeMS int64           `json:"time_ms"`
}

// ErrNewer says that a newer muster wrote a record of a job.
var ErrNewer = errors.New("written by a newer muster; use that version, or another --home")

func loadJobs(db *store.DB) (records []jobRecord, err error) {
	at := make(map[proto.JobID]int)
	err = db.Scan([]byte(jobPrefix), func(k, v []byte) error {
		k = k[len(jobPrefix):]
		if len(k) < len(proto.JobID{}) {
			return fmt.Errorf("job record: malformed key %x", k)
		}
		id, rest := proto.JobID(k[:32]), string(k[32:])
		switch rest {
		case "/job":
			var r jobRecord
			if err := json.Unmarshal(v, &r); err != nil {
				return fmt.Errorf("record of job %s: %w", id, err)
			}
			if r.Version > recordVersion {
				return fmt.Errorf("record of job %s: %w", id, ErrNewer)
			}
			at[id] = len(records)
			records = append(records, r)
		case "/progress":
			i, ok := at[id] // "/job" sorts before "/progress"
			if !ok {
				return nil
			}
			if err := json.Unmarshal(v, &records[i].progress); err != nil {
				return fmt.Errorf("progress of job %s: %w", id, err)
			}
			if records[i].progress.Version > recordVersion {
				return fmt.Errorf("progress of job %s: %w", id, ErrNewer)
			}
		default:
			i, known := at[id]
			if phase, lease, ok := parseLeaseKey(rest); ok && known {
				records[i].leases = append(records[i].leases, partingKey{id, phase, lease})
			}
		}
		return nil
	})
	return records, err
}

// A record waits to be written.
type record struct{ key, value []byte }

// loadTask reads what was written of one task; ok is false where nothing was.
func loadTask(db *store.DB, id proto.JobID, phase, index int) (v scheduler.TaskView, ok bool, err error) {
	b, err := db.Get(taskKey(id, phase, index))
	if errors.Is(err, store.ErrNotFound) {
		return v, false, nil
	}
	if err != nil {
		return v, false, err
	}
	return v, true, json.Unmarshal(b, &v)
}
