package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/mustermesh/muster/proto"
	"github.com/mustermesh/muster/scheduler"
)

// Roles of a node.
const (
	RoleProvider  = "provider"
	RoleRequester = "requester"
	RoleBootstrap = "bootstrap"
)

// A Config says how a node behaves. [DefaultConfig] gives one that works;
// fields not set here have no default of their own.
type Config struct {
	Home      string   // folder of identity, database, content and socket
	Network   string   // name of the mesh: 1 to 40 lower-case letters, digits, hyphens
	Bootstrap []string // multiaddrs with /p2p/
	Listen    []string // multiaddrs; port 0 takes a free one
	MDNS      bool     // look for peers on the local network
	Roles     []string // provider, requester, bootstrap
	LogLevel  string   // debug, info, warn, error

	Lend                Lend
	Rules               Rules             // when this machine is lent, and which programs run on it
	Price               float64           // asked for a core-hour, in credits; 0: free
	MaxCredit           float64           // a requester may owe this many credits; 0: no limit
	Allow, Deny         []string          // peer ids of requesters; an empty Allow means everybody
	Labels              map[string]string // stated in the advert
	AcceptWeakIsolation bool              // lend even where the sandbox cannot use namespaces

	Telemetry Telemetry // what is told to those who look after the node

	Cache        uint64        // bytes of content kept beyond what is pinned
	LiveLogs     uint64        // bytes kept of what running tasks print, of all together; at least 1 MiB
	ConnLow      int           // connections are trimmed to this …
	ConnHigh     int           // … when there are more than this; no key of config.yaml: both are for programs that embed a node
	SandboxIdle  time.Duration // a sandbox without work is ended after
	SandboxSpare int           // sandboxes kept ready without a program; less than Lend.Slots and this machine's cores together; no key
	SandboxCache int64         // bytes of compiled programs kept in the home; 0: none; no key
	MaxProgram   int64         // bytes of the largest program
	Grace        time.Duration // providers are asked to keep results, and a daemon's tasks going, while this node is out of touch
	KeepJobs     time.Duration // ended jobs are forgotten after; 0: never
	KeepJobsMost int           // … and the oldest of more than these; 0: any number
	Hedge        string        // when a slow execution gets a backup: predicted, mean (1.5 times the average) or off
	Patience     time.Duration // … and what this node grants others of it, at most
	DrainTimeout time.Duration // how long at most a node that is told to end lets others' tasks come to their end; 0: not at all
	client       bool          // one command's node, not a daemon
	ClientWarmUp time.Duration // how long a fresh node looks for peers before its own runs stand in for them; no key: for programs that embed a node
}

// Lend is what a provider lends. A zero field means: what this machine has, by
// the rule in [DefaultConfig].
type Lend struct {
	CPU    float64 // cores
	Memory uint64  // bytes
	Disk   uint64  // bytes
	Slots  int     // tasks at a time
}

// Rules are what the owner of a machine says about when it is lent, and which
// programs run on it. The zero value lends always but on battery.
type Rules struct {
	Hours          []string // local time, such as "mon-fri 18:00-08:00"; see [scheduler.ParseHours]; empty: always
	IdleOnly       bool     // only while nobody else uses the machine
	OnBattery      bool     // also while it runs on battery
	MaxTemperature float64  // °C, 30 to 120; 0: no ceiling
	MaxLoad        float64  // what others may use of each core where IdleOnly is set, up to 1; 0: a quarter
	AllowPrograms  []string // CID or NAME=CID; see [scheduler.ParsePrograms]; empty: every program
	DenyPrograms   []string
}

// DefaultListen is where a daemon listens unless told otherwise.
var DefaultListen = []string{"/ip4/0.0.0.0/tcp/4170", "/ip4/0.0.0.0/udp/4170/quic-v1", "/ip6/::/tcp/4170", "/ip6/::/udp/4170/quic-v1"}

// anyPort is where a node in client mode listens.
var anyPort = []string{"/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"}

// DefaultConfig gives the configuration of a node that nobody configured: it
// lends all cores, half of the memory, and asks nothing for it.
func DefaultConfig() Config {
	return Config{
		Home: DefaultHome(), Network: "main", Listen: slices.Clone(DefaultListen), MDNS: true,
		Roles: []string{RoleProvider, RoleRequester}, LogLevel: "info",
		Lend:  Lend{CPU: float64(runtime.NumCPU()), Memory: hostMemory() / 2, Disk: 4 << 30, Slots: runtime.NumCPU()},
		Cache: 10 << 30, LiveLogs: 64 << 20, ConnLow: 64, ConnHigh: 128,
		SandboxIdle: 30 * time.Second, SandboxSpare: 1, SandboxCache: 1 << 30, MaxProgram: 64 << 20, ClientWarmUp: 2 * time.Second,
		KeepJobs: 30 * 24 * time.Hour, KeepJobsMost: 10_000,
		Hedge: "predicted", Grace: 30 * time.Minute, Patience: time.Hour, DrainTimeout: 30 * time.Second,
		Telemetry: Telemetry{TraceSample: 1},
	}
}

// DefaultHome is MUSTER_HOME, or muster in the user's data folder (XDG).
func DefaultHome() string {
	if h := os.Getenv("MUSTER_HOME"); h != "" {
		return h
	}
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "muster")
	}
	if h, err := os.UserHomeDir(); err == nil {
		return filepath.Join(h, ".local", "share", "muster")
	}
	return ".muster"
}

var networkName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Validate says what is wrong with c, and what would be right.
func (c Config) Validate() error {
	switch {
	case c.Home == "":
		return errors.New("home is empty; set --home or MUSTER_HOME")
	case !networkName.MatchString(c.Network):
		return fmt.Errorf("network %q: a name has 1 to 40 lower-case letters, digits or hyphens", c.Network)
	case !slices.Contains(hedgingNames, c.Hedge):
		return fmt.Errorf("hedge %q; known: %s", c.Hedge, strings.Join(hedgingNames, ", "))
	case c.LiveLogs < 1<<20 || c.LiveLogs > 1<<50:
		return errors.New("live_logs is from 1 MiB to 1 PiB")
	case len(c.Roles) == 0:
		return errors.New("no role; set one or more of provider, requester, bootstrap")
	case !(c.Price >= 0 && c.Price <= maxCredits && c.MaxCredit >= 0 && c.MaxCredit <= maxCredits): // NaN is neither
		return fmt.Errorf("price and max_credit are numbers from 0 to %.0f", float64(maxCredits))
	case c.Grace < 0 || c.Patience < 0 || c.DrainTimeout < 0 || c.KeepJobs < 0 || c.KeepJobsMost < 0:
		return errors.New("grace, patience, drain_timeout, keep_jobs and keep_jobs_most are not negative")
	case !(c.Lend.CPU >= 0 && c.Lend.CPU <= maxCores) || c.Lend.Slots < 0 || c.Lend.Slots > proto.MaxSlots:
		return fmt.Errorf("lend: cpu is from 0 to %d, slots from 0 to %d", maxCores, proto.MaxSlots)
	}
	if err := proto.Labels(c.Labels).Validate(); err != nil {
		return fmt.Errorf("labels: %w", err)
	}
	for _, r := range c.Roles {
		if r != RoleProvider && r != RoleRequester && r != RoleBootstrap {
			return fmt.Errorf("unknown role %q; known: provider, requester, bootstrap", r)
		}
	}
	if err := c.validateTelemetry(); err != nil {
		return err
	}
	_, err := c.settings()
	return err
}

// settings gives what the owner can change while the node runs, as it is
// configured.
func (c Config) settings() (scheduler.Settings, error) {
	return scheduler.Settings{}.With(scheduler.Change{
		CPU: c.Lend.CPU, Memory: c.Lend.Memory, Disk: c.Lend.Disk, Slots: uint32(c.Lend.Slots), Price: c.Price,
		Allow: c.Allow, Deny: c.Deny, Hours: c.Rules.Hours, IdleOnly: c.Rules.IdleOnly, OnBattery: c.Rules.OnBattery,
		MaxTemperature: c.Rules.MaxTemperature, MaxLoad: c.Rules.MaxLoad,
		AllowPrograms: c.Rules.AllowPrograms, DenyPrograms: c.Rules.DenyPrograms,
	}, scheduler.Fields())
}

func (c Config) has(role string) bool { return slices.Contains(c.Roles, role) }

func peerIDs(texts []string) (ids []proto.PeerID, err error) {
	for _, s := range texts {
		id, err := proto.ParsePeerID(s)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// maxCredits is the highest price that a message can state. docs/wire.md §3.
const maxCredits = 1 << 53 / 1e6

// maxCores is the most cores that a message can state. docs/wire.md §3.
const maxCores = 1024

func credits(c float64) proto.Credits { return proto.Credits(c * 1e6) }

// hedgingNames are what [Config].Hedge can say.
var hedgingNames = []string{"predicted", "mean", "off"}

// hedging gives the policy of each of them.
func (c Config) hedging() scheduler.HedgePolicy {
	switch c.Hedge {
	case "predicted":
		return scheduler.Hedging()
	case "mean":
		return scheduler.MeanHedging()
	}
	return scheduler.HedgePolicy{}
}

// Paths in a home.
func (c Config) keyPath() string    { return filepath.Join(c.Home, "identity.key") }
func (c Config) socketPath() string { return shortSocket(filepath.Join(c.Home, "muster.sock")) }
func (c Config) tempPath() string   { return filepath.Join(c.Home, "tmp") }
