package requester

import (
	"context"
	"encoding/binary"
	"errors"
	"math/bits"
	"time"

	"github.com/mustermesh/muster/internal/store"
	"github.com/mustermesh/muster/proto"
)

// speedsKey holds what is known of how long executions take. docs/storage.md.
const (
	speedsKey   = "s/speeds"
	speedsEvery = time.Minute
)

// loadSpeeds reads what earlier runs learnt; what cannot be read is learnt again.
func (r *Requester) loadSpeeds() {
	v, err := r.db.Get([]byte(speedsKey))
	if err == nil {
		err = r.speeds.UnmarshalBinary(v)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		r.Log.Warn("what was known of peers' speed is lost", "err", err)
	}
}

// saveSpeeds writes what was learnt. That the disk is full ends nothing: it is
// tried again.
func (r *Requester) saveSpeeds(ctx context.Context) error {
	v, err := r.speeds.MarshalBinary()
	if err != nil {
		return err
	}
	if string(v) == r.savedSpeeds {
		return nil
	}
	var b store.Batch
	b.Put([]byte(speedsKey), v)
	err = r.db.Commit(ctx, &b, store.Lazy)
	if errors.Is(err, store.ErrDiskFull) {
		r.Log.Error("what was learnt of peers' speed is not saved; tried again", "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	r.savedSpeeds = string(v)
	return nil
}

// kind names executions that take about as long: of one program with the same
// arguments, and inputs of about the same size (up to a factor of two).
func (j *Job) kind() proto.CID {
	key := append([]byte(nil), j.prog.Code.Bytes()...)
	for _, arg := range j.prog.Args {
		key = binary.AppendUvarint(key, uint64(len(arg)))
		key = append(key, arg...)
	}
	return proto.RawCID(append(key, byte(bits.Len64(uint64(j.inputBytes)))))
}
