package executor

import "slices"

const (
	inputBlock  = 128 << 10 // a guest that reads a byte here and a byte there costs as much for each
	inputBlocks = 64        // kept; a guest that merges that many files reads each block once
)

// inputs reads input files through a small cache of blocks, the most recently
// used last.
type inputs struct {
	sizes  func(file uint32) int64
	fetch  fetcher // at most maxRead bytes
	blocks []inputBuf
}

type inputBuf struct {
	file  uint32
	block int64
	data  []byte
}

// readAt is a fetcher.
func (in *inputs) readAt(file uint32, p []byte, off int64) {
	for len(p) > 0 {
		b := in.block(file, off/inputBlock)
		n := copy(p, b[off%inputBlock:])
		p, off = p[n:], off+int64(n)
	}
}

func (in *inputs) block(file uint32, block int64) []byte {
	i := slices.IndexFunc(in.blocks, func(b inputBuf) bool { return b.file == file && b.block == block })
	if i >= 0 {
		b := in.blocks[i]
		copy(in.blocks[i:], in.blocks[i+1:])
		in.blocks[len(in.blocks)-1] = b
		return b.data
	}
	b := inputBuf{file: file, block: block}
	if len(in.blocks) == inputBlocks {
		b.data = in.blocks[0].data
		in.blocks = append(in.blocks[:0], in.blocks[1:]...)
	}
	n := min(inputBlock, in.sizes(file)-block*inputBlock)
	b.data = slices.Grow(b.data[:0], int(n))[:n]
	in.fetch(file, b.data, block*inputBlock)
	in.blocks = append(in.blocks, b)
	return b.data
}
