package telemetry

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// unpack gives the files of a bundle.
func unpack(t *testing.T, bundle []byte) map[string]string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(bundle))
	if err != nil {
		t.Fatal(err)
	}
	files, archive := map[string]string{}, tar.NewReader(zip)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(h.Name, bundleFolder)
		if !ok || h.Mode != 0o600 {
			t.Errorf("%s has mode %o", h.Name, h.Mode)
		}
		files[name] = string(b)
	}
}

func bundle(t *testing.T, parts []Part, secrets ...[]byte) map[string]string {
	t.Helper()
	var out bytes.Buffer
	if err := WriteBundle(&out, parts, NewRedactor(secrets...)); err != nil {
		t.Fatal(err)
	}
	return unpack(t, out.Bytes())
}

var key = []byte{0x9e, 0x01, 0xff, 0x3c, 0x77, 0x80, 0x12, 0xab, 0xcd, 0xef, 0x55, 0x66, 0x31, 0x32, 0x33, 0x34,
	0x9f, 0x02, 0xfe, 0x3d, 0x78, 0x81, 0x13, 0xac, 0xce, 0xee, 0x56, 0x67, 0x35, 0x36, 0x37, 0x38}

// planted are secrets as they come to be in a text, each with what must not be
// left of it.
func planted() map[string][2]string {
	pem := "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIPLANTED\n-----END PRIVATE KEY-----"
	marshalled := append([]byte{8, 1, 0x12, 0x40}, bytes.Repeat([]byte("PLANTED!"), 8)...)
	prefixed := base64.StdEncoding.EncodeToString(append([]byte("k"), key...))
	return map[string][2]string{
		"the key in hexadecimal":              {"got " + hex.EncodeToString(key), hex.EncodeToString(key)},
		"the key in capitals":                 {"got " + strings.ToUpper(hex.EncodeToString(key)), strings.ToUpper(hex.EncodeToString(key))},
		"the key in base64":                   {"got " + base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(key)[:40]},
		"the key in base64 for URLs":          {"got " + base64.RawURLEncoding.EncodeToString(key), base64.RawURLEncoding.EncodeToString(key)[:40]},
		"the key after another byte":          {"got " + prefixed, prefixed[4:40]},
		"the collector's header":              {"header collector-header-PLANTED sent", "collector-header-PLANTED"},
		"a key file":                          {pem, "PLANTED"},
		"a key file without its end":          {strings.TrimSuffix(pem, "-----END PRIVATE KEY-----"), "PLANTED"},
		"another node's key":                  {"key " + base64.StdEncoding.EncodeToString(marshalled), "UExBTlRFRC"},
		"another node's key, hexadecimal":     {"key " + hex.EncodeToString(marshalled), "504c414e544544"},
		"64 bytes of anything":                {"raw " + strings.Repeat("0f", 64), strings.Repeat("0f", 32)},
		"a password":                          {"password=PLANTED", "PLANTED"},
		"a password with spaces":              {`password: "PLANTED with \" spaces PLANTED2" more`, "PLANTED"},
		"a password without quotes":           {"db_password: PLANTED with spaces PLANTED2", "PLANTED"},
		"a password in capitals":              {"DB_PASSWORD = 'PLANTED it is'", "PLANTED"},
		"a password whose quote is lost":      {`"password":"PLANTED`, "PLANTED"},
		"names in one word":                   {"clientSecret=PLANTED accessToken=PLANTED", "PLANTED"},
		"a token of a service":                {"using ghp_PLANTED0123456789abcdefgh now", "PLANTED"},
		"a token in JSON in a text":           {`{"a":{"api_key":"PLANTED","n":[{"token":"PLANTED"}]}}`, "PLANTED"},
		"a token in JSON in JSON":             {`{"msg":"{\"token\":\"PLANTED\"}"}`, "PLANTED"},
		"a token in JSON of several lines":    {"{\n  \"tokens\": {\n    \"x\": \"PLANTED\"\n  }\n}", "PLANTED"},
		"a bearer":                            {"Authorization: Bearer PLANTED01234", "PLANTED"},
		"a bearer without the name":           {"sent Bearer PLANTED01234", "PLANTED"},
		"a signed token":                      {"jwt eyJhbGciOi.PLANTEDpayload.PLANTEDsig", "PLANTED"},
		"a user in a URL":                     {"fetch https://me:PLANTED@example.org/x", "PLANTED"},
		"a signed URL":                        {"fetch https://example.org/x?X-Sig=PLANTED&y=PLANTED", "PLANTED"},
		"an environment":                      {"env: {A: PLANTED, B: PLANTED}", "PLANTED"},
		"an environment in lines":             {"program:\n  env:\n    A: PLANTED\n    B: PLANTED\n  args:\n    - PLANTED\nname: x", "PLANTED"},
		"arguments":                           {`args=["-p","PLANTED"]`, "PLANTED"},
		"what a program wrote":                {`{"level":"INFO","stdout":"PLANTED","stderr":["PLANTED"]}`, "PLANTED"},
		"an address":                          {"peer at 203.0.113.77 left", "203.0.113.77"},
		"an address with a port":              {"dial tcp 203.0.113.77:4170: refused", "203.0.113.77"},
		"an address after hexadecimal colons": {"bad:203.0.113.77:4170", "203.0.113.77"},
		"an address of version 6":             {"dial [2001:db8::77]:4170", "2001:db8::77"},
		"version 6 before a colon":            {"peer 2001:db8::77: refused", "2001:db8::77"},
		"version 4 in version 6":              {"from ::ffff:203.0.113.77", "203.0.113.77"},
		"a multiaddress":                      {"/ip4/203.0.113.77/udp/4170/quic-v1", "203.0.113.77"},
		"a name in a multiaddress":            {"/dns4/home.PLANTED.example/tcp/4170", "PLANTED"},
		"who uses the machine":                {"open /home/PLANTED/.local/share/muster: denied", "PLANTED"},
	}
}

// A secret in any part, of any form, must not get into the archive.
func TestNoSecretGetsIntoABundle(t *testing.T) {
	secrets := [][]byte{key, []byte("collector-header-PLANTED")}
	for name, plant := range planted() {
		text, gone := plant[0], plant[1]
		quoted := fmt.Sprintf("%q", text)
		files := bundle(t, []Part{
			{"status.json", []byte(`{"keep-a":1,"x":` + quoted + `,"keep-b":[` + quoted + `],` + quoted + `:1}`)},
			{"broken.json", []byte(`{"keep-a":1,` + "\n" + text + "\n" + `"keep-b":1`)},
			{"node.log", []byte(`{"msg":"keep-a"}` + "\n" + `{"msg":` + quoted + "}\n" + text + "\n" + `time=1 msg=` + quoted + "\n" + "keep-b\n")},
			{"config.txt", []byte("keep-a: 1\n" + text + "\nkeep-b: 1\n")},
			{"metrics.prom", []byte("# HELP keep-a\n# " + text + "\nkeep-b 1\n")},
		}, secrets...)
		for file, data := range files {
			if strings.Contains(data, gone) {
				t.Errorf("%s: %s holds it:\n%s", name, file, data)
			}
			endless := strings.HasSuffix(name, "without its end") // takes the rest along
			if file != listName && (!strings.Contains(data, "keep-a") || !strings.Contains(data, "keep-b") && !endless) {
				t.Errorf("%s: %s lost more than the secret:\n%s", name, file, data)
			}
		}
	}
}

// What helps must stay: a bundle that says nothing is of no use.
func TestWhatIsNoSecretStays(t *testing.T) {
	for _, text := range []string{
		"peer=12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust job=" + strings.Repeat("ab", 32),
		"task digest " + strings.Repeat("0f", 32) + " exec=00112233445566778899aabbccddeeff",
		"bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
		"time=2026-11-21T08:29:30.123Z level=WARN took=1m30s",
		"goroutine 7 [chan receive, 5 minutes]:\nmain.run(...)\n\t/root/go/auth.go:12 +0x1d\n\t/src/token/session.go:7 +0x1d",
		"listen 127.0.0.1:4170 [::1]:4170 192.168.1.7 10.0.0.1 fe80::1%eth0 0.0.0.0 /ip4/127.0.0.1/tcp/0",
		"muster_tasks_settled_total{state=\"verified\"} 7",
		"version 1.2.3, go1.26.8, kernel 6.8.0-45-generic",
		"the environment of 3 tokens passed; 5 secrets kept",
		"https://example.org/books.tar",
	} {
		got := bundle(t, []Part{{"x.txt", []byte(text)}, {"x.log", []byte(text)}}, key)
		if got["x.txt"] != text || got["x.log"] != text {
			t.Errorf("got %q, want %q", got["x.txt"], text)
		}
	}
	const value = `{"n": 12345678901234567890, "private": true, "env": {}, "args": [], "token": null, "password": "", "html": "<&>"}`
	want := "{\n  \"args\": [],\n  \"env\": {},\n  \"html\": \"<&>\",\n  \"n\": 12345678901234567890,\n  \"password\": \"\",\n  \"private\": true,\n  \"token\": null\n}\n"
	if got := bundle(t, []Part{{"x.json", []byte(value)}})["x.json"]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Two mentions of one address can be seen to be one.
func TestAnAddressHasOneNumberInABundle(t *testing.T) {
	got := bundle(t, []Part{
		{"a.txt", []byte("/ip4/203.0.113.1/tcp/1 2001:db8::1 /dns4/A.example/tcp/1 203.0.113.2")},
		{"b.json", []byte(`{"203.0.113.2":"::ffff:203.0.113.1 2001:0db8:0::1 /dns/a.example"}`)},
	})
	if want := "/ip4/[ip-1]/tcp/1 [ip-2] /dns4/[host-1]/tcp/1 [ip-3]"; got["a.txt"] != want {
		t.Errorf("got %q, want %q", got["a.txt"], want)
	}
	if want := "{\n  \"[ip-3]\": \"[ip-1] [ip-2] /dns/[host-1]\"\n}\n"; got["b.json"] != want {
		t.Errorf("got %q, want %q", got["b.json"], want)
	}
}

func TestABundleIsBounded(t *testing.T) {
	lines := []byte(strings.Repeat("line\n"+strings.Repeat("x", 1018)+"\n", maxPart>>10+1))
	parts := []Part{{"first.txt", append([]byte("begin\n"), lines...)}, {"last.log", append(lines, "end\n"...)}}
	for i := range 10 {
		parts = append(parts, Part{fmt.Sprintf("more-%d.txt", i), lines})
	}
	got := bundle(t, parts)
	total := 0
	for name, data := range got {
		total += len(data)
		if len(data) > maxPart {
			t.Errorf("%s has %d bytes", name, len(data))
		}
	}
	first, last := got["first.txt"], got["last.log"]
	if !strings.HasPrefix(first, "begin\nline\n") || !strings.HasSuffix(first, "bytes left out]\n") {
		t.Errorf("a text is cut to %q … %q", first[:20], first[len(first)-40:])
	}
	if !strings.HasSuffix(last, "x\nend\n") || !strings.Contains(last[:60], "bytes left out]\n") {
		t.Errorf("a log is cut to %q … %q", last[:60], last[len(last)-20:])
	}
	if total > maxBundle+4096 || !strings.Contains(got[listName], "more-9.txt               left out: the bundle is full") {
		t.Errorf("%d bytes in all; the list says\n%s", total, got[listName])
	}
}

func TestPartsThatDoNotBelongAreRefused(t *testing.T) {
	for name, parts := range map[string][]Part{
		"a path":           {{"../x.txt", nil}},
		"a folder":         {{"a/x.txt", nil}},
		"a key":            {{"identity.key", nil}},
		"no name":          {{"", nil}},
		"two of one name":  {{"x.txt", nil}, {"x.txt", nil}},
		"the list's name":  {{listName, nil}},
		"too many":         make([]Part, maxParts+1),
		"too much of them": {{"x.txt", make([]byte, maxTaken+1)}},
	} {
		if err := WriteBundle(io.Discard, parts, NewRedactor()); !errors.Is(err, ErrPart) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestABundleThatCannotBeWrittenIsAnError(t *testing.T) {
	if err := WriteBundle(full{}, nil, NewRedactor()); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

func TestGoroutinesAreToldWithoutArguments(t *testing.T) {
	stop, started := make(chan struct{}), make(chan struct{})
	go waitFor(stop, "PLANTED", started)
	<-started
	got := string(Goroutines().Data)
	close(stop)
	if !strings.Contains(got, "telemetry.waitFor(...)") || strings.Contains(got, "(0x") || strings.Contains(got, "({0x") {
		t.Errorf("got\n%s", got)
	}
}

//go:noinline
func waitFor(stop chan struct{}, _ string, started chan struct{}) {
	close(started)
	<-stop
}

func FuzzRedactor(f *testing.F) {
	for _, plant := range planted() {
		f.Add(plant[0])
	}
	secret := []byte("PLANTED-SECRET")
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"x.json", "x.log"} {
			r := NewRedactor(secret)
			text := s + " PLANTED-SECRET " + s
			if got := string(r.part(Part{name, []byte(text)})); strings.Contains(got, string(secret)) {
				t.Errorf("%s: %q became %q", name, text, got)
			}
		}
	})
}

func BenchmarkRedactLog(b *testing.B) {
	line := `{"time":"2026-11-21T08:29:30Z","level":"INFO","msg":"task settled","part":"node","peer":"12D3KooWQYV9dGMFoRzNStwpXztXaBUjtPqi6aU76ZgUriHhKust","took":"1.5s"}` + "\n"
	data := []byte(strings.Repeat(line, 1000))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		NewRedactor(key).part(Part{"x.log", data})
	}
}
