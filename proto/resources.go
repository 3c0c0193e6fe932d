package proto

import (
	"fmt"
	"math"
	"math/bits"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mustermesh/muster/proto/wire"
)

// Resources is what a task needs, or a provider lends. The zero value of a
// field means none.
type Resources struct {
	CPU    uint32 `json:"cpu"`    // thousandths of a core
	Memory uint64 `json:"memory"` // bytes
	Disk   uint64 `json:"disk"`   // bytes
	GPU    uint32 `json:"gpu"`    // devices
}

// Fits tells whether r can be had out of free; where not, lacking names the
// first resource that is short.
func (r Resources) Fits(free Resources) (lacking string, ok bool) {
	switch {
	case r.CPU > free.CPU:
		return "cpu", false
	case r.Memory > free.Memory:
		return "memory", false
	case r.Disk > free.Disk:
		return "disk", false
	case r.GPU > free.GPU:
		return "gpu", false
	}
	return "", true
}

// Add gives r and s together, at most the greatest number in every field.
func (r Resources) Add(s Resources) Resources {
	return Resources{addSat(r.CPU, s.CPU), addSat(r.Memory, s.Memory), addSat(r.Disk, s.Disk), addSat(r.GPU, s.GPU)}
}

// Sub gives what is left of r without s, at least zero in every field.
func (r Resources) Sub(s Resources) Resources {
	return Resources{r.CPU - min(r.CPU, s.CPU), r.Memory - min(r.Memory, s.Memory), r.Disk - min(r.Disk, s.Disk), r.GPU - min(r.GPU, s.GPU)}
}

// Times gives n times r, at most the greatest number in every field; n below
// zero counts as zero.
func (r Resources) Times(n int) Resources {
	k := uint64(max(n, 0))
	return Resources{uint32(mulSat(uint64(r.CPU), k, math.MaxUint32)), mulSat(r.Memory, k, math.MaxUint64),
		mulSat(r.Disk, k, math.MaxUint64), uint32(mulSat(uint64(r.GPU), k, math.MaxUint32))}
}

func addSat[T uint32 | uint64](a, b T) T {
	if sum := a + b; sum >= a {
		return sum
	}
	return ^T(0)
}

func mulSat(a, b, most uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi > 0 || lo > most {
		return most
	}
	return lo
}

// Limits of resources in a message: far above any machine.
const (
	maxCPU   = 1 << 20 // 1,048 cores
	maxBytes = 1 << 50
	maxGPU   = 1 << 10
)

func (r Resources) wire() *wire.Resources {
	return &wire.Resources{Cpu: r.CPU, Memory: r.Memory, Disk: r.Disk, Gpu: r.GPU}
}

func parseResources(w *wire.Resources) (Resources, error) {
	r := Resources{CPU: w.GetCpu(), Memory: w.GetMemory(), Disk: w.GetDisk(), GPU: w.GetGpu()}
	return r, r.validate()
}

func (r Resources) validate() error {
	if r.CPU > maxCPU || r.Memory > maxBytes || r.Disk > maxBytes || r.GPU > maxGPU {
		return fmt.Errorf("%w: resources out of range", ErrMalformed)
	}
	return nil
}

// An Engine says what computed a result. A profile makes results equal on all
// engines, but an engine can have a bug: so only equal ones prove each other wrong.
type Engine struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Arch    string `json:"arch"`
}

// String gives name/version/arch.
func (e Engine) String() string { return e.Name + "/" + e.Version + "/" + e.Arch }

func (e Engine) wire() *wire.Engine {
	return &wire.Engine{Name: e.Name, Version: e.Version, Arch: e.Arch}
}

// optionalEngine gives nothing for the engine of what was not computed.
func optionalEngine(e Engine) *wire.Engine {
	if e == (Engine{}) {
		return nil
	}
	return e.wire()
}

func parseEngine(w *wire.Engine) (Engine, error) {
	e := Engine{Name: w.GetName(), Version: w.GetVersion(), Arch: w.GetArch()}
	for _, s := range []string{e.Name, e.Version, e.Arch} {
		if err := checkName("engine", s, maxWord); err != nil {
			return Engine{}, err
		}
	}
	return e, nil
}

// Labels are facts that a provider states of itself, and tags on a job.
type Labels map[string]string

const (
	maxLabels     = 32
	maxLabelBytes = 1024 // of all keys and values together: they travel by gossip
	maxWord       = 64   // bytes of a name, a label's key or value
)

func (l Labels) wire() []*wire.Label {
	out := make([]*wire.Label, 0, len(l))
	for k, v := range l {
		out = append(out, &wire.Label{Key: k, Value: v})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key < out[j].Key })
	return out
}

func parseLabels(ws []*wire.Label) (Labels, error) {
	if len(ws) > maxLabels {
		return nil, fmt.Errorf("%w: %d labels", ErrMalformed, len(ws))
	}
	l := make(Labels, len(ws))
	for _, w := range ws {
		if _, twice := l[w.GetKey()]; twice {
			return nil, fmt.Errorf("%w: label %.80q twice", ErrMalformed, w.GetKey())
		}
		l[w.GetKey()] = w.GetValue()
	}
	return l, l.Validate()
}

// Validate says what is wrong with labels, ours or a stranger's: there are at
// most 32, keys are not empty, keys and values have at most 64 bytes each and
// 1024 together, and no control characters.
func (l Labels) Validate() error {
	if len(l) > maxLabels {
		return fmt.Errorf("%w: %d labels; at most %d", ErrMalformed, len(l), maxLabels)
	}
	size := 0
	for k, v := range l {
		if k == "" {
			return fmt.Errorf("%w: a label without a key", ErrMalformed)
		}
		if err := checkName("label", k, maxWord); err != nil {
			return err
		}
		if err := checkName("label", v, maxWord); err != nil {
			return err
		}
		size += len(k) + len(v)
	}
	if size > maxLabelBytes {
		return fmt.Errorf("%w: labels of %d bytes together; at most %d", ErrMalformed, size, maxLabelBytes)
	}
	return nil
}

// checkName refuses what would garble a screen, a log or a query.
func checkName(what, s string, most int) error {
	if len(s) > most {
		return fmt.Errorf("%w: %s of %d bytes, more than %d", ErrMalformed, what, len(s), most)
	}
	if strings.ContainsFunc(s, garbles) {
		return fmt.Errorf("%w: %s %.80q has a control character", ErrMalformed, what, s)
	}
	return nil
}

// garbles tells whether a terminal or a reader could be misled by r: control
// characters (C1 holds a one-byte escape), what turns the direction of text
// round, line separators, and what stands for bytes that are not UTF-8.
func garbles(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError
}

const (
	maxAddrs     = 8
	maxAddr      = 256  // bytes
	maxAddrBytes = 1536 // of all together: they travel by gossip
)

func checkAddrs(addrs []string) error {
	if len(addrs) > maxAddrs {
		return fmt.Errorf("%w: %d addresses", ErrMalformed, len(addrs))
	}
	size := 0
	for _, a := range addrs {
		if err := checkName("address", a, maxAddr); err != nil {
			return err
		}
		size += len(a)
	}
	if size > maxAddrBytes {
		return fmt.Errorf("%w: addresses of %d bytes together", ErrMalformed, size)
	}
	return nil
}

// clipAddrs takes as many addresses, from the first on, as a message may hold.
func clipAddrs(addrs []string) []string {
	out, size := make([]string, 0, min(len(addrs), maxAddrs)), 0
	for _, a := range addrs {
		if len(out) == maxAddrs || len(a) > maxAddr || size+len(a) > maxAddrBytes {
			continue
		}
		out, size = append(out, a), size+len(a)
	}
	return out
}

// Credits are microcredits: a price of one core-hour, or an amount.
type Credits uint64

const maxCredits = 1 << 53
