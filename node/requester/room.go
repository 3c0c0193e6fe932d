package requester

import (
	"bytes"
	"encoding/json"
	"slices"
	"unicode/utf8"

	"github.com/mustermesh/muster/scheduler"
)

// Bounds on records whose length strangers have a say in, in bytes.
const (
	maxRoom        = 256 << 10 // of one record: half of what one batch of the store holds
	maxKeptDetail  = 120       // of what one peer said
	maxKeptText    = 2 << 10   // of one sentence that quotes several
	maxKeptPeers   = 512       // peers of an explanation
	maxKeptChanges = 16        // changes of an explanation
)

// marshal gives v as JSON. A stranger's "<" stays one byte.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// marshalTask gives the record of a task, in at most maxRoom bytes: executions
// that there is no room for are counted alone. Those that were declined or
// cancelled go first, then failures, then others; of each, the oldest first.
func marshalTask(v scheduler.TaskView) ([]byte, error) {
	if v.Settlement != nil {
		s := *v.Settlement
		s.How = shorten(s.How, maxKeptText)
		v.Settlement = &s
	}
	all := slices.Clone(v.Executions)
	for i := range all {
		all[i].Reason = shorten(all[i].Reason, maxKeptDetail)
	}
	v.Executions = all
	record, err := marshal(v)
	if err != nil || len(record) <= maxRoom {
		return record, err
	}
	out, err := without(all, len(record)-maxRoom, func(x scheduler.ExecView) int { return worth(v.Settlement, x) })
	if err != nil {
		return nil, err
	}
	v.Executions = nil
	for i, x := range all {
		if out[i] {
			v.Cut.Add(x)
		} else {
			v.Executions = append(v.Executions, x)
		}
	}
	return marshal(v)
}

// worth orders executions by how much is lost with them.
func worth(s *scheduler.Settlement, x scheduler.ExecView) int {
	switch {
	case s != nil && s.Winner == x.ID:
		return 3
	case x.State == scheduler.ExecDeclined, x.State == scheduler.ExecCancelled:
		return 0
	case x.State == scheduler.ExecFailed, x.State == scheduler.ExecLost:
		return 1
	}
	return 2
}

// marshalExplanation gives the record of an explanation, in at most maxRoom
// bytes: the last peers, which matter least, are counted alone where there is no
// room for them.
func marshalExplanation(x scheduler.Explanation) ([]byte, error) {
	x.Why, x.Needs = shorten(x.Why, maxKeptText), shorten(x.Needs, maxKeptText)
	x.Change = slices.Clone(x.Change[:min(len(x.Change), maxKeptChanges)])
	for i := range x.Change {
		x.Change[i] = shorten(x.Change[i], maxKeptText)
	}
	all := slices.Clone(x.Peers[:min(len(x.Peers), maxKeptPeers)])
	x.Left += len(x.Peers) - len(all)
	for i := range all {
		all[i].Detail, all[i].Change = shorten(all[i].Detail, maxKeptDetail), shorten(all[i].Change, maxKeptDetail)
	}
	x.Peers = all
	record, err := marshal(x)
	if err != nil || len(record) <= maxRoom {
		return record, err
	}
	slices.Reverse(all) // the last is left out first
	out, err := without(all, len(record)-maxRoom, func(scheduler.PeerWhy) int { return 0 })
	if err != nil {
		return nil, err
	}
	slices.Reverse(all)
	x.Peers, x.Left = all[:len(all)-len(out)], x.Left+len(out)
	return marshal(x)
}

// cutText is what it may take to tell, in bytes, how many were left out.
const cutText = 64

// without says which items to leave out of a record, so that it gets shorter by
// so many bytes: those of the least worth first, of equal worth the first.
func without[T any](items []T, excess int, worth func(T) int) (out map[int]bool, err error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return worth(items[a]) - worth(items[b]) })
	out = make(map[int]bool)
	for excess += cutText; excess > 0 && len(order) > 0; order = order[1:] {
		v, err := marshal(items[order[0]])
		if err != nil {
			return nil, err
		}
		out[order[0]] = true
		excess -= len(v) + len(",")
	}
	return out, nil
}

// shorten cuts text to at most so many bytes, and shows that it did.
func shorten(text string, most int) string {
	const more = "…"
	if len(text) <= most {
		return text
	}
	most -= len(more)
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + more
}
