package executor

import (
	"encoding/binary"
	"strings"
)

// A genOp is a plain instruction: what it takes and gives, a letter for each
// type: i, l, f, d, v. What it gives may be a NaN of any pattern where nans is a
// shape: f, d, or F, D for the lanes of a vector.
type genOp struct {
	code []byte
	in   string
	out  byte
	nans byte
}

// plainOps lists the instructions without immediates but lanes.
func plainOps() (list []genOp) {
	add := func(nans byte, sig string, prefix []byte, from, to int) {
		for c := from; c <= to; c++ {
			in, out, _ := strings.Cut(sig, ">")
			list = append(list, genOp{append(prefix[:len(prefix):len(prefix)], binary.AppendUvarint(nil, uint64(c))...), in, out[0], nans})
		}
	}
	one := func(nans byte, sig string, from, to int) {
		for c := from; c <= to; c++ {
			in, out, _ := strings.Cut(sig, ">")
			list = append(list, genOp{[]byte{byte(c)}, in, out[0], nans})
		}
	}
	for _, o := range []struct {
		nans     byte
		sig      string
		from, to int
	}{
		{0, "i>i", 0x45, 0x45}, {0, "ii>i", 0x46, 0x4f}, {0, "l>i", 0x50, 0x50}, {0, "ll>i", 0x51, 0x5a}, {0, "ff>i", 0x5b, 0x60}, {0, "dd>i", 0x61, 0x66},
		{0, "i>i", 0x67, 0x69}, {0, "ii>i", 0x6a, 0x6c}, {0, "ii>i", 0x6e, 0x6e}, {0, "ii>i", 0x71, 0x78}, {0, "l>l", 0x79, 0x7b}, {0, "ll>l", 0x7c, 0x7e}, {0, "ll>l", 0x83, 0x8a},
		{0, "f>f", 0x8b, 0x8c}, {'f', "f>f", 0x8d, 0x91}, {'f', "ff>f", 0x92, 0x97}, {0, "ff>f", 0x98, 0x98},
		{0, "d>d", 0x99, 0x9a}, {'d', "d>d", 0x9b, 0x9f}, {'d', "dd>d", 0xa0, 0xa5}, {0, "dd>d", 0xa6, 0xa6},
		{0, "l>i", 0xa7, 0xa7}, {0, "i>l", 0xac, 0xad}, {0, "i>f", 0xb2, 0xb3}, {0, "l>f", 0xb4, 0xb5}, {'f', "d>f", 0xb6, 0xb6}, {0, "i>d", 0xb7, 0xb8},
		{0, "l>d", 0xb9, 0xba}, {'d', "f>d", 0xbb, 0xbb}, {0, "f>i", 0xbc, 0xbc}, {0, "d>l", 0xbd, 0xbd}, {0, "i>f", 0xbe, 0xbe}, {0, "l>d", 0xbf, 0xbf},
		{0, "i>i", 0xc0, 0xc1}, {0, "l>l", 0xc2, 0xc4},
	} {
		one(o.nans, o.sig, o.from, o.to)
	}
	for _, o := range []struct {
		nans     byte
		sig      string
		from, to int
	}{
		{0, "vv>v", 14, 14}, {0, "i>v", 15, 17}, {0, "l>v", 18, 18}, {0, "f>v", 19, 19}, {0, "d>v", 20, 20}, {0, "vv>v", 35, 76}, {0, "v>v", 77, 77}, {0, "vv>v", 78, 81},
		{0, "vvv>v", 82, 82}, {0, "v>i", 83, 83}, {'F', "v>v", 94, 94}, {'D', "v>v", 95, 95}, {0, "v>v", 96, 98}, {0, "v>i", 99, 100}, {0, "vv>v", 101, 102},
		{'F', "v>v", 103, 106}, {0, "vi>v", 107, 109}, {0, "vv>v", 110, 115}, {'D', "v>v", 116, 117}, {0, "vv>v", 118, 121}, {'D', "v>v", 122, 122}, {0, "vv>v", 123, 123},
		{0, "v>v", 124, 129}, {0, "vv>v", 130, 130}, {0, "v>i", 131, 132}, {0, "vv>v", 133, 134}, {0, "v>v", 135, 138}, {0, "vi>v", 139, 141}, {0, "vv>v", 142, 147},
		{'D', "v>v", 148, 148}, {0, "vv>v", 149, 153}, {0, "vv>v", 155, 159}, {0, "v>v", 160, 161}, {0, "v>i", 163, 164}, {0, "v>v", 167, 170}, {0, "vi>v", 171, 173},
		{0, "vv>v", 174, 174}, {0, "vv>v", 177, 177}, {0, "vv>v", 181, 186}, {0, "vv>v", 188, 191}, {0, "v>v", 192, 193}, {0, "v>i", 195, 196}, {0, "v>v", 199, 202},
		{0, "vi>v", 203, 205}, {0, "vv>v", 206, 206}, {0, "vv>v", 209, 209}, {0, "vv>v", 213, 223}, {0, "v>v", 224, 225}, {'F', "v>v", 227, 227}, {'F', "vv>v", 228, 233},
		{0, "vv>v", 234, 235}, {0, "v>v", 236, 237}, {'D', "v>v", 239, 239}, {'D', "vv>v", 240, 245}, {0, "vv>v", 246, 247}, {0, "v>v", 248, 255},
	} {
		add(o.nans, o.sig, []byte{0xfd}, o.from, o.to)
	}
	for i, sig := range []string{"f>i", "f>i", "d>i", "d>i", "f>l", "f>l", "d>l", "d>l"} {
		add(0, sig, []byte{0xfc}, i, i)
	}
	return append(list, []genOp{
		{[]byte{0xfd, 21, 5}, "v", 'i', 0}, {[]byte{0xfd, 27, 1}, "v", 'i', 0}, {[]byte{0xfd, 29, 1}, "v", 'l', 0}, {[]byte{0xfd, 31, 2}, "v", 'f', 0}, {[]byte{0xfd, 33, 0}, "v", 'd', 0},
		{[]byte{0xfd, 28, 3}, "vi", 'v', 0}, {[]byte{0xfd, 30, 0}, "vl", 'v', 0}, {[]byte{0xfd, 32, 1}, "vf", 'v', 0}, {[]byte{0xfd, 34, 1}, "vd", 'v', 0},
		{[]byte{0xfd, 13, 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31}, "vv", 'v', 0},
	}...)
}

// genFloats and genDoubles are the bits of floats that matter.
var (
	genFloats = []uint32{0, 1 << 31, 0x3f800000, 0xbfc00000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7fa00001, 0xff812345, 0x7fc54321, 0xffffffff, 1, 0x7f7fffff, 0x4f000000}
	genWides  = []uint64{0, 1 << 63, 0x3ff0000000000000, 0xbff8000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000,
		0x7ff4000000000001, 0xfff0000012345678, 0x7ff8000087654321, 0xffffffffffffffff, 1, 0x7fefffffffffffff, 0x41e0000000000000}
)

func (g *generator) constant(t byte) {
	narrow, wide := genFloats[g.IntN(len(genFloats))], genWides[g.IntN(len(genWides))]
	switch t {
	case 'i':
		g.i32([]int32{0, 1, -1, 7, int32(narrow), 64}[g.IntN(6)])
	case 'l':
		g.out = appendSLEB(append(g.out, 0x42), []int64{0, 1, -1, int64(narrow), int64(wide)}[g.IntN(5)])
	case 'f':
		g.out = binary.LittleEndian.AppendUint32(append(g.out, 0x43), narrow)
	case 'd':
		g.out = binary.LittleEndian.AppendUint64(append(g.out, 0x44), wide)
	default:
		g.emit(0xfd, 12)
		g.out = binary.LittleEndian.AppendUint64(g.out, wide)
		g.out = binary.LittleEndian.AppendUint32(g.out, narrow)
		g.out = binary.LittleEndian.AppendUint32(g.out, genFloats[g.IntN(len(genFloats))])
	}
}
