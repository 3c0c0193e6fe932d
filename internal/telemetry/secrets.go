package telemetry

import (
	"regexp"
	"slices"
	"strings"
)

// A form is a way to know a secret by how it looks.
type form struct {
	hints []string // one of which is in every match: looking for them is fast
	find  *regexp.Regexp
	put   string
}

// secretWords are what a name has in it whose value is not told. "args" and the
// standard streams are what users give to programs, and programs to users.
const secretWords = `(?:pass(?:word|wd|phrase)?|secrets?|tokens?|api[-_.]?keys?|access[-_.]?keys?|auth|authorization|cookies?|credentials?|` +
	`private|priv[-_.]?keys?|private[-_.]?keys?|signing[-_.]?keys?|identity[-_.]?keys?|headers?|sessions?|signature|` +
	`env|environ|environment|args|arguments|argv|cmdline|stdin|stdout|stderr|seed)`

// secretHints are such that one of them, in lower case, is in every name that
// keyName and joinedName match.
var secretHints = []string{
	"pass", "secret", "token", "key", "auth", "cookie", "credential", "priv", "header", "session", "signature", "env", "arg", "cmdline", "std", "seed",
}

// keyName matches a name with one of these words in it, as a word of its own:
// "db_password" and "apiKey", and not "passed" or "environments_total".
// A dot after the word is left to keys of JSON, as "auth.go:12" is a place.
const keyName = `(?:[A-Za-z0-9]+[-_.])*` + secretWords + `(?:[-_][A-Za-z0-9]+)*`

// anyKey matches a name in a line, with what parts it from its value. The line may
// be quoted once more, so that backslashes stand before quotes, and for new lines.
const anyKey = `(?i)((?:^|[^A-Za-z0-9_.-]|\\[nrt])(?:\\*["'])?(?:` + keyName + `|` + joinedName + `)(?:\\*["'])?\s*[:=]\s*)`

// joinedName matches names that are written together.
const joinedName = `[A-Za-z0-9]*(?:password|secret|token|apikey|privkey|privatekey|credential)[A-Za-z0-9]*`

const address4 = `\b\d{1,3}(?:\.\d{1,3}){3}\b`

var (
	secretKey = regexp.MustCompile(`(?i)^(?:` + keyName + `|` + joinedName + `)(?:\.[a-z0-9_.-]+)?$`)

	// keyedValue is "name: value" or "name=value", with or without quotes; an
	// unquoted value after a colon goes on to the end of the line.
	keyedValue = regexp.MustCompile(anyKey + `("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s{\[][^\r\n]*)`)
	// flowValue is "name: {...}" or "name: [...]", to the end of the line.
	flowValue = regexp.MustCompile(anyKey + `[{\[][^\r\n]*`)
	// blockKey is a name with nothing, or an open bracket, after it: what is indented
	// below belongs to it.
	blockKey = regexp.MustCompile(anyKey + `(?:[|>][+-]?|[{\[][^}\]]*)?\s*$`)

	pemBlock = regexp.MustCompile(`(?s)-----BEGIN [A-Z0-9 ]*-----.*?(?:-----END [A-Z0-9 ]*-----|\z)`)

	forms = []form{
		{[]string{"earer", "EARER"}, regexp.MustCompile(`(?i)\b(bearer)\s+[A-Za-z0-9+/._~=-]{6,}`), "$1 " + redacted},
		{[]string{"://"}, regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/@"']+@`), "${1}" + redacted + "@"},
		{[]string{"://"}, regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://[^\s?#"']+)[?#][^\s"'\\]+`), "${1}?" + redacted},
		{
			[]string{"gh", "glpat-", "xox", "sk-", "npm_", "pypi-", "dop_v1_", "hf_"},
			regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|npm_|pypi-|dop_v1_|hf_)[A-Za-z0-9_-]{16,}`), redacted,
		},
		{[]string{"AKIA", "ASIA"}, regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`), redacted},
		{[]string{"AIza"}, regexp.MustCompile(`\bAIza[A-Za-z0-9_-]{30,}`), redacted},
		{[]string{"eyJ"}, regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)?`), redacted},
		{[]string{"AGE-SECRET-KEY-"}, regexp.MustCompile(`\bAGE-SECRET-KEY-1[A-Z0-9]+`), redacted},
		// A libp2p private key: a protobuf of type Ed25519 (08 01) and 64 bytes (12 40).
		{[]string{"CAESQ"}, regexp.MustCompile(`\bCAESQ[A-Za-z0-9+/_-]{80,}={0,2}`), redacted},
		{[]string{"/home/", "/Users/"}, regexp.MustCompile(`(/(?:home|Users)/)[^/\s"':,]+`), "${1}[user]"},
	}

	hostName = regexp.MustCompile(`/dns(?:4|6|addr)?/[A-Za-z0-9._-]+`)
	// address is what may be one; what it is not, the parser tells.
	address  = regexp.MustCompile(`[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*[0-9A-Fa-f:]|` + address4)
	onlyIPv4 = regexp.MustCompile(address4)
)

// hasAny tells whether one of hints is in s.
func hasAny(s string, hints []string) bool {
	return slices.ContainsFunc(hints, func(hint string) bool { return strings.Contains(s, hint) })
}

// longHex is how many digits of hexadecimal in a row are taken for a private key:
// those of 64 bytes. Ids here have 32.
const longHex = 128

// cutHex replaces runs of digits that are that long.
func cutHex(s string) (out string, n int) {
	var b strings.Builder
	from := 0 // of s that is not yet in b
	for start := 0; start < len(s); {
		end := start
		for end < len(s) && isHex(s[end]) {
			end++
		}
		if end-start >= longHex {
			b.WriteString(s[from:start])
			b.WriteString(redacted)
			from, n = end, n+1
		}
		start = end + 1
	}
	if n == 0 {
		return s, 0
	}
	b.WriteString(s[from:])
	return b.String(), n
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F' }
