package proto

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// How many fields, at all depths together, a message may have before it is
// taken apart. A field of two bytes becomes a hundred in memory; without a bound,
// a frame of 4 MiB could take hundreds of MiB. docs/wire.md §1.
const (
	maxFields     = 16 << 10  // the fullest award has 8,300, the fullest frame of tasks 7,200
	maxSpecFields = 512 << 10 // MaxTasks tasks of three fields, and two programs
	scanFrom      = 4 << 10   // bytes; what is shorter cannot hold enough to matter
)

// marshal gives a message's bytes. It cannot fail on our own messages: no
// required fields, and strings are checked to be UTF-8 where they come in.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("proto: marshal %T: %v", m, err))
	}
	return b
}

func unmarshal(b []byte, m proto.Message, what string) error {
	return unmarshalUpTo(maxFields, b, m, what)
}

func unmarshalUpTo(fields int, b []byte, m proto.Message, what string) error {
	if len(b) > scanFrom {
		if n := countFields(b, m.ProtoReflect().Descriptor(), fields); n > fields {
			return fmt.Errorf("%w: %s of more than %d fields", ErrMalformed, what, fields)
		}
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %s: %v", ErrMalformed, what, err)
	}
	return nil
}

// countFields counts the fields of a message and of those inside it, giving up
// just above most. Bytes that are no message it leaves to Unmarshal to refuse.
func countFields(b []byte, d protoreflect.MessageDescriptor, most int) (n int) {
	for len(b) > 0 && n <= most {
		num, typ, tag := protowire.ConsumeTag(b)
		if tag < 0 {
			return n
		}
		size := protowire.ConsumeFieldValue(num, typ, b[tag:])
		if size < 0 {
			return n
		}
		n++
		if f := d.Fields().ByNumber(num); f != nil && f.Message() != nil && typ == protowire.BytesType {
			inner, _ := protowire.ConsumeBytes(b[tag:])
			n += countFields(inner, f.Message(), most-n)
		}
		b = b[tag+size:]
	}
	return n
}
