package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
)

// Why says, for people, what the job waits for.
func (j *Job) Why(now time.Time) string {
	if j.state.Ended() || j.moving() {
		return ""
	}
	if len(j.peers) == 0 {
		return "no provider is known yet; start one with: muster daemon"
	}
	counts := make(map[string]int)
	var order []string
	for _, p := range j.peers {
		why := p.why(now)
		if counts[why]++; counts[why] == 1 {
			order = append(order, why)
		}
	}
	slices.SortStableFunc(order, func(a, b string) int { return counts[b] - counts[a] })
	for i, why := range order {
		order[i] = fmt.Sprintf("%d %s", counts[why], why)
	}
	text := fmt.Sprintf("of %d known providers: %s", len(j.peers), strings.Join(order[:min(len(order), 5)], "; "))
	if why := j.stuck(); why != "" {
		text += "; " + why
	}
	return text
}

// stuck says what keeps the first task that was begun and goes on needing peers.
func (j *Job) stuck() string {
	for _, t := range j.begun.items[j.begun.head:] {
		if !j.wantsPeers(t) {
			continue
		}
		missing := fmt.Sprintf("task %d has an answer, but too few distinct peers to check it", t.index)
		switch {
		case t.answered() == 0 && t.timedOut > 0:
			return fmt.Sprintf("task %d timed out on %d, and is to be tried on another", t.index, t.timedOut)
		case t.answered() == 0:
			continue
		case t.localFailed != "":
			return missing + ", and the requester could not run it: " + t.localFailed
		case j.cfg.LocalSlots == 0:
			return missing + ", and the requester cannot run it itself"
		}
		return missing
	}
	return ""
}

func (p *peer) why(now time.Time) string {
	switch {
	case p.distrusted():
		return "proven wrong before, not chosen"
	case p.refusal != nil:
		return fmt.Sprintf("refused (%s: %s)", p.refusal.Reason, p.refusal.Detail)
	case p.Ineligible != nil:
		return fmt.Sprintf("cannot (%s: %s)", p.Ineligible.Reason, p.Ineligible.Detail)
	case now.Before(p.notBefore):
		return "failed just now, asked again shortly"
	case p.bid == nil && !p.present:
		return "not reachable now"
	case p.bid == nil:
		return "has not answered yet"
	}
	return "busy, or has done its part already"
}

// conclude ends a job whose tasks are all settled.
func (j *Job) conclude() {
	state, reason := Completed, ""
	for _, t := range j.tasks {
		s := t.settled
		switch {
		case s.State == TaskDisputed:
			j.end(Disputed, fmt.Sprintf("task %d: %s", t.index, s.How))
			return
		case state == Completed && s.State == TaskFailed:
			state, reason = Failed, fmt.Sprintf("task %d: %s", t.index, s.How)
		case state == Completed && !s.Ok():
			state, reason = Failed, fmt.Sprintf("task %d: %s", t.index, s.Outcome.describe())
		}
	}
	j.end(state, reason)
}

func (o Outcome) describe() string {
	switch o.Result {
	case proto.OutcomeExited:
		return fmt.Sprintf("the program exited with code %d", o.ExitCode)
	case proto.OutcomeTrapped:
		return "the program trapped: " + o.Trap
	case proto.OutcomeInvalid:
		return "the program is not valid: " + o.Trap
	case proto.OutcomeOutOfFuel:
		return fmt.Sprintf("the program ran out of fuel; raise limits.fuel, above %d", o.Fuel)
	}
	return "the program ended: " + o.Result.String()
}
