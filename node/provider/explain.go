package provider

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Bounds of what an explanation lists.
const (
	maxReasons = 20
	maxChanges = 8
	maxTried   = 64 // changes, those that the most refusals name
)

// keyPrice is the setting of which less is more.
const keyPrice = "price"

// An Explanation says what this node did with announcements, and what would have
// won it more of them.
type Explanation struct {
	Seen, Bids, Won, Lost, Open, Unreached, Refused int
	Ran                                             int // executions that gave an answer
	Reasons                                         []Count
	Changes                                         []Count // settings of this node; how many refused announcements they would have got a bid
	Summary                                         string  // one or two sentences
}

// A Count says how often something was so.
type Count struct {
	Text  string
	Times int
}

// Explain sums up what a node did with announcements until now. Reasons and
// changes come with those first that concern the most announcements; of two
// changes that do as much, the smaller.
func Explain(past []Considered, now time.Time) (x Explanation) {
	reasons := make(map[string]int)
	var refused []Considered
	for _, c := range past {
		x.Seen++
		x.Ran += c.Ran
		switch c.Outcome(now) {
		case OutcomeWon:
			x.Won++
		case OutcomeRefused:
			x.Refused++
			refused = append(refused, c)
		case OutcomeUnreached:
			x.Unreached++
		case OutcomeLost:
			x.Lost++
		case OutcomeOpen:
			x.Open++
		}
		if why := c.why(now); why != "" {
			reasons[why]++
		}
	}
	x.Bids = x.Won + x.Lost + x.Open
	for text, n := range reasons {
		x.Reasons = append(x.Reasons, Count{text, n})
	}
	slices.SortFunc(x.Reasons, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Times, a.Times), cmp.Compare(a.Text, b.Text)) })
	x.Reasons = x.Reasons[:min(len(x.Reasons), maxReasons)]
	x.Changes = worthwhile(refused)
	x.Summary = x.sentence()
	return x
}

func (x Explanation) sentence() string {
	if x.Seen == 0 {
		return "No announcement of a job was heard in this time: either nobody asked, or this node is not well connected (muster peer list)."
	}
	s := fmt.Sprintf("%d of %d announcements got a bid: %d won, %d lost, %d open; %d were refused, %d could not be answered.",
		x.Bids, x.Seen, x.Won, x.Lost, x.Open, x.Refused, x.Unreached)
	if x.Lost > 0 {
		s += " Nobody tells why a bid is lost. Requesters draw two bids by standing and take the cheaper, so price counts little without standing;" +
			" standing comes from work that they checked themselves, and a newcomer has none; who needs no more peers takes none."
	}
	return s
}

// why says in general terms why an announcement was not won.
func (c Considered) why(now time.Time) string {
	switch c.Outcome(now) {
	case OutcomeRefused:
		return whyNot(*c.No)
	case OutcomeUnreached:
		if c.Unreached == saysCrowded {
			return saysCrowded
		}
		return "the requester could not be reached"
	case OutcomeLost:
		return "bid, and another was chosen, or nobody"
	}
	return ""
}

// whyNot gives a refusal without the numbers of the one job.
func whyNot(no scheduler.No) string {
	switch no.Reason {
	case proto.ReasonBusy:
		return "all slots were taken"
	case proto.ReasonPrice:
		return "the job pays less than this node asks"
	case proto.ReasonCredit:
		return "the requester owes as much as it may"
	}
	return cmp.Or(no.Detail, no.Reason.String())
}

// Detail says of one announcement what is known of why it was not won.
func (c Considered) Detail(now time.Time) string {
	switch c.Outcome(now) {
	case OutcomeRefused:
		return c.No.Detail
	case OutcomeUnreached:
		return c.Unreached
	case OutcomeLost:
		return fmt.Sprintf("bid %s credits for %d slots, the job pays up to %s for %d tasks; another was chosen, or nobody",
			creditText(c.Bid.Price), c.Bid.Slots, creditText(c.MaxPrice), c.Tasks)
	}
	return ""
}

// Change gives, in one line, what of this node's settings would have let it bid;
// "" where nothing is known to.
func (c Considered) Change() string {
	texts := make([]string, 0, len(c.Changes))
	for _, s := range c.Changes {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, ", and ")
}

func creditText(c proto.Credits) string { return strconv.FormatFloat(float64(c)/1e6, 'f', -1, 64) }

// A change is what single refusals name, and for how many it would have been
// enough.
type change struct {
	settings    []scheduler.Setting
	text        string
	named, wins int
}

// worthwhile ranks the changes that refusals name by how many of all of them
// each would have turned into a bid.
func worthwhile(refused []Considered) (best []Count) {
	byText := make(map[string]*change)
	for _, c := range refused {
		text := c.Change()
		if text != "" && byText[text] == nil {
			byText[text] = &change{settings: c.Changes, text: text}
		}
		if text != "" {
			byText[text].named++
		}
	}
	named := slices.Collect(maps.Values(byText))
	slices.SortFunc(named, func(a, b *change) int { return cmp.Or(cmp.Compare(b.named, a.named), cmp.Compare(a.text, b.text)) })
	tried := slices.Clone(named[:min(len(named), maxTried)])
	for _, c := range tried {
		for _, n := range named {
			if covers(c.settings, n.settings) {
				c.wins += n.named
			}
		}
	}
	slices.SortFunc(tried, func(a, b *change) int {
		return cmp.Or(cmp.Compare(b.wins, a.wins), slices.CompareFunc(a.settings, b.settings, byEffort), cmp.Compare(a.text, b.text))
	})
	for i, c := range tried {
		if len(best) < maxChanges && !slices.ContainsFunc(tried[:i], func(d *change) bool { return d.wins == c.wins && covers(c.settings, d.settings) }) {
			best = append(best, Count{c.text, c.wins})
		}
	}
	return best
}

// byEffort puts what asks less of the owner first.
func byEffort(a, b scheduler.Setting) int {
	x, _ := amount(a.Value)
	y, _ := amount(b.Value)
	if a.Key == keyPrice {
		x, y = y, x
	}
	return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(x, y))
}

// covers tells whether one set of changes does all that another does.
func covers(with, all []scheduler.Setting) bool {
	for _, s := range all {
		if !slices.ContainsFunc(with, func(w scheduler.Setting) bool { return w.Key == s.Key && reaches(w, s) }) {
			return false
		}
	}
	return len(all) > 0
}

// reaches tells whether a setting goes as far as another of the same key: a price
// as low, an amount as high, anything else the same.
func reaches(w, s scheduler.Setting) bool {
	a, okA := amount(w.Value)
	b, okB := amount(s.Value)
	switch {
	case !okA || !okB:
		return w.Value == s.Value && w.Text == s.Text
	case s.Key == keyPrice:
		return a <= b
	}
	return a >= b
}

// amount reads a value that is a number, or a size.
func amount(text string) (float64, bool) {
	factor := 1.0
	for i, unit := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			text, factor = number, float64(uint64(1)<<(10*(i+1)))
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n * factor, err == nil
}
