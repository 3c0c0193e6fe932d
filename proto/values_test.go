package proto

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"
)

// testNow is the moment at which tests sign and read.
var testNow = time.UnixMilli(1_767_225_600_000)

const testNetwork = "test-net"

// testKey gives the n-th key of the tests: its seed is n, 32 times.
func testKey(n byte) (ed25519.PrivateKey, PeerID) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	return key, PeerID(key.Public().(ed25519.PublicKey))
}

// A maker makes random valid values. Every exported field gets one, so a field
// that is added later and forgotten in Marshal or Parse shows.
type maker struct{ *rand.Rand }

func newMaker(seed uint64) maker { return maker{rand.New(rand.NewPCG(seed, 0))} }

// make1 gives a random valid T.
func make1[T any](m maker) (v T) {
	m.fill(reflect.ValueOf(&v).Elem())
	return v
}

// fill sets v to something valid: first by type, else by kind.
func (m maker) fill(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *CID:
		*p = m.cid()
	case *time.Duration:
		*p = time.Duration(1+m.Int64N(MaxTimeout.Milliseconds())) * time.Millisecond
	case *time.Time:
		*p = time.UnixMilli(m.Int64N(maxTime))
	case *Labels:
		*p = Labels{m.word(): m.word(), "région": ""}
	case *Outcome:
		*p = OutcomeExited + Outcome(m.IntN(4))
	case *Reason:
		*p = Reason(1 + m.IntN(int(reasonEnd)-1))
	default:
		m.fillKind(v)
	}
	m.repair(v)
}

func (m maker) fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			m.fill(v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			v.Index(i).SetUint(m.Uint64() & 0xff)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+m.IntN(4), 4))
		for i := range v.Len() {
			m.fill(v.Index(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		m.fill(v.Elem())
	case reflect.String:
		v.SetString(m.word())
	case reflect.Bool:
		v.SetBool(m.IntN(2) == 1)
	case reflect.Int:
		v.SetInt(1 + m.Int64N(100))
	case reflect.Uint8:
		v.SetUint(m.Uint64() & 0xff)
	case reflect.Uint32:
		v.SetUint(1 + m.Uint64N(1000))
	case reflect.Uint64:
		v.SetUint(1 + m.Uint64N(maxBytes))
	default:
		panic(fmt.Sprintf("no random %s", v.Type()))
	}
}

// repair makes fields agree that depend on each other.
func (m maker) repair(v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *Program:
		p.Env = []string{"A=" + m.word(), "B", "ü=x=y"}
		p.Env[1] += "="
		p.Outputs = []string{"/out/" + m.word(), "/tmp"}
	case *Task:
		p.Count = 1 + m.IntN(MaxTasks)
		p.Index = m.IntN(p.Count)
	case *Advert:
		p.FreeSlots = min(p.Slots, p.FreeSlots)
	case *Answer:
		if p.Outcome != OutcomeExited {
			p.ExitCode = 0
		}
		if p.Outcome != OutcomeTrapped && p.Outcome != OutcomeInvalid {
			p.Trap = ""
		}
	case *Specification:
		p.Comparator = ComparatorExact
	case *[]string:
		slices.Sort(*p)
	}
}

func (m maker) cid() CID {
	c := RawCID([]byte(m.word()))
	if m.IntN(2) == 1 {
		c.codec = codecDagPB
	}
	return c
}

func (m maker) word() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_./ éж中"
	runes := []rune(letters)
	out := make([]rune, 1+m.IntN(12))
	for i := range out {
		out[i] = runes[m.IntN(len(runes))]
	}
	out[0], out[len(out)-1] = 'w', 'd' // guest paths neither begin nor end in a dot or slash
	return string(bytes.ReplaceAll(bytes.ReplaceAll([]byte(string(out)), []byte("/"), nil), []byte(".."), nil))
}

// frameKinds is how many kinds of lease frames there are.
const frameKinds = 13

// frame gives a random valid frame of the n-th kind.
func (m maker) frame(n int) (f Frame) {
	e := make1[ExecutionID](m)
	switch n % frameKinds {
	case 0:
		f.Award = new(make1[AwardFrame](m))
	case 1:
		f.Reply = new(make1[AwardReply](m))
	case 2:
		f.Task = new(make1[Assignment](m))
	case 3:
		f.Answer = new(make1[AnswerFrame](m))
	case 4:
		f.Failure = new(make1[Failure](m))
	case 5:
		f.Ack = new(make1[Ack](m))
	case 6:
		f.Cancel = &e
	case 7:
		f.Log = new(make1[Log](m))
	case 8:
		f.Started = &e
	case 9:
		f.Ping = true
	case 10:
		f.Release = true
	case 11:
		f.Attach = new(make1[Attach](m))
	case 12:
		f.Progress = new(make1[Progress](m))
	}
	return f
}
