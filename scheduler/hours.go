package scheduler

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds on what an owner can write.
const (
	maxSpans    = 32
	maxSpanText = 80 // bytes
)

const dayMinutes = 24 * 60

// Hours are the parts of a week in which a machine is lent. The zero value means
// always.
type Hours struct{ spans []span }

// A span begins on some days of the week and ends on the same or the next day.
type span struct {
	days     [7]bool // on which it begins; Sunday is the first
	from, to int     // minutes after the midnight before it begins; to is the greater
	text     string
}

// ParseHours reads spans such as "mon-fri 18:00-08:00", "sat,sun" or
// "22:00-06:00": days on which the span begins, times, or both. One that ends no
// later than it begins goes on into the next day; 24:00 is the end of a day. No
// span means always. What is wrong is said with the span.
func ParseHours(texts []string) (h Hours, err error) {
	if len(texts) > maxSpans {
		return Hours{}, fmt.Errorf("hours: %d spans; at most %d", len(texts), maxSpans)
	}
	for _, text := range texts {
		s, err := parseSpan(text)
		if err != nil {
			return Hours{}, fmt.Errorf("hours %.*q: %w", maxSpanText, text, err)
		}
		h.spans = append(h.spans, s)
	}
	return h, nil
}

func parseSpan(text string) (s span, err error) {
	if len(text) > maxSpanText {
		return s, fmt.Errorf("%d characters; at most %d", len(text), maxSpanText)
	}
	words := strings.Fields(strings.ToLower(text))
	s = span{days: [7]bool{true, true, true, true, true, true, true}, to: dayMinutes, text: strings.Join(words, " ")}
	if len(words) == 0 || len(words) > 2 {
		return s, fmt.Errorf("expected DAYS, TIMES or DAYS TIMES, such as mon-fri 18:00-08:00")
	}
	if last := words[len(words)-1]; strings.Contains(last, ":") {
		if s.from, s.to, err = parseTimes(last); err != nil {
			return s, err
		}
		words = words[:len(words)-1]
	} else if len(words) == 2 {
		return s, fmt.Errorf("%q is not a span of time such as 18:00-08:00", last)
	}
	if len(words) == 1 {
		s.days, err = parseDays(words[0])
	}
	return s, err
}

// parseTimes reads 18:00-08:00.
func parseTimes(text string) (from, to int, err error) {
	begin, end, ok := strings.Cut(text, "-")
	if !ok {
		return 0, 0, fmt.Errorf("%q is not a span of time such as 18:00-08:00", text)
	}
	if from, err = parseMinute(begin); err != nil {
		return 0, 0, err
	}
	if to, err = parseMinute(end); err != nil {
		return 0, 0, err
	}
	switch {
	case from == dayMinutes:
		return 0, 0, fmt.Errorf("a span cannot begin at 24:00; write 00:00, and the day after")
	case from == to:
		return 0, 0, fmt.Errorf("%s begins and ends at the same minute; write 00:00-24:00 for a whole day", text)
	case to < from:
		to += dayMinutes
	}
	return from, to, nil
}

// parseMinute reads 18:05 or 8:05; 24:00 is the last one.
func parseMinute(text string) (int, error) {
	hour, minute, ok := strings.Cut(text, ":")
	h, errH := strconv.ParseUint(hour, 10, 8)
	m, errM := strconv.ParseUint(minute, 10, 8)
	n := int(h)*60 + int(m)
	if !ok || errH != nil || errM != nil || len(hour) > 2 || len(minute) != 2 || m > 59 || n > dayMinutes {
		return 0, fmt.Errorf("%q is not a time from 00:00 to 24:00", text)
	}
	return n, nil
}

// parseDays reads mon-fri, sat,sun and mixtures; fri-mon goes over the weekend.
func parseDays(text string) (days [7]bool, err error) {
	for part := range strings.SplitSeq(text, ",") {
		begin, end, isRange := strings.Cut(part, "-")
		first, err := parseDay(begin)
		if err != nil {
			return days, err
		}
		last := first
		if isRange {
			if last, err = parseDay(end); err != nil {
				return days, err
			}
		}
		for d := first; ; d = (d + 1) % 7 {
			days[d] = true
			if d == last {
				break
			}
		}
	}
	return days, nil
}

func parseDay(text string) (time.Weekday, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if name := strings.ToLower(d.String()); text == name || text == name[:3] {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%q is not a day; there are mon, tue, wed, thu, fri, sat and sun", text)
}

// Texts gives the spans in the form that [ParseHours] reads.
func (h Hours) Texts() (texts []string) {
	for _, s := range h.spans {
		texts = append(texts, s.text)
	}
	return texts
}

// Open tells whether now lies within the hours, and when that changes next; the
// zero time: never. The clock on the wall is that of now's location. A span
// begins and ends once on its day, whether clocks are put forward or back in
// between: at the first moment that shows the time, or jumps over it.
func (h Hours) Open(now time.Time) (open bool, until time.Time) {
	if len(h.spans) == 0 {
		return true, time.Time{}
	}
	for _, i := range h.around(now) {
		switch {
		case !i.end.After(now):
			continue
		case !open && i.begin.After(now):
			return false, i.begin
		case open && i.begin.After(until):
			return true, until
		}
		open = true
		if i.end.After(until) {
			until = i.end
		}
	}
	if until.Sub(now) > 8*24*time.Hour { // no week has a gap
		until = time.Time{}
	}
	return open, until
}

// An interval of time: begin is in it, end is not.
type interval struct{ begin, end time.Time }

// around gives the intervals from yesterday until two weeks later, in order of
// their beginning. Two weeks, for one that clocks jump over does not happen.
func (h Hours) around(now time.Time) (all []interval) {
	year, month, today := now.Date()
	for d := -1; d <= 15; d++ {
		day := time.Date(year, month, today+d, 0, 0, 0, 0, time.UTC)
		for _, s := range h.spans {
			if !s.days[day.Weekday()] {
				continue
			}
			i := interval{onTheWall(day, s.from, now.Location()), onTheWall(day, s.to, now.Location())}
			if i.begin.Before(i.end) {
				all = append(all, i)
			}
		}
	}
	slices.SortFunc(all, func(a, b interval) int { return a.begin.Compare(b.begin) })
	return all
}

// onTheWall gives the first moment at which a clock in loc shows so many minutes
// after the midnight of a day, or jumps over them. The day is given as its
// midnight in UTC.
func onTheWall(day time.Time, minute int, loc *time.Location) time.Time {
	shown := day.Add(time.Duration(minute) * time.Minute)
	before, after := offset(shown.Add(-24*time.Hour), loc), offset(shown.Add(24*time.Hour), loc)
	early := shown.Add(-before).In(loc)
	if offset(early, loc) == before {
		return early
	}
	late := shown.Add(-after).In(loc)
	if offset(late, loc) == after {
		return late
	}
	jump, _ := early.ZoneBounds()
	return jump
}

func offset(t time.Time, loc *time.Location) time.Duration {
	_, seconds := t.In(loc).Zone()
	return time.Duration(seconds) * time.Second
}
