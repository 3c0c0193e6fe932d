package main

import (
	"bytes"
	"encoding/json"
	"sort"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// An object is a JSON object whose keys keep their order.
type object []member

type member struct {
	key   string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		k, err := json.Marshal(m.key)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(k)
		b.WriteByte(':')
		b.Write(v)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plain gives a message of the control API as its JSON form for scripts: every
// field under its name in api.proto, in that order, whether set or not; numbers
// are numbers (where proto's own JSON makes text of 64-bit ones), bytes are
// base64, an absent message is null, an absent list is [].
func plain(m proto.Message) any {
	return plainMessage(m.ProtoReflect())
}

func plainMessage(m protoreflect.Message) any {
	if !m.IsValid() {
		return nil
	}
	fields := m.Descriptor().Fields()
	o := make(object, 0, fields.Len())
	for i := range fields.Len() {
		f := fields.Get(i)
		o = append(o, member{string(f.Name()), plainField(f, m.Get(f))})
	}
	return o
}

func plainField(f protoreflect.FieldDescriptor, v protoreflect.Value) any {
	switch {
	case f.IsMap():
		return plainMap(v.Map())
	case f.IsList():
		out := make([]any, v.List().Len())
		for i := range out {
			out[i] = plainValue(v.List().Get(i))
		}
		return out
	}
	return plainValue(v)
}

func plainMap(m protoreflect.Map) object {
	o := make(object, 0, m.Len())
	m.Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
		o = append(o, member{k.String(), plainValue(v)})
		return true
	})
	sort.Slice(o, func(i, j int) bool { return o[i].key < o[j].key })
	return o
}

func plainValue(v protoreflect.Value) any {
	if m, ok := v.Interface().(protoreflect.Message); ok {
		return plainMessage(m)
	}
	return v.Interface()
}

// plainList gives messages as a JSON list.
func plainList[M proto.Message](ms []M) []any {
	out := make([]any, len(ms))
	for i, m := range ms {
		out[i] = plain(m)
	}
	return out
}
