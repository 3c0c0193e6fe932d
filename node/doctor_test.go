package node

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/mustermesh/muster/internal/doctor"
	"github.com/mustermesh/muster/node/api"
)

// of gives the findings of a level in an area.
func of(all []doctor.Finding, area string, level doctor.Level) (out []doctor.Finding) {
	for _, f := range all {
		if f.Area == area && f.Level == level {
			out = append(out, f)
		}
	}
	return out
}

func TestTheDoctorFindsNoProblemWhereThereIsNone(t *testing.T) {
	p, r := pair(t, func(*Config, *Config) {})
	eventually(t, "they know each other", func() bool { return r.Connected(p.Self) && p.Connected(r.Self) })
	for name, n := range map[string]*running{"provider": p, "requester": r} {
		all := n.findings(testContext(t), true)
		for _, f := range all {
			if f.Level == doctor.Problem {
				t.Errorf("%s: %s: %s", name, f.Area, f.Detail)
			}
		}
		ran := of(all, doctor.AreaSandbox, doctor.OK)
		if len(ran) == 0 || !strings.Contains(ran[len(ran)-1].Detail, "a program that does nothing ran in") {
			t.Errorf("%s: no program ran: %v", name, ran)
		}
	}
}

func TestTheDoctorNamesADeadBootstrapPeer(t *testing.T) {
	gone := startNode(t, testConfig(t, randomNetwork()))
	addr := gone.info.Addrs[0]
	gone.stop()
	cfg := testConfig(t, randomNetwork())
	cfg.Bootstrap = []string{addr}
	n := startNode(t, cfg)
	eventually(t, "the dead peer is found out", func() bool {
		all := n.findings(testContext(t), false)
		problem, which := of(all, doctor.AreaBootstrap, doctor.Problem), of(all, doctor.AreaBootstrap, doctor.Warning)
		return len(problem) == 1 && problem[0].Fix != "" && len(which) == 1 &&
			strings.Contains(which[0].Detail, gone.Self.String()) && !strings.Contains(which[0].Detail, "not tried yet")
	})
}

func TestTheDoctorNamesAJobThatWaits(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	cfg.Roles = []string{RoleRequester}
	n := startNode(t, cfg)
	j := submit(t, n.node, &api.SubmitJobRequest{Job: small(t, "noop")})
	eventually(t, "the job is said to wait", func() bool {
		waits := of(n.findings(testContext(t), false), areaJobs, doctor.Warning)
		return len(waits) == 1 && strings.Contains(waits[0].Fix, "muster job explain "+j.ID().Short())
	})
}

func TestTheDoctorNamesAClockThatIsOff(t *testing.T) {
	network := randomNetwork()
	n := startNode(t, testConfig(t, network))
	n.skew.Store(int64(-5 * time.Minute)) // so far behind that nothing that peers sign is taken
	for range 3 {
		p := startNode(t, testConfig(t, network))
		if _, err := n.Net.Connect(testContext(t), p.info.Addrs[0]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the clock is found out", func() bool {
		off := of(n.findings(testContext(t), false), doctor.AreaClock, doctor.Problem)
		return len(off) == 1 && strings.Contains(off[0].Detail, "behind") && strings.Contains(off[0].Detail, "of 3 peers")
	})
	if off, ok := n.clockOffset(); !ok || off.Round(time.Minute) != 5*time.Minute {
		t.Errorf("the peers' clocks are %v ahead (known: %v), want 5m0s", off, ok)
	}
}

func TestANodeWithoutANetworkSaysWhatItCan(t *testing.T) {
	cfg := testConfig(t, randomNetwork())
	c, err := Dial(testContext(t), cfg, ReadOnly, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := c.API.Doctor(testContext(t), connect.NewRequest(&api.DoctorRequest{Deep: true}))
	if err != nil {
		t.Fatal(err)
	}
	areas := map[string]bool{}
	for _, f := range res.Msg.Findings {
		areas[f.Area] = true
		if f.Level == "problem" {
			t.Errorf("%s: %s", f.Area, f.Detail)
		}
	}
	for _, area := range []string{doctor.AreaDisk, doctor.AreaSandbox, doctor.AreaHome, areaJobs} {
		if !areas[area] {
			t.Errorf("nothing is said of %s", area)
		}
	}
	if areas[doctor.AreaReachability] || areas[doctor.AreaClock] {
		t.Error("it speaks of peers, of whom it cannot know")
	}
}

func TestABundleHoldsNoKey(t *testing.T) {
	const header = "x-collector=s3cr3t-of-the-collector"
	cfg := testConfig(t, randomNetwork())
	cfg.Telemetry.TraceEndpoint, cfg.Telemetry.TraceHeaders = newCollector(t).URL, header
	id, err := Init(cfg)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(cfg.keyPath())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Labels = map[string]string{"note": base64.RawURLEncoding.EncodeToString(file)[:60]}
	n := startNode(t, cfg)
	secrets := map[string][]byte{"key": n.Key, "seed": n.Key.Seed(), "file": file, "header": []byte("s3cr3t-of-the-collector")}
	for name, s := range secrets {
		n.Log.Info("planted", "what", name, "raw", string(s), "bytes", base64.StdEncoding.EncodeToString(s), "digits", hex.EncodeToString(s))
	}
	files := bundleOf(t, cfg)
	for _, want := range []string{"contents.txt", "status.json", "config.json", "findings.json", "recent.log", "goroutines.txt", "metrics.prom", "build.txt", "jobs.json", "provider.json", "peers.json"} {
		if len(files[want]) == 0 {
			t.Errorf("%s is missing", want)
		}
	}
	if !bytes.Contains(files["recent.log"], []byte(`"what":"seed"`)) || !bytes.Contains(files["status.json"], []byte(id)) {
		t.Error("what was planted, or this node's id, is not in the bundle at all")
	}
	for name, data := range files {
		for secret, s := range secrets {
			for form, text := range map[string]string{
				"raw": string(s), "base64": base64.RawStdEncoding.EncodeToString(s), "base64url": base64.RawURLEncoding.EncodeToString(s),
				"hex": hex.EncodeToString(s), "HEX": strings.ToUpper(hex.EncodeToString(s)),
			} {
				if bytes.Contains(data, []byte(text)) {
					t.Errorf("%s holds the %s as %s", name, secret, form)
				}
			}
		}
	}
}

// bundleOf gives the files of the bundle of the node that has a home.
func bundleOf(t *testing.T, cfg Config) map[string][]byte {
	t.Helper()
	c, err := Dial(testContext(t), cfg, ReadOnly, testLog(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	stream, err := c.API.Bundle(testContext(t), connect.NewRequest(&api.BundleRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for stream.Receive() {
		all.Write(stream.Msg().Data)
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(&all)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[path.Base(h.Name)], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}
