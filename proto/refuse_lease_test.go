package proto

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// program is for every message that holds a program.
func program[W any](field func(*W) *wire.Program) mutations[W] {
	set := func(edit func(*wire.Program)) func(*W) { return func(w *W) { edit(field(w)) } }
	code := cids(func(w *W) *[]byte { return &field(w).Code })
	needs := resources(func(w *W) **wire.Resources { return &field(w).Resources })
	long := strings.Repeat("p", 256)
	return merge(code, needs, word("an executor", func(w *W) *string { return &field(w).Executor }),
		word("a profile", func(w *W) *string { return &field(w).Profile }), mutations[W]{
			"no code":                          set(func(p *wire.Program) { p.Code = nil }),
			"code over 1 PiB":                  set(func(p *wire.Program) { p.CodeSize = maxBytes + 1 }),
			"no executor":                      set(func(p *wire.Program) { p.Executor = "" }),
			"no profile":                       set(func(p *wire.Program) { p.Profile = "" }),
			"no fuel":                          set(func(p *wire.Program) { p.Fuel = 0 }),
			"fuel over 2 to 60":                set(func(p *wire.Program) { p.Fuel = MaxFuel + 1 }),
			"no timeout":                       set(func(p *wire.Program) { p.Timeout = 0 }),
			"a timeout below zero":             set(func(p *wire.Program) { p.Timeout = -1 }),
			"a timeout over 30 days":           set(func(p *wire.Program) { p.Timeout = MaxTimeout.Milliseconds() + 1 }),
			"a timeout as long as numbers":     set(func(p *wire.Program) { p.Timeout = 1<<63 - 1 }),
			"4097 arguments":                   set(func(p *wire.Program) { p.Args = make([]string, MaxArgs+1) }),
			"arguments over 1 MiB":             set(func(p *wire.Program) { p.Args = []string{strings.Repeat("a", MaxArgBytes)} }),
			"an argument with a zero byte":     set(func(p *wire.Program) { p.Args = []string{"a\x00b"} }),
			"4097 variables":                   set(func(p *wire.Program) { p.Env = make([]string, MaxArgs+1) }),
			"a variable with a zero byte":      set(func(p *wire.Program) { p.Env = []string{"A=\x00"} }),
			"a variable without a value":       set(func(p *wire.Program) { p.Env = []string{"A"} }),
			"a variable without a name":        set(func(p *wire.Program) { p.Env = []string{"=x"} }),
			"variables out of order":           set(func(p *wire.Program) { p.Env = []string{"B=", "A="} }),
			"a variable twice":                 set(func(p *wire.Program) { p.Env = []string{"A=1", "A=2"} }),
			"65 outputs":                       set(func(p *wire.Program) { p.Outputs = make([]string, MaxOutputs+1) }),
			"an output that is relative":       set(func(p *wire.Program) { p.Outputs = []string{"out"} }),
			"the root as output":               set(func(p *wire.Program) { p.Outputs = []string{"/"} }),
			"an output with dots":              set(func(p *wire.Program) { p.Outputs = []string{"/a/../b"} }),
			"an output that ends in a slash":   set(func(p *wire.Program) { p.Outputs = []string{"/out/"} }),
			"an output with an empty element":  set(func(p *wire.Program) { p.Outputs = []string{"/a//b"} }),
			"an output of 256 in one element":  set(func(p *wire.Program) { p.Outputs = []string{"/" + long} }),
			"an output of over 4096 bytes":     set(func(p *wire.Program) { p.Outputs = []string{strings.Repeat("/"+long[:100], 41)} }),
			"an output with a control char":    set(func(p *wire.Program) { p.Outputs = []string{"/a\nb"} }),
			"outputs out of order":             set(func(p *wire.Program) { p.Outputs = []string{"/b", "/a"} }),
			"an output twice":                  set(func(p *wire.Program) { p.Outputs = []string{"/a", "/a"} }),
			"an output inside another":         set(func(p *wire.Program) { p.Outputs = []string{"/a", "/a/b"} }),
			"an output inside one, not beside": set(func(p *wire.Program) { p.Outputs = []string{"/a", "/a-b", "/a/b"} }),
		})
}

// trace is for every message that carries a traceparent.
func trace[W any](field func(*W) *string) mutations[W] {
	return mutations[W]{
		"a trace of 65 bytes":              func(w *W) { *field(w) = strings.Repeat("0", maxTrace+1) },
		"a trace with a control character": func(w *W) { *field(w) = "00-\r" },
	}
}

func TestEnvIsInTheOrderThatIsAskedFor(t *testing.T) {
	env := Env(map[string]string{"A1": "x", "A": "y", "A-B": "", "B": "="})
	if got, want := strings.Join(env, " "), "A=y A-B= A1=x B=="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if err := checkEnv(env); err != nil {
		t.Error(err)
	}
	if len(Env(nil)) != 0 {
		t.Error("no variables gave some")
	}
}

func TestParseAwardRefuses(t *testing.T) {
	type W = wire.Award
	checkRefusals(t, make1[Award](newMaker(1)).Marshal(), ParseAward, merge(mutations[W]{
		"no slots":                 func(w *W) { w.Slots = 0 },
		"4097 slots":               func(w *W) { w.Slots = MaxSlots + 1 },
		"a price over 2 to 53":     func(w *W) { w.Price = maxCredits + 1 },
		"a grace below zero":       func(w *W) { w.Grace = -1 },
		"a grace over 30 days":     func(w *W) { w.Grace = MaxTimeout.Milliseconds() + 1 },
		"a silence below zero":     func(w *W) { w.Silence = -1 },
		"a silence over 30 days":   func(w *W) { w.Silence = MaxTimeout.Milliseconds() + 1 },
		"a silence without end":    func(w *W) { w.Silence = 1<<63 - 1 },
		"65 grants":                func(w *W) { w.Grants = make([][]byte, maxGrants+1) },
		"an award without program": func(w *W) { w.Program = nil },
	}, trace(func(w *W) *string { return &w.Trace }),
		fixed("a job id", func(w *W) *[]byte { return &w.Job }),
		fixed("a lease id", func(w *W) *[]byte { return &w.Lease }),
		program(func(w *W) *wire.Program { return w.Program })))
}

func TestParseSpecificationRefuses(t *testing.T) {
	type W = wire.Specification
	valid := make1[Specification](newMaker(1)).Marshal()
	checkRefusals(t, valid, ParseSpecification, merge(mutations[W]{
		"a name of 129 bytes":              func(w *W) { w.Name = strings.Repeat("n", 129) },
		"a name with a control character":  func(w *W) { w.Name = "\b" },
		"no program":                       func(w *W) { w.Program = nil },
		"no tasks":                         func(w *W) { w.Tasks = nil },
		"100,001 tasks":                    func(w *W) { w.Tasks = make([]*wire.TaskInput, MaxTasks+1) },
		"a seed of 65 bytes":               func(w *W) { w.Seed = make([]byte, MaxSeed+1) },
		"confidence of one":                func(w *W) { w.Confidence = ConfidenceUnit },
		"no comparator":                    func(w *W) { w.Comparator = "" },
		"a comparator that nobody knows":   func(w *W) { w.Comparator = "fuzzy" },
		"a referee budget below zero":      func(w *W) { w.RefereeBudget = -1 },
		"a referee budget over 30 days":    func(w *W) { w.RefereeBudget = MaxTimeout.Milliseconds() + 1 },
		"a queue timeout below zero":       func(w *W) { w.QueueTimeout = -1 },
		"a queue timeout over 30 days":     func(w *W) { w.QueueTimeout = MaxTimeout.Milliseconds() + 1 },
		"a total timeout below zero":       func(w *W) { w.TotalTimeout = -1 },
		"a total timeout over 30 days":     func(w *W) { w.TotalTimeout = MaxTimeout.Milliseconds() + 1 },
		"a total timeout without end":      func(w *W) { w.TotalTimeout = -1 << 63 },
		"1001 retries":                     func(w *W) { w.Retries = MaxRetries + 1 },
		"retries without end":              func(w *W) { w.Retries = 1<<32 - 1 },
		"a price over 2 to 53":             func(w *W) { w.MaxPrice = maxCredits + 1 },
		"a time before 1970":               func(w *W) { w.Submitted = -1 },
		"a time after the year 9999":       func(w *W) { w.Submitted = maxTime + 1 },
		"a task's input of half an id":     func(w *W) { w.Tasks[0].Input = w.Tasks[0].Input[:18] },
		"a task's stdin of half an id":     func(w *W) { w.Tasks[0].Stdin = w.Tasks[0].Stdin[:18] },
		"a reduction that has no executor": func(w *W) { w.Reduce.Executor = "" },
	}, trace(func(w *W) *string { return &w.Trace }),
		fixed("a nonce", func(w *W) *[]byte { return &w.Nonce }),
		labels(func(w *W) *[]*wire.Label { return &w.Labels }),
		constraints(func(w *W) *[]string { return &w.Constraints }),
		program(func(w *W) *wire.Program { return w.Program })))
	checkRefusals(t, valid, ParseSpecification, program(func(w *W) *wire.Program { return w.Reduce }))
}

// What our own side validates is what the other side takes: a specification
// that Validate lets through must never be refused when it is read back.
func TestValidateRefusesWhatParseWould(t *testing.T) {
	for name, edit := range map[string]func(*Specification){
		"labels over the limit":        func(s *Specification) { s.Labels = Labels{"": "x"} },
		"a queue timeout over 30 days": func(s *Specification) { s.QueueTimeout = MaxTimeout + 1 },
		"a referee budget below zero":  func(s *Specification) { s.RefereeBudget = -1 },
		"a total timeout over 30 days": func(s *Specification) { s.TotalTimeout = MaxTimeout + 1 },
		"a total timeout below zero":   func(s *Specification) { s.TotalTimeout = -time.Millisecond },
		"one that would become none":   func(s *Specification) { s.TotalTimeout = time.Millisecond - 1 },
		"fewer retries than none":      func(s *Specification) { s.Retries = -1 },
		"1001 retries":                 func(s *Specification) { s.Retries = MaxRetries + 1 },
		"a trace that is no text":      func(s *Specification) { s.Trace = "\xff" },
		"no time of submission":        func(s *Specification) { s.Submitted = testNow.AddDate(-9999, 0, 0) },
		"an argument that is no text":  func(s *Specification) { s.Program.Args = []string{"\xff"} },
		"a variable that is no text":   func(s *Specification) { s.Program.Env = []string{"A=\xff"} },
		"no fuel":                      func(s *Specification) { s.Program.Fuel = 0 },
		"a timeout below one ms":       func(s *Specification) { s.Program.Timeout = 1000 },
		"resources over the limit":     func(s *Specification) { s.Program.Resources.GPU = maxGPU + 1 },
	} {
		s := make1[Specification](newMaker(1))
		edit(&s)
		if err := s.Validate(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseAnswerRefuses(t *testing.T) {
	type W = wire.Answer
	checkRefusals(t, make1[Answer](newMaker(1)).Marshal(), ParseAnswer, merge(mutations[W]{
		"no outcome":                       func(w *W) { w.Outcome = 0 },
		"an outcome that nobody knows":     func(w *W) { w.Outcome = 5 },
		"no output":                        func(w *W) { w.Output = nil },
		"output over 1 PiB":                func(w *W) { w.OutputSize = maxBytes + 1 },
		"a peak over 1 PiB":                func(w *W) { w.PeakMemory = maxBytes + 1 },
		"a trap of 513 bytes":              func(w *W) { w.Outcome, w.ExitCode, w.Trap = 2, 0, strings.Repeat("t", maxDetail+1) },
		"a trap with a control character":  func(w *W) { w.Outcome, w.ExitCode, w.Trap = 2, 0, "\v" },
		"a trap of a program that exited":  func(w *W) { w.Outcome, w.Trap = 1, "unreachable" },
		"an exit code of one that trapped": func(w *W) { w.Outcome, w.ExitCode = 2, 1 },
		"fuel over 2 to 60":                func(w *W) { w.Fuel = MaxFuel + 1 },
		"4097 state roots":                 func(w *W) { w.StateRoots = make([][]byte, MaxStateRoots+1) },
		"a state root of 31 bytes":         func(w *W) { w.StateRoots[0] = w.StateRoots[0][:31] },
	}, fixed("an execution id", func(w *W) *[]byte { return &w.Execution }),
		fixed("a lease id", func(w *W) *[]byte { return &w.Lease }),
		fixed("a digest", func(w *W) *[]byte { return &w.Digest }),
		cids(func(w *W) *[]byte { return &w.Output }),
		engine(func(w *W) **wire.Engine { return &w.Engine })))
}

func TestTimeSpentIsClippedAndNotRefused(t *testing.T) {
	a := make1[Answer](newMaker(1))
	a.CPU, a.Wall = -1e6, 1<<63-1
	got, err := ParseAnswer(a.Marshal())
	if err != nil || got.CPU != 0 || got.Wall != MaxTimeout {
		t.Errorf("got %s and %s, %v; want 0 and %s", got.CPU, got.Wall, err, MaxTimeout)
	}
}

func TestParseReceiptRefuses(t *testing.T) {
	type W = wire.Receipt
	checkRefusals(t, make1[Receipt](newMaker(1)).Marshal(), ParseReceipt, merge(mutations[W]{
		"an amount over 2 to 53": func(w *W) { w.Amount = maxCredits + 1 },
		"no output":              func(w *W) { w.Output = nil },
		"fuel over 2 to 60":      func(w *W) { w.Fuel = MaxFuel + 1 },
	}, engine(func(w *W) **wire.Engine { return &w.Engine }), fixed("an answer", func(w *W) *[]byte { return &w.Answer }),
		fixed("a job id", func(w *W) *[]byte { return &w.Job }),
		fixed("an execution id", func(w *W) *[]byte { return &w.Execution }),
		fixed("a digest", func(w *W) *[]byte { return &w.Digest }),
		cids(func(w *W) *[]byte { return &w.Output })))
}

func TestParseGrantRefuses(t *testing.T) {
	type W = wire.Grant
	checkRefusals(t, make1[Grant](newMaker(1)).Marshal(), ParseGrant, merge(mutations[W]{
		"no root": func(w *W) { w.Root = nil },
	}, fixed("a job id", func(w *W) *[]byte { return &w.Job }), cids(func(w *W) *[]byte { return &w.Root })))
}
