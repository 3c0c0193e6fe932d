package proto

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
)

func readJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPeerIDsAreThoseOfLibp2p(t *testing.T) {
	var file struct {
		Peers []struct{ Seed, Public, Multihash, Text string }
	}
	readJSON(t, "testdata/ids.json", &file)
	for _, v := range file.Peers {
		key := ed25519.NewKeyFromSeed(unhex(t, v.Seed))
		id := PeerID(key.Public().(ed25519.PublicKey))
		if id.String() != v.Text || hex.EncodeToString(id.Multihash()) != v.Multihash || hex.EncodeToString(id[:]) != v.Public {
			t.Errorf("seed %s: got %s, %x, %x", v.Seed, id, id.Multihash(), id[:])
		}
		if got, err := ParsePeerID(v.Text); err != nil || got != id {
			t.Errorf("parse %s: got %s, %v", v.Text, got, err)
		}
		for _, b := range [][]byte{id[:], id.Multihash()} {
			if got, err := PeerIDFromBytes(b); err != nil || got != id {
				t.Errorf("from %d bytes: got %s, %v", len(b), got, err)
			}
		}
		if !strings.HasSuffix(v.Text, id.Short()) || len(id.Short()) != 8 {
			t.Errorf("short form %q of %s", id.Short(), v.Text)
		}
	}
	if len(file.Peers) == 0 {
		t.Error("no vectors")
	}
}

func TestContentIDsAreThoseOfIPFS(t *testing.T) {
	var file struct {
		Contents []struct{ Name, Block, Text string }
	}
	readJSON(t, "testdata/ids.json", &file)
	for _, v := range file.Contents {
		block := unhex(t, v.Block)
		c, err := ParseCID(v.Text)
		if err != nil || c.String() != v.Text || !c.Verify(block) || c.Verify(append(block, 0)) {
			t.Errorf("%s: got %s, %v, verified %t", v.Name, c, err, c.Verify(block))
		}
		if got := RawCID(block); (got == c) != c.IsRaw() {
			t.Errorf("%s: as a raw block it is %s", v.Name, got)
		}
		if got, err := CIDFromBytes(c.Bytes()); err != nil || got != c {
			t.Errorf("%s: back from bytes it is %s, %v", v.Name, got, err)
		}
	}
	if len(file.Contents) == 0 {
		t.Error("no vectors")
	}
}

func TestParsePeerIDRefuses(t *testing.T) {
	_, id := testKey(1)
	good := id.String()
	other := append([]byte{0x00, 0x24, 0x08, 0x02, 0x12, 0x20}, id[:]...)
	for name, s := range map[string]string{
		"nothing":                              "",
		"one character less":                   good[:len(good)-1],
		"one character more":                   good + "1",
		"a leading one, which is a zero byte":  "1" + good,
		"a character that is not base58":       good[:20] + "0" + good[21:],
		"a space at the end":                   good + " ",
		"the id of an RSA peer":                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"a key of another type":                base58Encode(other),
		"the key of zeros":                     PeerID{}.String(),
		"a text of a million characters":       strings.Repeat("z", 1e6),
		"the CID form, which libp2p also uses": "bafzaajaiaejcac4kc",
	} {
		if got, err := ParsePeerID(s); !errors.Is(err, ErrID) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

func TestParseCIDRefuses(t *testing.T) {
	good := RawCID(nil).String()
	for name, s := range map[string]string{
		"nothing":                 "",
		"upper case":              strings.ToUpper(good),
		"an old CID of version 0": "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
		"one character less":      good[:58],
		"one character more":      good + "a",
		"a newline inside":        good[:30] + "\n" + good[31:],
		"bits after the end":      good[:58] + "v",
		"another codec":           "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua",
		"another hash":            "bafkrgqfklgpkgbxcoitsvwfxxnnzj5tsrvefbjmyxyfvxrzqrxcwmdnoea",
	} {
		if got, err := ParseCID(s); !errors.Is(err, ErrID) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
}

func TestTheOtherIDsRefuse(t *testing.T) {
	digits := strings.Repeat("0a", 32)
	for name, s := range map[string]string{
		"nothing": "", "upper case": strings.ToUpper(digits), "a digit less": digits[1:],
		"two digits more": digits + "00", "no hexadecimal": "zz" + digits[2:],
	} {
		if got, err := ParseJobID(s); !errors.Is(err, ErrID) {
			t.Errorf("job id, %s: got %s, %v", name, got, err)
		}
		if err := new(ExecutionID).UnmarshalText([]byte(s)); !errors.Is(err, ErrID) {
			t.Errorf("execution id, %s: got %v", name, err)
		}
	}
	if got, err := ParseJobID(digits); err != nil || got.String() != digits || got.Short() != digits[:8] {
		t.Errorf("got %s, %v; want %s", got, err, digits)
	}
}

func TestIDsAreTextInJSON(t *testing.T) {
	type all struct {
		Peer      PeerID
		Content   CID
		None      CID
		Job       JobID
		Execution ExecutionID
		Digest    Digest
	}
	want := all{Peer: PeerID{1}, Content: RawCID(nil), Job: JobID{2}, Execution: ExecutionID{3}, Digest: Digest{4}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got all
	if err := json.Unmarshal(b, &got); err != nil || got != want {
		t.Errorf("%s came back as %+v, %v", b, got, err)
	}
	for _, text := range []string{want.Peer.String(), want.Content.String(), `"None":""`, want.Job.String(), want.Execution.String(), want.Digest.String()} {
		if !strings.Contains(string(b), text) {
			t.Errorf("%s is not in %s", text, b)
		}
	}
}

func TestBase58KeepsLeadingZeros(t *testing.T) {
	for _, b := range [][]byte{{}, {0}, {0, 0, 1}, {255, 0}, {0, 57}, {58}} {
		got, err := base58Decode(base58Encode(b))
		if err != nil || string(got) != string(b) {
			t.Errorf("%v came back as %v, %v", b, got, err)
		}
	}
	if got := base58Encode([]byte("Hello World!")); got != "2NEpo7TZRRrLZSi2U" { // the Internet-Draft's first example
		t.Errorf("got %s", got)
	}
}
