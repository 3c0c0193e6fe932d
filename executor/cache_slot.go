package executor

import (
	"errors"
	"io"
	"reflect"
	"unsafe"

	"github.com/tetratelabs/wazero"
)

// A codeSlot stands between wazero's compiler and its cache in a child, which
// compiles one program in its life: it holds what the compiler made, or what is
// to be taken in the place of compiling. The keys that wazero asks with do not
// matter: there is one program.
type codeSlot struct {
	stored io.Reader // compiled code to be taken; nil: compile
	made   io.Reader // what was compiled; nil: nothing yet
}

// wazeroFiles is what wazero v1.12.0 wants of a place for compiled code: its
// internal filecache.Cache, whose Key is an alias of [32]byte.
type wazeroFiles interface {
	Get(key [32]byte) (content io.ReadCloser, ok bool, err error)
	Add(key [32]byte, content io.Reader) error
	Delete(key [32]byte) error
}

var _ wazeroFiles = (*codeSlot)(nil)

var (
	errCacheMoved = errors.New("wazero has moved its cache: adapt executor/cache_slot.go to it")
	errStale      = errors.New("this is not code of this engine")
)

// slotCache gives a wazero cache that keeps its compiled code in slot. wazero
// offers only one that writes files itself, and a child has none; so this sets
// the unexported field that the other one is put into. Where a new wazero has
// another field, it gives errCacheMoved, and children compile without a cache.
func slotCache(slot wazeroFiles) (wazero.CompilationCache, error) {
	cache := wazero.NewCompilationCache()
	v := reflect.ValueOf(cache)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, errCacheMoved
	}
	field := v.Elem().FieldByName("fileCache")
	if !field.IsValid() || field.Kind() != reflect.Interface || !reflect.TypeOf(slot).Implements(field.Type()) {
		return nil, errCacheMoved
	}
	reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Set(reflect.ValueOf(slot))
	return cache, nil
}

// Get gives wazero the stored code.
func (s *codeSlot) Get([32]byte) (io.ReadCloser, bool, error) {
	if s.stored == nil {
		return nil, false, nil
	}
	return io.NopCloser(s.stored), true, nil
}

// Add takes what wazero compiled. It fails where code was to be taken: what was
// compiled then is a skeleton, whose functions do nothing.
func (s *codeSlot) Add(_ [32]byte, content io.Reader) error {
	if s.stored != nil {
		return errStale
	}
	s.made = content
	return nil
}

// take gives what was made, which is then no longer held here; nil if nothing
// was.
func (s *codeSlot) take() io.Reader {
	made := s.made
	s.made = nil
	return made
}

// Delete hears that stored code is of another version of wazero.
func (s *codeSlot) Delete([32]byte) error { return errStale }

// restored tells whether wazero took the stored code, all of it.
func (s *codeSlot) restored() error {
	var b [1]byte
	if n, err := s.stored.Read(b[:]); n != 0 || err != io.EOF {
		return errStale
	}
	return nil
}
