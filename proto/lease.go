package proto

import (
	"fmt"
	"time"

	"github.com/mustermesh/muster/proto/wire"
)

// Limits of a lease stream.
const (
	MaxLeaseFrame = 4 << 20   // bytes
	MaxInline     = 256 << 10 // bytes of output blocks that ride with an answer
	maxInline     = 64        // blocks
	maxTasks      = 1024      // in one frame
	MaxLogChunk   = 64 << 10  // bytes
	maxGrants     = 64
	maxTrace      = 64   // bytes of a W3C traceparent; version 00 has 55
	MaxAttach     = 4096 // executions in one attach frame
	MaxProgress   = 200  // bytes of a guest's word on its progress
)

// ProgressUnit is what a guest's progress is counted in: parts per million.
const ProgressUnit = 1_000_000

// An Award offers a provider a lease: so many slots for tasks of one job, at a
// price, until it is released or idle. Grace and Silence say what becomes of it
// while its two sides are out of touch; docs/wire.md §5.
type Award struct {
	Job     JobID
	Lease   LeaseID
	Epoch   uint64 // grows with every lease on this job: fencing
	Slots   int
	Price   Credits       // of a core-hour
	Grace   time.Duration // how long finished results are kept for a silent requester; to the millisecond
	Silence time.Duration // how long guests go on without their requester; to the millisecond
	Program Program
	Grants  [][]byte // envelopes
	Trace   string   // W3C traceparent, or empty
}

// Marshal gives the body of a statement of [PurposeAward].
func (a Award) Marshal() []byte {
	return marshal(&wire.Award{
		Job: a.Job[:], Lease: a.Lease[:], Epoch: a.Epoch, Slots: uint32(a.Slots), Price: uint64(a.Price),
		Grace: a.Grace.Milliseconds(), Silence: a.Silence.Milliseconds(), Program: a.Program.wire(), Grants: a.Grants, Trace: a.Trace,
	})
}

// ParseAward checks the body of a stranger's award.
func ParseAward(b []byte) (a Award, err error) {
	var w wire.Award
	if err := unmarshal(b, &w, "award"); err != nil {
		return a, err
	}
	if len(w.Lease) != len(a.Lease) || w.Slots < 1 || w.Slots > MaxSlots || w.Price > maxCredits || len(w.Grants) > maxGrants {
		return a, fmt.Errorf("%w: award out of range", ErrMalformed)
	}
	a = Award{Lease: LeaseID(w.Lease), Epoch: w.Epoch, Slots: int(w.Slots), Price: Credits(w.Price), Grants: w.Grants, Trace: w.Trace}
	if err := checkName("trace", a.Trace, maxTrace); err != nil {
		return Award{}, err
	}
	if a.Job, err = parseJobID(w.Job); err != nil {
		return Award{}, err
	}
	if a.Grace, err = parseDuration(w.Grace); err != nil {
		return Award{}, err
	}
	if a.Silence, err = parseDuration(w.Silence); err != nil {
		return Award{}, err
	}
	a.Program, err = parseProgram(w.Program)
	return a, err
}

// A Frame is one message on a lease stream; exactly one field is set.
// docs/wire.md §5 says who sends which when.
type Frame struct {
	Award   *AwardFrame
	Reply   *AwardReply
	Task    *Assignment
	Answer  *AnswerFrame
	Failure *Failure
	Ack     *Ack
	Cancel  *ExecutionID
	Log     *Log
	Started *ExecutionID
	Ping    bool
	Release bool

	Attach   *Attach
	Progress *Progress
}

// An Attach takes up a lease again, with the executions that are still wanted:
// the provider stops all others, and says of each of these how it stands. No
// execution is in it twice.
type Attach struct {
	Lease      LeaseID
	Epoch      uint64
	Executions []ExecutionID
}

// A Progress is a guest's own word on how far it is; it is not verified.
type Progress struct {
	Execution ExecutionID
	Fraction  uint32 // parts per million; above [ProgressUnit]: unknown
	Text      string // at most [MaxProgress] bytes; see [ClipProgress]
}

// ClipProgress makes a guest's word fit for a progress: cut to its limit,
// control characters replaced.
func ClipProgress(s string) string { return clip(s, MaxProgress) }

// An AwardFrame opens a lease stream: the award and the first tasks.
type AwardFrame struct {
	Award []byte // envelope
	Tasks []Assignment
}

// An Assignment is one task under one execution id.
type Assignment struct {
	Execution ExecutionID
	Task      Task
}

// An AwardReply accepts or declines a lease.
type AwardReply struct {
	Accepted bool
	Reason   Reason
	Detail   string
}

// A Block travels beside an answer to save a fetch. It is verified before use.
type Block struct {
	CID  CID
	Data []byte
}

// An AnswerFrame carries an answer and, where it is small, its output.
type AnswerFrame struct {
	Answer []byte // envelope
	Blocks []Block
}

// A Failure says that an execution ended without an answer.
type Failure struct {
	Execution ExecutionID
	Reason    Reason
	Detail    string
}

// An Ack says that the requester holds an answer. A receipt may come with it,
// or with a later one.
type Ack struct {
	Execution ExecutionID
	Receipt   []byte // envelope
}

// A Log is a piece of a guest's output as it runs. It is not verified.
type Log struct {
	Execution ExecutionID
	Stderr    bool
	Offset    uint64
	Data      []byte
}

// Marshal gives the frame's bytes.
func (f Frame) Marshal() []byte {
	var w wire.LeaseFrame
	switch {
	case f.Award != nil:
		a := &wire.AwardFrame{Award: f.Award.Award}
		for _, t := range f.Award.Tasks {
			a.Tasks = append(a.Tasks, t.Task.wire(t.Execution))
		}
		w.Kind = &wire.LeaseFrame_Award{Award: a}
	case f.Reply != nil:
		w.Kind = &wire.LeaseFrame_Reply{Reply: &wire.AwardReply{Accepted: f.Reply.Accepted, Reason: uint32(f.Reply.Reason), Detail: f.Reply.Detail}}
	case f.Task != nil:
		w.Kind = &wire.LeaseFrame_Task{Task: f.Task.Task.wire(f.Task.Execution)}
	case f.Answer != nil:
		a := &wire.AnswerFrame{Answer: f.Answer.Answer}
		for _, b := range f.Answer.Blocks {
			a.Blocks = append(a.Blocks, &wire.Block{Cid: b.CID.Bytes(), Data: b.Data})
		}
		w.Kind = &wire.LeaseFrame_Answer{Answer: a}
	case f.Failure != nil:
		w.Kind = &wire.LeaseFrame_Failure{Failure: &wire.Failure{Execution: f.Failure.Execution[:], Reason: uint32(f.Failure.Reason), Detail: f.Failure.Detail}}
	case f.Ack != nil:
		w.Kind = &wire.LeaseFrame_Ack{Ack: &wire.Ack{Execution: f.Ack.Execution[:], Receipt: f.Ack.Receipt}}
	case f.Cancel != nil:
		w.Kind = &wire.LeaseFrame_Cancel{Cancel: &wire.Execution{Execution: f.Cancel[:]}}
	case f.Log != nil:
		w.Kind = &wire.LeaseFrame_Log{Log: &wire.Log{Execution: f.Log.Execution[:], Stderr: f.Log.Stderr, Offset: f.Log.Offset, Data: f.Log.Data}}
	case f.Started != nil:
		w.Kind = &wire.LeaseFrame_Started{Started: &wire.Execution{Execution: f.Started[:]}}
	case f.Attach != nil:
		a := &wire.Attach{Lease: f.Attach.Lease[:], Epoch: f.Attach.Epoch}
		for i := range f.Attach.Executions {
			a.Executions = append(a.Executions, f.Attach.Executions[i][:])
		}
		w.Kind = &wire.LeaseFrame_Attach{Attach: a}
	case f.Progress != nil:
		w.Kind = &wire.LeaseFrame_Progress{Progress: &wire.Progress{Execution: f.Progress.Execution[:], Fraction: f.Progress.Fraction, Text: f.Progress.Text}}
	case f.Ping:
		w.Kind = &wire.LeaseFrame_Ping{Ping: &wire.Empty{}}
	case f.Release:
		w.Kind = &wire.LeaseFrame_Release{Release: &wire.Empty{}}
	}
	return marshal(&w)
}

// ParseFrame checks a stranger's frame; envelopes inside are not opened and
// blocks are not hashed.
func ParseFrame(b []byte) (f Frame, err error) {
	var w wire.LeaseFrame
	if err := unmarshal(b, &w, "lease frame"); err != nil {
		return f, err
	}
	switch k := w.Kind.(type) {
	case *wire.LeaseFrame_Award:
		f.Award, err = parseAwardFrame(k.Award)
	case *wire.LeaseFrame_Reply:
		f.Reply = &AwardReply{Accepted: k.Reply.GetAccepted(), Detail: k.Reply.GetDetail()}
		f.Reply.Reason, err = parseReason(k.Reply.GetReason(), k.Reply.GetDetail())
	case *wire.LeaseFrame_Task:
		var a Assignment
		a.Execution, a.Task, err = parseTask(k.Task)
		f.Task = &a
	case *wire.LeaseFrame_Answer:
		f.Answer, err = parseAnswerFrame(k.Answer)
	case *wire.LeaseFrame_Failure:
		f.Failure = &Failure{Detail: k.Failure.GetDetail()}
		if f.Failure.Reason, err = parseReason(k.Failure.GetReason(), k.Failure.GetDetail()); err == nil {
			f.Failure.Execution, err = parseExecutionID(k.Failure.GetExecution())
		}
	case *wire.LeaseFrame_Ack:
		f.Ack = &Ack{Receipt: k.Ack.GetReceipt()}
		f.Ack.Execution, err = parseExecutionID(k.Ack.GetExecution())
	case *wire.LeaseFrame_Cancel:
		f.Cancel, err = parseExecution(k.Cancel)
	case *wire.LeaseFrame_Log:
		f.Log, err = parseLog(k.Log)
	case *wire.LeaseFrame_Started:
		f.Started, err = parseExecution(k.Started)
	case *wire.LeaseFrame_Attach:
		f.Attach, err = parseAttach(k.Attach)
	case *wire.LeaseFrame_Progress:
		f.Progress, err = parseProgress(k.Progress)
	case *wire.LeaseFrame_Ping:
		f.Ping = true
	case *wire.LeaseFrame_Release:
		f.Release = true
	default:
		err = fmt.Errorf("%w: lease frame of no known kind", ErrMalformed)
	}
	if err != nil {
		return Frame{}, err
	}
	return f, nil
}

func parseAwardFrame(w *wire.AwardFrame) (*AwardFrame, error) {
	if len(w.GetTasks()) > maxTasks {
		return nil, fmt.Errorf("%w: %d tasks in one frame", ErrMalformed, len(w.Tasks))
	}
	f := &AwardFrame{Award: w.GetAward()}
	for _, t := range w.GetTasks() {
		e, task, err := parseTask(t)
		if err != nil {
			return nil, err
		}
		f.Tasks = append(f.Tasks, Assignment{e, task})
	}
	return f, nil
}

func parseAnswerFrame(w *wire.AnswerFrame) (*AnswerFrame, error) {
	if len(w.GetBlocks()) > maxInline {
		return nil, fmt.Errorf("%w: %d blocks with an answer", ErrMalformed, len(w.Blocks))
	}
	f, size := &AnswerFrame{Answer: w.GetAnswer()}, 0
	for _, b := range w.GetBlocks() {
		cid, err := CIDFromBytes(b.GetCid())
		if err != nil {
			return nil, fmt.Errorf("%w: block: %v", ErrMalformed, err)
		}
		if size += len(b.GetData()); size > MaxInline {
			return nil, fmt.Errorf("%w: more than %d bytes with an answer", ErrMalformed, MaxInline)
		}
		f.Blocks = append(f.Blocks, Block{cid, b.GetData()})
	}
	return f, nil
}

func parseAttach(w *wire.Attach) (*Attach, error) {
	if len(w.GetLease()) != len(LeaseID{}) || len(w.GetExecutions()) > MaxAttach {
		return nil, fmt.Errorf("%w: attach out of range", ErrMalformed)
	}
	a := &Attach{Lease: LeaseID(w.Lease), Epoch: w.Epoch}
	seen := make(map[ExecutionID]bool, len(w.Executions))
	for _, b := range w.Executions {
		e, err := parseExecutionID(b)
		if err != nil {
			return nil, err
		}
		if seen[e] {
			return nil, fmt.Errorf("%w: attach names execution %s twice", ErrMalformed, e)
		}
		seen[e] = true
		a.Executions = append(a.Executions, e)
	}
	return a, nil
}

func parseProgress(w *wire.Progress) (*Progress, error) {
	e, err := parseExecutionID(w.GetExecution())
	if err != nil {
		return nil, err
	}
	if err := checkName("progress", w.GetText(), MaxProgress); err != nil {
		return nil, err
	}
	return &Progress{Execution: e, Fraction: w.GetFraction(), Text: w.GetText()}, nil
}

func parseExecution(w *wire.Execution) (*ExecutionID, error) {
	e, err := parseExecutionID(w.GetExecution())
	return &e, err
}

func parseLog(w *wire.Log) (*Log, error) {
	e, err := parseExecutionID(w.GetExecution())
	if err != nil {
		return nil, err
	}
	if len(w.GetData()) > MaxLogChunk {
		return nil, fmt.Errorf("%w: log of %d bytes", ErrMalformed, len(w.GetData()))
	}
	return &Log{Execution: e, Stderr: w.GetStderr(), Offset: w.GetOffset(), Data: w.GetData()}, nil
}

// InlineFits tells whether blocks may ride with an answer.
func InlineFits(blocks int, bytes int64) bool { return blocks <= maxInline && bytes <= MaxInline }
