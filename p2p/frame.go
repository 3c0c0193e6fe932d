package p2p

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Why a message did not arrive.
var (
	// ErrTooLarge says that a message is over the size agreed for it.
	ErrTooLarge = errors.New("message too large")
	// ErrTimeout says that the peer was too slow.
	ErrTimeout = errors.New("peer too slow")
	// ErrReset says that the peer, or the connection, cut a stream off.
	ErrReset = errors.New("stream cut off")
	// ErrNotSpoken says that the peer does not speak a protocol.
	ErrNotSpoken = errors.New("protocol not spoken by the peer")
	// ErrFrame says that the bytes are not a length and a message.
	ErrFrame = errors.New("malformed frame")
)

// firstAlloc bounds what a length alone, without the bytes it promises, makes us
// set aside.
const firstAlloc = 64 << 10

// readFrame reads a length and that many bytes, at most max, into buf if they
// fit there. It returns io.EOF if nothing is left, and io.ErrUnexpectedEOF if
// the message stops half way.
func readFrame(r *bufio.Reader, max int, buf []byte) ([]byte, error) {
	size, err := binary.ReadUvarint(r)
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return nil, err
	case err != nil && isOverflow(err):
		return nil, fmt.Errorf("%w: %v", ErrFrame, err)
	case err != nil:
		return nil, err
	case size > uint64(max):
		return nil, fmt.Errorf("%w: %d bytes; at most %d", ErrTooLarge, size, max)
	}
	return readBody(r, int(size), buf)
}

// isOverflow tells the only error that ReadUvarint makes itself, which has no
// name, from those of the reader.
func isOverflow(err error) bool { return err.Error() == "binary: varint overflows a 64-bit integer" }

func readBody(r io.Reader, size int, buf []byte) ([]byte, error) {
	if size <= cap(buf) {
		buf = buf[:size]
		return buf, readFull(r, buf)
	}
	buf = make([]byte, min(size, firstAlloc))
	for have := 0; ; {
		if err := readFull(r, buf[have:]); err != nil {
			return nil, err
		}
		if have = len(buf); have == size {
			return buf, nil
		}
		grown := make([]byte, min(size, 4*have))
		copy(grown, buf)
		buf = grown
	}
}

func readFull(r io.Reader, buf []byte) error {
	_, err := io.ReadFull(r, buf)
	if err == io.EOF && len(buf) > 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// appendFrame appends the length of msg and msg to dst.
func appendFrame(dst, msg []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(msg))), msg...)
}
