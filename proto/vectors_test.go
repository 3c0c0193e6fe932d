package proto

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew: bytes changed on purpose")

// vectors is testdata/vectors.json. docs/wire.md says what the bytes mean; all
// binary values are in hexadecimal.
type vectors struct {
	About     string            `json:"about"`
	Envelopes []envelopeVector  `json:"envelopes"`
	Tasks     []taskVector      `json:"tasks"`
	Job       jobVector         `json:"job"`
	Bodies    map[string]string `json:"bodies"`
	Frames    map[string]string `json:"frames"`
}

type envelopeVector struct {
	Seed      string   `json:"seed"`
	Addressee string   `json:"addressee"`
	Payloads  []string `json:"payloads"`
	Root      string   `json:"root"`
	Signature string   `json:"signature"`
	Sealed    []string `json:"sealed"`
}

type taskVector struct {
	Name     string   `json:"name"`
	Profile  string   `json:"profile"`
	Code     string   `json:"code"`
	Args     []string `json:"args"`
	Env      []string `json:"env"`
	Outputs  []string `json:"outputs"`
	Stdin    string   `json:"stdin"`
	Input    string   `json:"input"`
	Memory   uint64   `json:"memory"`
	Disk     uint64   `json:"disk"`
	Fuel     uint64   `json:"fuel"`
	Index    int      `json:"index"`
	Count    int      `json:"count"`
	Seed     string   `json:"seed"`
	Encoding string   `json:"encoding"`
	Digest   string   `json:"digest"`
}

type jobVector struct {
	Seed   string `json:"seed"`
	Sealed string `json:"sealed"`
	ID     string `json:"id"`
}

func (v taskVector) task(t *testing.T) (Program, Task) {
	cid := func(s string) (c CID) {
		if err := c.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	return Program{
		Profile: v.Profile, Code: cid(v.Code), Args: v.Args, Env: v.Env, Outputs: v.Outputs,
		Resources: Resources{Memory: v.Memory, Disk: v.Disk}, Fuel: v.Fuel,
	}, Task{Index: v.Index, Count: v.Count, Stdin: cid(v.Stdin), Input: cid(v.Input), Seed: unhex(t, v.Seed)}
}

func taskVectors() []taskVector {
	const hello, tree = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
	return []taskVector{
		{Name: "the least", Profile: ProfileWASM, Code: hello, Fuel: 1, Count: 1},
		{
			Name: "everything", Profile: ProfileWASM, Code: hello, Args: []string{"--top", "10", ""}, Env: []string{"A=y", "A1=ü"},
			Outputs: []string{"/out", "/tmp/x"}, Stdin: hello, Input: tree, Memory: 256 << 20, Disk: 1 << 30, Fuel: 1e12, Index: 6, Count: 7, Seed: "00ff",
		},
	}
}

// exampleProgram and what follows are written out, so that no change of the
// tests' random values moves the vectors.
func exampleProgram() Program {
	return Program{
		Executor: ExecutorWASM, Profile: ProfileWASM, Code: RawCID([]byte("code")), CodeSize: 4, Args: []string{"-v"}, Env: []string{"LANG=C"},
		Outputs: []string{"/out"}, Resources: Resources{1000, 256 << 20, 1 << 30, 0}, Fuel: 1e12, Timeout: 10 * time.Minute,
	}
}

// exampleTrace is the example of https://www.w3.org/TR/trace-context/.
const exampleTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func exampleSpecification() Specification {
	return Specification{
		Name: "wordcount", Program: exampleProgram(), Tasks: []TaskInput{{Input: RawCID([]byte("in"))}, {}}, Seed: []byte("seed"),
		Confidence: 999_000, Comparator: ComparatorExact, RefereeBudget: 10 * time.Minute, MaxPrice: 100_000_000,
		Constraints: []string{"arch == amd64"}, Labels: Labels{"team": "blue"}, QueueTimeout: 5 * time.Minute,
		TotalTimeout: 2 * time.Hour, Retries: 5, Trace: exampleTrace,
		Reduce: new(exampleProgram()), Nonce: [16]byte{1, 2, 3}, Submitted: testNow,
	}
}

func exampleBodies() map[string][]byte {
	job, execution, lease, engine := JobID{1}, ExecutionID{2}, LeaseID{3}, Engine{"wazero", "1.12.0", "amd64"}
	return map[string][]byte{
		"announcement": Announcement{
			Job: job, Executor: ExecutorWASM, Profile: ProfileWASM, Needs: Resources{1000, 256 << 20, 1 << 30, 0}, Program: RawCID([]byte("code")),
			ProgramSize: 4, Tasks: 2, MaxPrice: 100_000_000, BidsWanted: 6, Constraints: []string{"arch == amd64"}, Addrs: []string{"/ip4/192.0.2.1/tcp/4170"}, Sequence: 1,
		}.Marshal(),
		"advert": Advert{
			Executor: ExecutorWASM, Profile: ProfileWASM, Engine: engine, Isolation: "namespaces", Offered: Resources{4000, 8 << 30, 64 << 30, 1},
			Free: Resources{2000, 4 << 30, 32 << 30, 0}, Slots: 4, FreeSlots: 2, Price: 5_000_000, Labels: Labels{"region": "eu", "gpu": "none"},
			Addrs: []string{"/ip4/192.0.2.2/udp/4170/quic-v1"}, Sequence: 7, Version: "0.1.0",
		}.Marshal(),
		"bid":     Bid{Job: job, Price: 5_000_000, Slots: 2, StartAfter: 20 * time.Millisecond, ProgramCached: true, Engine: engine}.Marshal(),
		"refusal": Refusal{Job: job, Reason: ReasonMemory, Detail: "asks for 64 GiB; this node lends 8 GiB"}.Marshal(),
		"award": Award{
			Job: job, Lease: lease, Epoch: 9, Slots: 2, Price: 5_000_000, Grace: 10 * time.Minute, Silence: 15 * time.Second,
			Program: exampleProgram(), Grants: [][]byte{[]byte("an envelope")}, Trace: exampleTrace,
		}.Marshal(),
		"answer": Answer{
			Execution: execution, Lease: lease, Epoch: 9, Digest: Digest{4}, Output: RawCID([]byte("output")), OutputSize: 6, Outcome: OutcomeExited,
			ExitCode: 3, Fuel: 1_234_567, StateRoots: []Hash{{5}}, Engine: engine, CPU: time.Second, Wall: 2 * time.Second, PeakMemory: 1 << 20,
		}.Marshal(),
		"receipt": Receipt{Answer: Hash{6}, Job: job, Execution: execution, Digest: Digest{4}, Output: RawCID([]byte("output")), Amount: 1389, CPU: time.Second, Fuel: 1_234_567, Engine: engine}.Marshal(),
		"grant":   Grant{Job: job, Root: RawCID([]byte("in"))}.Marshal(),
	}
}

func exampleFrames() map[string][]byte {
	e := ExecutionID{2}
	task := Assignment{e, Task{Index: 1, Count: 2, Stdin: RawCID([]byte("stdin")), Input: RawCID([]byte("in")), Seed: []byte("seed")}}
	return map[string][]byte{
		"award":     Frame{Award: &AwardFrame{Award: []byte("an envelope"), Tasks: []Assignment{task}}}.Marshal(),
		"reply":     Frame{Reply: &AwardReply{Reason: ReasonBusy, Detail: "no longer free"}}.Marshal(),
		"task":      Frame{Task: &task}.Marshal(),
		"answer":    Frame{Answer: &AnswerFrame{Answer: []byte("an envelope"), Blocks: []Block{{RawCID([]byte("output")), []byte("output")}}}}.Marshal(),
		"failure":   Frame{Failure: &Failure{e, ReasonTimeout, "after 10m"}}.Marshal(),
		"ack":       Frame{Ack: &Ack{e, []byte("an envelope")}}.Marshal(),
		"cancel":    Frame{Cancel: &e}.Marshal(),
		"log":       Frame{Log: &Log{e, true, 5, []byte("text")}}.Marshal(),
		"started":   Frame{Started: &e}.Marshal(),
		"ping":      Frame{Ping: true}.Marshal(),
		"release":   Frame{Release: true}.Marshal(),
		"attach":    Frame{Attach: &Attach{LeaseID{3}, 9, []ExecutionID{e, {4}}}}.Marshal(),
		"progress":  Frame{Progress: &Progress{e, 250_000, "page 3 of 12"}}.Marshal(),
		"bid frame": BidFrame{Bid: []byte("an envelope")}.Marshal(),
		"hello":     Hello{Advert: []byte("an envelope"), Announcements: [][]byte{[]byte("one"), []byte("two")}}.Marshal(),
	}
}

func currentVectors(t *testing.T) vectors {
	v := vectors{
		About:  "The bytes of docs/wire.md. Made by: go test ./proto -run Vectors -update",
		Bodies: hexAll(exampleBodies()), Frames: hexAll(exampleFrames()), Tasks: taskVectors(),
	}
	key, _ := testKey(1)
	for _, n := range []int{1, 2, 5} {
		v.Envelopes = append(v.Envelopes, currentEnvelopes(t, n))
	}
	for i, task := range v.Tasks {
		p, tk := task.task(t)
		digest := TaskDigest(p, tk)
		v.Tasks[i].Digest, v.Tasks[i].Encoding = digest.String(), hex.EncodeToString(taskEncoding(p, tk))
	}
	b, id := SignSpecification(key, testNetwork, exampleSpecification())
	v.Job = jobVector{hex.EncodeToString(key.Seed()), hex.EncodeToString(b), id.String()}
	return v
}

func currentEnvelopes(t *testing.T, n int) envelopeVector {
	key, _ := testKey(1)
	_, to := testKey(2)
	v := envelopeVector{Seed: hex.EncodeToString(key.Seed()), Addressee: hex.EncodeToString(to[:])}
	var leaves []Hash
	for _, s := range testBatch(n) {
		v.Payloads = append(v.Payloads, hex.EncodeToString(s.marshal()))
		leaves = append(leaves, leafHash(s.marshal()))
	}
	tree := merkleTree(leaves)
	v.Root = hex.EncodeToString(tree[len(tree)-1][0][:])
	for _, b := range SealBatch(key, testBatch(n)) {
		w := openWire(t, b)
		v.Signature = hex.EncodeToString(w.Signature)
		v.Sealed = append(v.Sealed, hex.EncodeToString(b))
	}
	return v
}

func hexAll(in map[string][]byte) map[string]string {
	out := make(map[string]string, len(in))
	for name, b := range in {
		out[name] = hex.EncodeToString(b)
	}
	return out
}

func TestVectorsHaveNotMoved(t *testing.T) {
	got, err := json.MarshalIndent(currentVectors(t), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const path = "testdata/vectors.json"
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(got, want) {
		return
	}
	gotLines, wantLines := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range min(len(gotLines), len(wantLines)) {
		if !bytes.Equal(gotLines[i], wantLines[i]) {
			t.Fatalf("%s:%d: got %s\nwant %s\n(after a change on purpose: go test ./proto -run Vectors -update)", path, i+1, gotLines[i], wantLines[i])
		}
	}
	t.Fatalf("%s has %d lines, not %d", path, len(wantLines), len(gotLines))
}

// The bytes at rest in the file are read as a stranger's would be.
func TestVectorsAreTakenByTheParsers(t *testing.T) {
	var v vectors
	readJSON(t, "testdata/vectors.json", &v)
	parsers := map[string]func([]byte) error{
		"announcement": refused(ParseAnnouncement), "advert": refused(ParseAdvert), "bid": refused(ParseBid), "refusal": refused(ParseRefusal),
		"award": refused(ParseAward), "answer": refused(ParseAnswer), "receipt": refused(ParseReceipt), "grant": refused(ParseGrant),
	}
	for name, parse := range parsers {
		if err := parse(unhex(t, v.Bodies[name])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	special := map[string]func([]byte) error{"bid frame": refused(ParseBidFrame), "hello": refused(ParseHello)}
	for name, b := range v.Frames {
		parse := special[name]
		if parse == nil {
			parse = refused(ParseFrame)
		}
		if err := parse(unhex(t, b)); err != nil {
			t.Errorf("%s frame: %v", name, err)
		}
	}
	for _, e := range v.Envelopes {
		for i, b := range e.Sealed {
			if _, err := OpenEnvelope(unhex(t, b), testExpect()); err != nil {
				t.Errorf("envelope %d of %d: %v", i, len(e.Sealed), err)
			}
		}
	}
	if _, _, id, err := OpenSpecification(unhex(t, v.Job.Sealed), testNetwork); err != nil || id.String() != v.Job.ID {
		t.Errorf("job: got %s, %v; want %s", id, err, v.Job.ID)
	}
}

func refused[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error { _, err := parse(b); return err }
}

// What is in the digest, and what is not.
func TestTheDigestCoversWhatAGuestCanObserve(t *testing.T) {
	program, task := exampleProgram(), Task{Index: 1, Count: 3, Stdin: RawCID([]byte("s")), Input: RawCID([]byte("i")), Seed: []byte("x")}
	want := TaskDigest(program, task)
	for name, edit := range map[string]func(*Program, *Task){
		"the profile":                       func(p *Program, _ *Task) { p.Profile += "x" },
		"the code":                          func(p *Program, _ *Task) { p.Code = RawCID(nil) },
		"an argument":                       func(p *Program, _ *Task) { p.Args = []string{"-w"} },
		"where an argument ends":            func(p *Program, _ *Task) { p.Args = []string{"-", "v"} },
		"an argument that is a variable":    func(p *Program, _ *Task) { p.Args, p.Env = nil, []string{"-v", "LANG=C"} },
		"a variable":                        func(p *Program, _ *Task) { p.Env = nil },
		"an output":                         func(p *Program, _ *Task) { p.Outputs = nil },
		"the memory":                        func(p *Program, _ *Task) { p.Resources.Memory++ },
		"the disk":                          func(p *Program, _ *Task) { p.Resources.Disk++ },
		"the fuel":                          func(p *Program, _ *Task) { p.Fuel++ },
		"the index":                         func(_ *Program, t *Task) { t.Index++ },
		"the count":                         func(_ *Program, t *Task) { t.Count++ },
		"the standard input":                func(_ *Program, t *Task) { t.Stdin = CID{} },
		"the input":                         func(_ *Program, t *Task) { t.Input = CID{} },
		"the standard input as input":       func(_ *Program, t *Task) { t.Stdin, t.Input = t.Input, t.Stdin },
		"the seed":                          func(_ *Program, t *Task) { t.Seed = nil },
		"the codec of the input, not bytes": func(_ *Program, t *Task) { t.Input.codec = codecDagPB },
	} {
		p, tk := program, task
		if edit(&p, &tk); TaskDigest(p, tk) == want {
			t.Errorf("%s changed, and the digest did not", name)
		}
	}
	program.Executor, program.CodeSize, program.Timeout, program.Private = "x", 99, time.Hour, true
	program.Resources.CPU, program.Resources.GPU = 7, 7
	if TaskDigest(program, task) != want {
		t.Error("the digest hangs on what no guest can observe")
	}
}

func TestTheJobIDHangsOnEveryByte(t *testing.T) {
	key, _ := testKey(1)
	seen := map[JobID]string{}
	for name, edit := range map[string]func(*Specification){
		"as it is": func(*Specification) {}, "another nonce": func(s *Specification) { s.Nonce[15]++ },
		"another name": func(s *Specification) { s.Name = "x" }, "another price": func(s *Specification) { s.MaxPrice++ },
		"another total timeout": func(s *Specification) { s.TotalTimeout += time.Millisecond }, "more retries": func(s *Specification) { s.Retries++ },
		"another trace": func(s *Specification) { s.Trace = "" },
		"another time":  func(s *Specification) { s.Submitted = s.Submitted.Add(time.Millisecond) },
	} {
		s := exampleSpecification()
		edit(&s)
		_, id := SignSpecification(key, testNetwork, s)
		if other, twice := seen[id]; twice {
			t.Errorf("%s and %s have one id", name, other)
		}
		seen[id] = name
	}
	_, id := SignSpecification(key, "elsewhere", exampleSpecification())
	if other, twice := seen[id]; twice {
		t.Errorf("on another network and %s have one id", other)
	}
}
