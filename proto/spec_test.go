package proto

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestASpecificationOpensAsItWasSigned(t *testing.T) {
	key, signer := testKey(1)
	s := exampleSpecification()
	b, id := SignSpecification(key, testNetwork, s)
	got, env, again, err := OpenSpecification(b, testNetwork)
	if err != nil || again != id || env.Signer != signer || !bytes.Equal(got.Marshal(), s.Marshal()) {
		t.Errorf("got %+v of job %s by %s, %v", got, again, env.Signer, err)
	}
	if !env.Issued.Equal(s.Submitted) {
		t.Errorf("issued at %s, submitted at %s", env.Issued, s.Submitted)
	}
}

func TestOpenSpecificationRefuses(t *testing.T) {
	key, _ := testKey(1)
	good, _ := SignSpecification(key, testNetwork, exampleSpecification())
	bad := exampleSpecification()
	bad.Comparator = "fuzzy"
	invalid, _ := SignSpecification(key, testNetwork, bad)
	statement := Statement{Network: testNetwork, Purpose: PurposeAdvert, Issued: testNow, Expires: testNow, Body: exampleSpecification().Marshal()}
	for name, c := range map[string]struct {
		b       []byte
		network string
		want    error
	}{
		"another network":            {good, "elsewhere", ErrNetwork},
		"another purpose":            {Seal(key, statement), testNetwork, ErrPurpose},
		"a changed bit of the body":  {bytes.Replace(good, []byte("wordcount"), []byte("wordcounu"), 1), testNetwork, ErrSignature},
		"a specification over limit": {make([]byte, MaxSpecification+1), testNetwork, ErrMalformed},
		"one that is not valid":      {invalid, testNetwork, ErrMalformed},
		"nothing":                    {nil, testNetwork, ErrMalformed},
	} {
		if _, _, id, err := OpenSpecification(c.b, c.network); !errors.Is(err, c.want) || id != (JobID{}) {
			t.Errorf("%s: got job %s, %v; want %v", name, id, err, c.want)
		}
	}
}

func TestTaskGivesEachTaskItsPlace(t *testing.T) {
	s := exampleSpecification()
	for i := range s.Tasks {
		got := s.Task(i)
		if got.Index != i || got.Count != len(s.Tasks) || got.Input != s.Tasks[i].Input || got.Stdin != s.Tasks[i].Stdin || string(got.Seed) != "seed" {
			t.Errorf("task %d: got %+v", i, got)
		}
	}
	if TaskDigest(s.Program, s.Task(0)) == TaskDigest(s.Program, s.Task(1)) {
		t.Error("two tasks have one digest")
	}
}

func TestOutcomesAndEnginesHaveWords(t *testing.T) {
	for want, o := range map[string]Outcome{
		"exited": OutcomeExited, "trapped": OutcomeTrapped, "out of fuel": OutcomeOutOfFuel, "invalid program": OutcomeInvalid, "unknown": 9,
	} {
		if o.String() != want {
			t.Errorf("outcome %d: got %q, want %q", uint32(o), o, want)
		}
	}
	if got := (Engine{"wazero", "1.12.0", "amd64"}).String(); got != "wazero/1.12.0/amd64" {
		t.Errorf("got %q", got)
	}
}

func TestOnlyAnExitWithZeroIsASuccess(t *testing.T) {
	for a, want := range map[Outcome]bool{OutcomeExited: true, OutcomeTrapped: false, OutcomeOutOfFuel: false, OutcomeInvalid: false} {
		if got := (Answer{Outcome: a}).Ok(); got != want {
			t.Errorf("%s: got %t", a, got)
		}
	}
	if (Answer{Outcome: OutcomeExited, ExitCode: 1, Wall: time.Second}).Ok() {
		t.Error("exit code 1 is a success")
	}
}
