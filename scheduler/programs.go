package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mustermesh/muster/proto"
)

// A NamedProgram is a program that an owner allows or refuses. It is the id of
// its code that counts; the name is the owner's own word for it, and matches
// nothing that a stranger says.
type NamedProgram struct {
	Name string // may be empty
	CID  proto.CID
}

// String gives NAME=CID, or the CID alone.
func (p NamedProgram) String() string {
	if p.Name == "" {
		return p.CID.String()
	}
	return p.Name + "=" + p.CID.String()
}

const (
	maxNamed       = 1024
	maxProgramName = 40 // bytes
)

// ParsePrograms reads a list of programs: CID, NAME=CID, or the NAME of one or
// more that are known from elsewhere in the list or in known. A program can say
// any name of itself, so a name is never looked for in a job.
func ParsePrograms(texts []string, known []NamedProgram) (list []NamedProgram, err error) {
	if len(texts) > maxNamed {
		return nil, fmt.Errorf("%d programs; at most %d", len(texts), maxNamed)
	}
	var names []string
	for _, text := range texts {
		name, id, named := strings.Cut(text, "=")
		if !named {
			name, id = "", text
		}
		c, err := proto.ParseCID(id)
		switch {
		case err == nil && (!named || validName(name)):
			list = append(list, NamedProgram{name, c})
		case err == nil:
			return nil, fmt.Errorf("program %.80q: a name has 1 to %d letters, digits, dots, hyphens or underscores", text, maxProgramName)
		case named || !validName(text):
			return nil, fmt.Errorf("program %.80q: %w; write CID or NAME=CID", text, err)
		default:
			names = append(names, text)
		}
	}
	return resolve(list, names, known)
}

// resolve adds the programs that go by a name.
func resolve(list []NamedProgram, names []string, known []NamedProgram) ([]NamedProgram, error) {
	known = slices.Concat(known, list)
	for _, name := range names {
		found := false
		for _, p := range known {
			if p.Name != name {
				continue
			}
			found = true
			if !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
		if !found {
			return nil, fmt.Errorf("program %q: no program is known here by this name, and jobs' own names prove nothing; write %s=CID", name, name)
		}
	}
	if len(list) > maxNamed {
		return nil, fmt.Errorf("%d programs; at most %d", len(list), maxNamed)
	}
	return list, nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxProgramName && strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}) < 0
}

func programTexts(list []NamedProgram) (texts []string) {
	for _, p := range list {
		texts = append(texts, p.String())
	}
	return texts
}

func hasProgram(list []NamedProgram, c proto.CID) bool {
	return slices.ContainsFunc(list, func(p NamedProgram) bool { return p.CID == c })
}
