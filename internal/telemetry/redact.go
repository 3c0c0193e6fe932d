package telemetry

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// A Redactor takes secrets out of text. It knows some by their value, others by
// the name before them, the rest by their form; and it numbers addresses. It
// belongs to one bundle, and to one goroutine.
type Redactor struct {
	known     *strings.Replacer // nil: none
	addresses map[string]int
	hosts     map[string]int
	count     int // places redacted
}

const redacted = "[redacted]"

// minSecret is the shortest value that is looked for by itself, in bytes: a
// shorter one is found everywhere.
const minSecret = 6

// NewRedactor makes a redactor that takes out these values above all, whether
// they are written as they are, or as hexadecimal or base64: the node's private
// key, with and without its encoding, and headers for a collector. One of less
// than 6 bytes is passed over.
func NewRedactor(secrets ...[]byte) *Redactor {
	r := &Redactor{addresses: map[string]int{}, hosts: map[string]int{}}
	var pairs []string
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			for _, form := range spellings(secret) {
				pairs = append(pairs, form, redacted)
			}
		}
	}
	if len(pairs) > 0 {
		r.known = strings.NewReplacer(pairs...)
	}
	return r
}

// spellings gives what to look for so that a value is found in any encoding, the
// longest first. Of base64 it is the part that does not hang on what stands before
// and after the value.
func spellings(secret []byte) []string {
	list := []string{string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret))}
	if quoted, err := json.Marshal(string(secret)); err == nil {
		list = append(list, string(quoted[1:len(quoted)-1]))
	}
	for shift := range 3 {
		padded := append(make([]byte, shift), secret...)
		padded = padded[:len(padded)/3*3]
		skip := (shift*8 + 5) / 6 // characters with bits of what stands before
		for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if text := enc.EncodeToString(padded)[skip:]; len(text) >= minSecret {
				list = append(list, text)
			}
		}
	}
	return list
}

// part redacts a part, in the way that suits its form.
func (r *Redactor) part(p Part) []byte {
	if strings.HasSuffix(p.Name, ".json") {
		if out, ok := r.json(p.Data); ok && len(out) <= maxPart {
			return out
		}
	}
	// Shortened last: half a secret could not be known for one.
	return shorten(p.Name, []byte(r.lines(string(p.Data))))
}

// json redacts one JSON value, and lays it out for people. It gives false if data
// is something else.
func (r *Redactor) json(data []byte) ([]byte, bool) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil, false
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if enc.Encode(r.value(v)) != nil {
		return nil, false
	}
	return out.Bytes(), true
}

// value redacts what a JSON value holds.
func (r *Redactor) value(v any) any {
	switch v := v.(type) {
	case string:
		return r.lines(v)
	case []any:
		for i := range v {
			v[i] = r.value(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			// A key may be an address or a secret, too.
			if secretKey.MatchString(key) {
				out[r.lines(key)] = r.hide(item)
			} else {
				out[r.lines(key)] = r.value(item)
			}
		}
		return out
	}
	return v
}

// hide puts a mark in the place of a value, and keeps what says nothing: that
// there is none.
func (r *Redactor) hide(v any) any {
	switch v := v.(type) {
	case nil, bool:
		return v
	case string:
		if v == "" {
			return v
		}
	case []any:
		if len(v) == 0 {
			return v
		}
	case map[string]any:
		if len(v) == 0 {
			return v
		}
	}
	r.count++
	return redacted
}

// lines redacts text that may have lines of JSON in it, blocks of YAML, and
// settings after their names.
func (r *Redactor) lines(s string) string {
	s = r.replace(pemBlock, r.replaceKnown(s), redacted)
	lines := strings.SplitAfter(s, "\n")
	block := -1 // indentation of the key whose block is being left out
	for i, line := range lines {
		body := strings.TrimRight(line, "\r\n")
		indent := len(body) - len(strings.TrimLeft(body, " \t-"))
		if block >= 0 && strings.TrimSpace(body) != "" && indent <= block {
			block = -1
		}
		switch {
		case block >= 0:
			if strings.TrimSpace(body) != "" {
				r.count++
				body = strings.Repeat(" ", indent) + redacted
			}
		case namesSecret(body) && blockKey.MatchString(body):
			block = indent
			body = r.line(body)
		default:
			body = r.line(body)
		}
		lines[i] = body + line[len(strings.TrimRight(line, "\r\n")):]
	}
	return r.text(strings.Join(lines, ""))
}

// line redacts settings after their names in one line.
func (r *Redactor) line(s string) string {
	if strings.HasPrefix(strings.TrimSpace(s), "{") {
		if out, ok := r.json([]byte(s)); ok {
			var flat bytes.Buffer
			if json.Compact(&flat, out) == nil {
				return flat.String()
			}
		}
	}
	if !namesSecret(s) {
		return s
	}
	s = r.replace(flowValue, s, "${1}"+redacted)
	return r.replace(keyedValue, s, "${1}"+redacted)
}

// namesSecret tells, fast, of most lines that nothing in them is named like a
// secret.
func namesSecret(line string) bool {
	return strings.ContainsAny(line, ":=") && hasAny(strings.ToLower(line), secretHints)
}

// text redacts what is known by its form, and numbers addresses.
func (r *Redactor) text(s string) string {
	for _, f := range forms {
		if hasAny(s, f.hints) {
			s = r.replace(f.find, s, f.put)
		}
	}
	s, n := cutHex(s)
	r.count += n
	if strings.Contains(s, "/dns") {
		s = hostName.ReplaceAllStringFunc(s, r.host)
	}
	if !strings.ContainsAny(s, ".:") {
		return s
	}
	return address.ReplaceAllStringFunc(s, r.address)
}

func (r *Redactor) replaceKnown(s string) string {
	if r.known == nil {
		return s
	}
	out := r.known.Replace(s)
	if out != s {
		r.count++
	}
	return out
}

func (r *Redactor) replace(find *regexp.Regexp, s, put string) string {
	if n := len(find.FindAllStringIndex(s, -1)); n > 0 {
		r.count += n
		return find.ReplaceAllString(s, put)
	}
	return s
}

// host numbers the name of a host in a multiaddress.
func (r *Redactor) host(s string) string {
	at := strings.LastIndexByte(s, '/') + 1
	return s[:at] + fmt.Sprintf("[host-%d]", number(r.hosts, strings.ToLower(s[at:])))
}

// address numbers what may be an IP address. Colons around it may be of the text.
func (r *Redactor) address(s string) string {
	if ip, err := netip.ParseAddr(s); err == nil {
		return r.numbered(s, ip)
	}
	inner := strings.TrimSuffix(s, ":")
	if ip, err := netip.ParseAddr(inner); err == nil {
		return r.numbered(inner, ip) + s[len(inner):]
	}
	inner = strings.TrimPrefix(inner, ":")
	if ip, err := netip.ParseAddr(inner); err == nil && len(inner) < len(s) {
		return strings.Replace(s, inner, r.numbered(inner, ip), 1)
	}
	return onlyIPv4.ReplaceAllStringFunc(s, func(part string) string {
		ip, err := netip.ParseAddr(part)
		if err != nil {
			return part
		}
		return r.numbered(part, ip)
	})
}

// numbered gives the number of an address, or s if the address says nothing about
// whose it is.
func (r *Redactor) numbered(s string, ip netip.Addr) string {
	ip = ip.Unmap()
	if ip.IsLoopback() || ip.IsPrivate() || ip.IsUnspecified() || ip.IsLinkLocalUnicast() || ip.IsMulticast() {
		return s
	}
	return fmt.Sprintf("[ip-%d]", number(r.addresses, ip.String()))
}

func number(seen map[string]int, s string) int {
	if _, ok := seen[s]; !ok {
		seen[s] = len(seen) + 1
	}
	return seen[s]
}
