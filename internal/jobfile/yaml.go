package jobfile

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser's time grows with the square of both; a job needs a fraction.
const (
	maxKeys  = 8192
	maxDepth = 32 // of brackets, braces, and dashes in one line
)

// parseYAML gives the one document of data. It bounds what the parser is shown,
// and refuses the parts of YAML by which a small file becomes a large value, or
// a plain word something else: anchors, aliases, tags, merge keys, directives.
func parseYAML(data []byte) (ast.Node, *Fault) {
	if len(data) > MaxFile {
		return nil, &Fault{Text: fmt.Sprintf("%d bytes; a job specification has at most %d (large data belongs in inputs)", len(data), MaxFile)}
	}
	if i := invalid(data); i >= 0 {
		return nil, &Fault{Text: fmt.Sprintf("byte %d is not text in UTF-8: is this a job specification?", i)}
	}
	tokens := lexer.Tokenize(string(data))
	if f := checkTokens(tokens); f != nil {
		return nil, f
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil, syntaxFault(err)
	}
	if len(file.Docs) != 1 || file.Docs[0].Body == nil {
		return nil, &Fault{Text: fmt.Sprintf("%d YAML documents with content; a job specification is exactly one", documents(file))}
	}
	return file.Docs[0].Body, nil
}

// invalid gives the place of the first byte that is no text, or -1.
func invalid(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if (r == utf8.RuneError && n == 1) || (r < ' ' && r != '\n' && r != '\r' && r != '\t') {
			return i
		}
		i += n
	}
	return -1
}

func documents(f *ast.File) (n int) {
	for _, d := range f.Docs {
		if d.Body != nil {
			n++
		}
	}
	return n
}

var refused = map[token.Type]string{
	token.AnchorType:     "anchors (&name)",
	token.AliasType:      "aliases (*name)",
	token.TagType:        "tags (!name)",
	token.MergeKeyType:   "merge keys (<<)",
	token.DirectiveType:  "directives (%)",
	token.MappingKeyType: "complex keys (?)",
}

func checkTokens(ts token.Tokens) *Fault {
	keys, depth, dashes, line := 0, 0, 0, 0
	for _, t := range ts {
		if t.Position.Line != line {
			dashes, line = 0, t.Position.Line
		}
		switch t.Type {
		case token.MappingValueType:
			keys++
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		switch what := refused[t.Type]; {
		case what != "":
			return fault(t, what+" are not part of a job specification; quote the text if it is meant literally")
		case keys > maxKeys:
			return fault(t, fmt.Sprintf("more than %d keys", maxKeys))
		case depth > maxDepth || dashes > maxDepth:
			return fault(t, fmt.Sprintf("more than %d levels of lists and mappings", maxDepth))
		}
	}
	return nil
}

func fault(t *token.Token, text string) *Fault {
	return &Fault{Line: t.Position.Line, Column: t.Position.Column, Text: text}
}

func syntaxFault(err error) *Fault {
	var ye yaml.Error
	if errors.As(err, &ye) && ye.GetToken() != nil {
		return fault(ye.GetToken(), ye.GetMessage())
	}
	return &Fault{Text: err.Error()}
}
