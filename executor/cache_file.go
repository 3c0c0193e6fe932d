package executor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A file of the code cache is a header, the skeleton, the code. The header is a
// line of text, the key, the length of the skeleton and of the code as
// little-endian uint64, and the SHA-256 of all of it but itself.
const (
	codeMagic  = "muster-code 1\n\x00\x00"
	codeSuffix = ".code"
	codeHeader = int64(len(codeMagic) + 2*sha256.Size + 16)
)

var errCodeFile = errors.New("compiled program damaged on disk")

func codeName(key codeKey) string { return hex.EncodeToString(key[:]) + codeSuffix }

type nameKind int

const (
	nameForeign nameKind = iota
	nameEntry
	nameUnfinished
)

// unfinished begins the names of files that are being written.
const unfinished = ".new-"

func parseCodeName(name string) (key codeKey, kind nameKind) {
	if strings.HasPrefix(name, unfinished) {
		return key, nameUnfinished
	}
	b, err := hex.DecodeString(strings.TrimSuffix(name, codeSuffix))
	if err != nil || len(b) != len(key) || name != codeName(codeKey(b)) {
		return key, nameForeign
	}
	return codeKey(b), nameEntry
}

// preamble is the header without the digest.
func preamble(key codeKey, skeleton, code int64) []byte {
	return appendU64(appendU64(append([]byte(codeMagic), key[:]...), uint64(skeleton)), uint64(code))
}

// writeCodeFile makes the whole file appear at once. It need not survive a
// crash of the machine: a file that is half there does not match its digest.
func writeCodeFile(path string, key codeKey, code *compiled) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), unfinished+"*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	n := int64(len(code.skeleton))
	head := preamble(key, n, code.size()-n)
	digest := sha256.New()
	pieces := append([][]byte{head, code.skeleton}, code.parts...)
	for _, p := range pieces {
		digest.Write(p)
	}
	pieces[0] = digest.Sum(head)
	for _, p := range pieces {
		if _, err := f.Write(p); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// A codeStream is an entry as it is read: first its skeleton, then its code.
// Whether it is what was written is known only once all of it has been read;
// until then, what is made of it may be loaded but not run.
type codeStream struct {
	skeleton []byte
	r        io.Reader // the code
	file     *os.File
	digest   hash.Hash
	want     []byte
}

// streamOf gives an entry that is in memory.
func streamOf(code *compiled) *codeStream {
	readers := make([]io.Reader, len(code.parts))
	for i, p := range code.parts {
		readers[i] = bytes.NewReader(p)
	}
	return &codeStream{skeleton: code.skeleton, r: io.MultiReader(readers...)}
}

func openCodeFile(path string, key codeKey) (*codeStream, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &codeStream{file: f, digest: sha256.New()}
	if err := s.begin(key); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// begin reads up to the code.
func (s *codeStream) begin(key codeKey) error {
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	head := make([]byte, codeHeader)
	if _, err := io.ReadFull(s.file, head); err != nil {
		return fmt.Errorf("%w: %w", errCodeFile, err)
	}
	d := decoder{b: head[len(codeMagic)+len(key):]}
	bones, code := int64(d.u64()), int64(d.u64())
	room := info.Size() - codeHeader
	if bones < 0 || bones > room || code != room-bones || !bytes.HasPrefix(head, preamble(key, bones, code)) {
		return fmt.Errorf("%w: header", errCodeFile)
	}
	s.want = d.take(sha256.Size)
	s.digest.Write(preamble(key, bones, code))
	s.r = io.TeeReader(io.LimitReader(s.file, room), s.digest)
	s.skeleton = make([]byte, bones)
	if _, err := io.ReadFull(s.r, s.skeleton); err != nil {
		return fmt.Errorf("%w: %w", errCodeFile, err)
	}
	return nil
}

// Read reads the code.
func (s *codeStream) Read(p []byte) (int, error) { return s.r.Read(p) }

// check tells whether all that was read is what was written.
func (s *codeStream) check() error {
	if s.digest != nil && !bytes.Equal(s.digest.Sum(nil), s.want) {
		return fmt.Errorf("%w: digest", errCodeFile)
	}
	return nil
}

func (s *codeStream) close() {
	if s.file != nil {
		s.file.Close()
	}
}
