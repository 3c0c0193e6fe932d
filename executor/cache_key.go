package executor

import (
	"crypto/sha256"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/cpu"
)

// codeVersion numbers what else than what is in a codeMaker decides on compiled
// code: the engine's settings, and the form of an entry.
const codeVersion = 1

// A codeMaker is all that decides, besides the program, which code comes out of
// compiling it, and whether it runs here.
type codeMaker struct {
	version, rules  int
	engine, release string // wazero, 1.12.0
	os, arch        string
	cpu             string // every feature that this processor has: wazero looks at a few
	build           string // of this binary, with every library in it
	child           string // the file that is started as a child, where that is another binary
}

func newCodeMaker(childPath string) codeMaker {
	m := codeMaker{
		version: codeVersion, rules: ruleset, engine: engineName, release: engineVersion,
		os: runtime.GOOS, arch: runtime.GOARCH, cpu: fmt.Sprintf("%+v %+v", cpu.X86, cpu.ARM64),
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		m.build = info.String()
	}
	if info, err := os.Stat(childPath); childPath != "" && err == nil {
		m.child = fmt.Sprintf("%s %d %s", childPath, info.Size(), info.ModTime().UTC())
	}
	return m
}

// A codeKey names the code of one program made by one maker.
type codeKey [sha256.Size]byte

// key hashes what the program is, not what it is called: no name, and no content
// id, can lead to the code of other bytes.
func (m codeMaker) key(program []byte) codeKey {
	return sha256.Sum256(fmt.Appendf(nil, "muster code %+q %x", m.fields(), sha256.Sum256(program)))
}

func (m codeMaker) fields() []string {
	return []string{fmt.Sprint(m.version), fmt.Sprint(m.rules), m.engine, m.release, m.os, m.arch, m.cpu, m.build, m.child}
}
