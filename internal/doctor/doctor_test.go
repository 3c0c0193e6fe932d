package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/mustermesh/muster/proto"
)

var peer = proto.PeerID{1, 2, 3}

// text writes findings as a reader of them would.
func text(findings []Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "%s %s: %s", f.Area, f.Level, f.Detail)
		if f.Fix != "" {
			fmt.Fprintf(&b, " → %s", f.Fix)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func skew(offsets ...time.Duration) Facts { return Facts{Clock: &Clock{offsets}} }

func repeat(n int, d time.Duration) []time.Duration { return slices.Repeat([]time.Duration{d}, n) }

const forward = "Switch on UPnP in the router, or forward port 4170 to this machine, for TCP and UDP."

var (
	good     = Kernel{Release: "6.8.0-45-generic", UserNamespaces: 96365, UnprivilegedClone: -1, AppArmorRestriction: -1, ReceiveBuffer: 7_500_000, SendBuffer: 7_500_000}
	noSpaces = []Layer{{Name: "namespaces", Detail: "the host does not allow user namespaces"}, {Name: "rlimits", On: true}}
)

func spaces(k Kernel) Facts {
	return Facts{Sandbox: &Sandbox{OS: "linux", Level: "landlock", Lends: true, Layers: noSpaces, Kernel: k}}
}

func layerOff(name string, k Kernel) Facts {
	return Facts{Sandbox: &Sandbox{OS: "linux", Level: "namespaces", Layers: []Layer{{Name: name, Detail: "d"}}, Kernel: k}}
}

const weak = "sandbox problem: isolation level landlock; lending needs namespaces → See the layers that are off, or lend all the same with --accept-weak-isolation.\n" +
	"sandbox warning: layer namespaces is off: the host does not allow user namespaces → "

var cases = map[string]struct {
	facts Facts
	want  string
}{
	"nothing was measured": {Facts{}, ""},

	"nobody is there": {Facts{Reach: &Reach{}},
		"reachability problem: no peer is connected → Name a peer with --bootstrap ADDR, ask its owner whether it runs, and look whether a firewall lets this program out.\n"},
	"a client has peers": {Facts{Reach: &Reach{Client: true, Peers: 2}}, "reachability ok: 2 peers connected\n"},
	"a public address": {Facts{Reach: &Reach{Public: []string{"/ip4/203.0.113.7/tcp/4170"}, Peers: 1, Seen: 1}},
		"reachability ok: reachable at /ip4/203.0.113.7/tcp/4170; 1 peer connected\n"},
	"nobody has told yet": {Facts{Reach: &Reach{Peers: 3}},
		"reachability note: no peer has told yet whether it can reach this node; 3 peers connected → Ask again in a minute; on a network of its own, without peers outside, this is as it should be.\n"},
	"relays only": {Facts{Reach: &Reach{Relayed: []string{"r"}, Peers: 4, Direct: 1, Seen: 4, Port: 4170}},
		"reachability warning: reachable through relays only; 1 of 4 peers connected directly → " + forward + "\n"},
	"no way in": {Facts{Reach: &Reach{Local: []string{"l"}, Peers: 4, Direct: 4, Seen: 1}},
		"reachability warning: peers outside this network cannot reach this node; 4 peers connected → Switch on UPnP in the router, or forward the port of `listen` to this machine, for TCP and UDP.\n"},

	"all ports are ours": {Facts{Ports: &Ports{Listening: []string{"a", "b"}, TCP: true, QUIC: true}}, "ports ok: listening on a, b\n"},
	"a port is taken": {Facts{Ports: &Ports{Listening: []string{"a"}, Taken: []Taken{{"b", "nginx (pid 7)"}, {"c", ""}}, TCP: true, QUIC: true}},
		"ports problem: b is held by nginx (pid 7) → End that process, or choose another port with --listen; port 0 takes a free one.\n" +
			"ports problem: c is held by another process → End that process, or choose another port with --listen; port 0 takes a free one.\n" +
			"ports ok: listening on a\n"},
	"no port at all": {Facts{Ports: &Ports{}}, "ports problem: this node listens nowhere → Set `listen` to /ip4/0.0.0.0/tcp/4170 and /ip4/0.0.0.0/udp/4170/quic-v1.\n"},
	"no TCP":         {Facts{Ports: &Ports{Listening: []string{"a"}, QUIC: true}}, "ports warning: no TCP address: bulk data takes three times the CPU over QUIC → Add /ip4/0.0.0.0/tcp/4170 to `listen`.\n"},
	"no QUIC":        {Facts{Ports: &Ports{Listening: []string{"a"}, TCP: true}}, "ports warning: no QUIC address: fewer networks can be crossed → Add /ip4/0.0.0.0/udp/4170/quic-v1 to `listen`.\n"},

	"a clock among two": {skew(time.Hour, time.Hour), "clock note: compared with 2 peers; 3 are needed to tell\n"},
	"a clock in time":   {skew(-time.Second, 30*time.Second, 30*time.Second), "clock ok: within 30s of most of 3 peers\n"},
	"a clock a little slow": {skew(repeat(3, 30*time.Second+time.Millisecond)...),
		"clock warning: this clock is 30.001s behind that of most of 3 peers; at 2m0s peers refuse what it signs → Switch on time synchronisation: timedatectl set-ntp true.\n"},
	"a clock at the limit": {skew(repeat(3, -2*time.Minute)...),
		"clock warning: this clock is 2m0s ahead of that of most of 3 peers; at 2m0s peers refuse what it signs → Switch on time synchronisation: timedatectl set-ntp true.\n"},
	"a clock beyond it": {skew(repeat(3, -2*time.Minute-time.Second)...),
		"clock problem: this clock is 2m1s ahead of that of most of 3 peers; beyond 2m0s peers refuse what it signs → Switch on time synchronisation: timedatectl set-ntp true.\n"},
	"a few liars about time": {skew(append(repeat(2, time.Hour), repeat(3, 0)...)...), "clock ok: within 30s of most of 5 peers\n"},

	"a disk with room": {Facts{Disk: &Disk{"/h", 5 << 30, 10 << 30, 1 << 30, 6 << 30}}, "disk ok: 5 GiB of 10 GiB free in /h\n"},
	"a cache that may not fit": {Facts{Disk: &Disk{"/h", 5 << 30, 10 << 30, 1 << 30, 6<<30 + 1<<29}},
		"disk warning: 5 GiB of 10 GiB free in /h; the cache may grow by 5.5 GiB more → Lower `cache` in config.yaml below 6 GiB.\n"},
	"a disk that gets full": {Facts{Disk: &Disk{"/h", 64 << 20, 10 << 30, 3 << 30, 0}},
		"disk warning: 64 MiB of 10 GiB free in /h → Free some space, or lower `cache` in config.yaml; it holds 3 GiB now.\n"},
	"a full disk": {Facts{Disk: &Disk{"/h", 64<<20 - 1, 10 << 30, 0, 0}},
		"disk problem: 64 MiB of 10 GiB free in /h; below 64 MiB nothing is written down, so nothing is accepted → Free some space, or move the home to a larger disk with --home.\n"},

	"a whole sandbox":                 {Facts{Sandbox: &Sandbox{OS: "linux", Level: "namespaces", Lends: true, Layers: []Layer{{Name: "landlock", On: true}}}}, "sandbox ok: isolation level namespaces\n"},
	"namespaces are limited to none":  {spaces(Kernel{UserNamespaces: 0, UnprivilegedClone: -1}), weak + "Run as root: sysctl -w user.max_user_namespaces=15000, and put it into /etc/sysctl.d.\n"},
	"namespaces are root's on Debian": {spaces(Kernel{UserNamespaces: 1}), weak + "Run as root: sysctl -w kernel.unprivileged_userns_clone=1, and put it into /etc/sysctl.d.\n"},
	"namespaces on Ubuntu": {spaces(Kernel{UserNamespaces: 1, UnprivilegedClone: 1, AppArmorRestriction: 1}),
		weak + "Run as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile that allows userns.\n"},
	"namespaces in a container": {spaces(good),
		weak + "Inside a container, let it make user namespaces (docker run --security-opt seccomp=unconfined); else look whether CONFIG_USER_NS is in the kernel.\n"},
	"a weak sandbox is accepted": {Facts{Sandbox: &Sandbox{OS: "linux", Level: "none", Lends: true, Accepted: true}},
		"sandbox warning: lending at isolation level none, as --accept-weak-isolation says → See the layers that are off.\n"},
	"a weak sandbox of a requester": {Facts{Sandbox: &Sandbox{OS: "linux", Level: "none"}},
		"sandbox note: isolation level none; lending needs namespaces → See the layers that are off, or lend all the same with --accept-weak-isolation.\n"},
	"an old kernel": {layerOff("landlock", Kernel{Release: "5.10.0-28-amd64"}),
		"sandbox ok: isolation level namespaces\nsandbox warning: layer landlock is off: d → Use a kernel of 5.13 or newer, 6.7 for network rules, too.\n"},
	"a new kernel without Landlock": {layerOff("landlock", Kernel{Release: "5.13.0"}),
		"sandbox ok: isolation level namespaces\nsandbox warning: layer landlock is off: d → Add landlock to the lsm= list of the kernel's command line and boot again; in a container, allow its system calls in the seccomp profile.\n"},
	"another system": {Facts{Sandbox: &Sandbox{OS: "darwin"}}, "sandbox note: there is no sandbox on darwin → Lend from a Linux machine; asking for work is possible here.\n"},
	"a sandbox that does not start": {Facts{Sandbox: &Sandbox{OS: "linux", Lends: true, Broken: "exec: permission denied"}},
		"sandbox problem: no sandbox starts: exec: permission denied → Run `muster doctor` as the user that runs the daemon, and send a bundle if it stays so.\n"},

	"one of two bootstrap peers": {Facts{Bootstrap: &Bootstrap{Peers: []BootstrapPeer{{Peer: peer, Why: "connection refused"}, {Answers: true}}}},
		"bootstrap ok: 1 of 2 bootstrap peers answer\nbootstrap warning: bootstrap peer " + peer.String() + " does not answer: connection refused → Ask its owner, or replace it in `bootstrap`; this node goes on trying.\n"},
	"no bootstrap peer answers": {Facts{Bootstrap: &Bootstrap{Peers: []BootstrapPeer{{Peer: peer, Why: "timeout"}}}},
		"bootstrap problem: no bootstrap peer answers, and no other peer is known from before → Look whether this machine is online, then whether `bootstrap` is current.\n" +
			"bootstrap warning: bootstrap peer " + peer.String() + " does not answer: timeout → Ask its owner, or replace it in `bootstrap`; this node goes on trying.\n"},
	"none answers, others are known": {Facts{Bootstrap: &Bootstrap{Peers: []BootstrapPeer{{Peer: peer, Why: "timeout"}}, Saved: 4}},
		"bootstrap warning: bootstrap peer " + peer.String() + " does not answer: timeout → Ask its owner, or replace it in `bootstrap`; this node goes on trying.\n"},
	"nothing to begin with": {Facts{Bootstrap: &Bootstrap{}},
		"bootstrap problem: no bootstrap peer is set, none is known from before, and mDNS is off → Name one with --bootstrap ADDR, or switch mDNS on.\n"},
	"the local network alone": {Facts{Bootstrap: &Bootstrap{MDNS: true}},
		"bootstrap note: no bootstrap peer is set: only peers on this network will be found → Name one with --bootstrap ADDR to join a larger mesh.\n"},
	"peers of earlier runs": {Facts{Bootstrap: &Bootstrap{Saved: 1}}, "bootstrap ok: none is set; 1 peer known from before\n"},
	"a bootstrap node":      {Facts{Bootstrap: &Bootstrap{Is: true}}, "bootstrap ok: this node is a bootstrap node\n"},

	"the release that most have": {Facts{Versions: &Versions{"1.1", map[string]int{"1.1": 2, "1.2": 1}}}, "version ok: this is 1.1\n"},
	"another than most have":     {Facts{Versions: &Versions{"1.1", map[string]int{"1.2": 3, "1.1": 2}}}, "version note: this is 1.1; 3 of 5 peers have 1.2 → Install the release that most have; if this one is newer, there is nothing to do.\n"},
	"no release that most have":  {Facts{Versions: &Versions{"1.1", map[string]int{"1.2": 2, "1.3": 2}}}, "version ok: this is 1.1\n"},
	"too few to speak of a most": {Facts{Versions: &Versions{"1.1", map[string]int{"1.2": 2}}}, "version ok: this is 1.1\n"},
	"not a provider":             {Facts{Provider: &Provider{}}, "provider ok: not asked to lend\n"},
	"a provider that drains":     {Facts{Provider: &Provider{Asked: true, Draining: true, HeldBack: "x"}}, "provider note: draining: it takes no new work → Take work again with muster node resume.\n"},
	"a provider that is held back": {Facts{Provider: &Provider{Asked: true, HeldBack: "lends mon-fri 18:00-08:00"}},
		"provider note: held back by a rule of its owner: lends mon-fri 18:00-08:00 → Wait, or change the rule.\n"},
	"a provider that nobody asks": {Facts{Provider: &Provider{Asked: true}},
		"provider note: no job was announced in the last hour → There is nothing to do while reachability is fine: nobody asked.\n"},
	"a provider that never bids": {Facts{Provider: &Provider{Asked: true, Seen: 1, TopWhy: "memory: 8 GiB are needed, 2 GiB lent", TopFix: "Set lend.memory to 8 GiB."}},
		"provider warning: 1 announcement seen in the last hour, and no bid: memory: 8 GiB are needed, 2 GiB lent → Set lend.memory to 8 GiB.\n"},
	"a provider that never wins": {Facts{Provider: &Provider{Asked: true, Seen: 9, Bids: 3}},
		"provider note: 3 bids in the last hour, and none won → A lower price or more slots win more; new peers are chosen less at first.\n"},
	"a provider with work":      {Facts{Provider: &Provider{Asked: true, Seen: 9, Bids: 3, Won: 2}}, "provider ok: lending; 2 leases won in the last hour\n"},
	"a provider without a slot": {Facts{Provider: &Provider{Asked: true, Seen: 9, Bids: 3, Won: 2, NoSlots: true}}, "provider ok: lending; all slots are in use\n"},

	"limits that suffice": {Facts{Limits: &Limits{Files: 4096, FilesHard: 4096, FilesInUse: 80, Kernel: good, UsesQUIC: true, MemoryCgroup: 2 << 30, Lent: 2 << 30}}, "limits ok: 80 of 4096 files open\n"},
	"few files":           {Facts{Limits: &Limits{Files: 1024, FilesHard: 4096, Kernel: good}}, "limits warning: at most 1024 files may be open; many peers need 4096 → Raise it with ulimit -n 65536, or LimitNOFILE=65536 in the service.\n"},
	"few files for good": {Facts{Limits: &Limits{Files: 1024, FilesHard: 1024, Kernel: good}},
		"limits warning: at most 1024 files may be open, and the hard limit is no higher → Raise the hard limit as root: LimitNOFILE=65536 in the service, or nofile in /etc/security/limits.conf.\n"},
	"no files left": {Facts{Limits: &Limits{Files: 10000, FilesHard: 10000, FilesInUse: 9001, Kernel: good}},
		"limits problem: 9001 of 10000 files are open: soon nothing can be opened or connected → Raise it with ulimit -n 65536, or LimitNOFILE=65536 in the service.\n"},
	"small UDP buffers": {Facts{Limits: &Limits{Files: 4096, Kernel: Kernel{ReceiveBuffer: 212992, SendBuffer: 8 << 20}, UsesQUIC: true}},
		"limits note: UDP buffers may be 208 KiB to receive and 8 MiB to send: QUIC is slower than it could be → Run as root: sysctl -w net.core.rmem_max=7500000 net.core.wmem_max=7500000, and put it into /etc/sysctl.d.\n"},
	"UDP buffers that nobody tells": {Facts{Limits: &Limits{Files: 4096, Kernel: Kernel{ReceiveBuffer: -1, SendBuffer: -1}, UsesQUIC: true}}, "limits ok: 0 of 4096 files open\n"},
	"more lent than there is": {Facts{Limits: &Limits{Files: 4096, Kernel: good, MemoryCgroup: 1 << 30, Lent: 1<<30 + 1<<29}},
		"limits warning: 1.5 GiB of memory are lent, and the cgroup allows 1 GiB → Lower lend.memory, or raise the limit of the container or service.\n"},

	"a home of one's own": {Facts{Home: &Home{Path: "/h", Mode: 0o700, KeyMode: 0o600, SocketMode: 0o600}}, "home ok: /h is this user's alone\n"},
	"an empty home":       {Facts{Home: &Home{Path: "/h", Mode: 0o700, NoKey: true, KeyMode: 0o777, NoSocket: true, SocketMode: 0o777}}, "home ok: /h is this user's alone\n"},
	"a home with everything wrong": {Facts{Home: &Home{Path: "/h", Mode: 0o755, Foreign: true, KeyMode: 0o640, SocketMode: 0o666, Deaf: true, Network: "nfs"}},
		"home problem: /h belongs to another user → Run as that user, or give it away: chown -R \"$USER\" \"/h\".\n" +
			"home warning: /h can be opened by others (mode 0755) → Run chmod 700 \"/h\".\n" +
			"home problem: identity.key can be read by others (mode 0640): who reads it can be this node → Run chmod 600 \"/h/identity.key\".\n" +
			"home problem: the control socket is open to others (mode 0666) → Restart the daemon, which sets it right.\n" +
			"home problem: the control socket is there, and nobody answers → Start the daemon again: it takes the place of a socket that was left behind.\n" +
			"home warning: /h is on nfs, where locks and flushing are not to be relied on → Move the home to a local disk with --home.\n"},
}

func TestEachFactHasItsFinding(t *testing.T) {
	for name, c := range cases {
		if got := text(Check(c.facts)); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, c.want)
		}
	}
}

// Whoever reads a finding must know what to do, and not read more than needed.
func TestFindingsCanBeActedOn(t *testing.T) {
	layers := []string{"namespaces", "empty-root", "landlock", "no-privileges", "no-nested-namespaces", "rlimits", "dies-with-parent"}
	facts := make([]Facts, 0, len(cases)+len(layers))
	for _, c := range cases {
		facts = append(facts, c.facts)
	}
	for _, layer := range layers {
		facts = append(facts, layerOff(layer, good))
	}
	for _, f := range facts {
		for _, got := range Check(f) {
			needsFix := got.Level >= Warning
			fixed := strings.HasSuffix(got.Fix, ".") && len(got.Fix) <= 200
			switch {
			case needsFix && !fixed, got.Fix != "" && !fixed, got.Level == OK && (got.Fix != "" || len(got.Detail) > 80):
				t.Errorf("%+v", got)
			case got.Detail == "" || strings.HasSuffix(got.Detail, "."):
				t.Errorf("detail of %+v", got)
			}
		}
	}
}

func TestTheWorstComesFirst(t *testing.T) {
	all := []Finding{{"a", OK, "", ""}, {"b", Problem, "", ""}, {"c", Warning, "", ""}, {"d", Problem, "", ""}}
	var order string
	for _, f := range Sorted(all) {
		order += f.Area
	}
	if order != "bdca" || Worst(all) != Problem || Worst(nil) != OK {
		t.Errorf("order %s, worst %s, of none %s", order, Worst(all), Worst(nil))
	}
	if got := Level(9).String(); got != "level 9" {
		t.Errorf("an unknown level is called %q", got)
	}
}

func TestAKernelIsReadAsFarAsItTells(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	got := ReadKernel(fstest.MapFS{
		"proc/sys/kernel/osrelease": file("6.8.0-45-generic\n"), "proc/sys/user/max_user_namespaces": file("96365\n"),
		"proc/sys/net/core/rmem_max": file("7500000\n"), "proc/sys/net/core/wmem_max": file("7500000\n"),
		"proc/sys/kernel/unprivileged_userns_clone": file("what?\n"),
	})
	if got != good {
		t.Errorf("got %+v, want %+v", got, good)
	}
	if got := ReadKernel(fstest.MapFS{}); got != (Kernel{"", -1, -1, -1, -1, -1}) {
		t.Errorf("a kernel that tells nothing: %+v", got)
	}
}

func TestSizesAreForPeople(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bytes", 1023: "1023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 10 << 20: "10 MiB", 1 << 63: "8 EiB",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}
