package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
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
	Price               float64           // asked for a core-hour, in credits; 0: free
	MaxCredit           float64           // a requester may owe this many credits; 0: no limit
	Allow, Deny         []string          // peer ids of requesters; an empty Allow means everybody
	Labels              map[string]string // stated in the advert
	AcceptWeakIsolation bool              // lend even where the sandbox cannot use namespaces

	Cache        uint64        // bytes of content kept beyond what is pinned
	ConnLow      int           // connections are trimmed to this …
	ConnHigh     int           // … when there are more than this
	SandboxIdle  time.Duration // a sandbox without work is ended after
	MaxProgram   int64         // bytes of the largest program
	ClientWarmUp time.Duration // how long a fresh node looks for peers before its own runs stand in for them
}

// Lend is what a provider lends. A zero field means: what this machine has, by
// the rule in [DefaultConfig].
type Lend struct {
	CPU    float64 // cores
	Memory uint64  // bytes
	Disk   uint64  // bytes
	Slots  int     // tasks at a time
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
		Cache: 10 << 30, ConnLow: 64, ConnHigh: 128,
		SandboxIdle: 30 * time.Second, MaxProgram: 64 << 20, ClientWarmUp: 2 * time.Second,
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
	case len(c.Roles) == 0:
		return errors.New("no role; set one or more of provider, requester, bootstrap")
	case !(c.Price >= 0 && c.Price <= maxCredits && c.MaxCredit >= 0 && c.MaxCredit <= maxCredits): // NaN is neither
		return fmt.Errorf("price and max_credit are numbers from 0 to %.0f", float64(maxCredits))
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
	for _, list := range [][]string{c.Allow, c.Deny} {
		if _, err := peerIDs(list); err != nil {
			return err
		}
	}
	return nil
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

func credits(c float64) proto.Credits { return proto.Credits(c * 1e6) }

// lending gives the provider's side of the configuration, without the advert.
func (c Config) lending() (scheduler.Lending, error) {
	allow, err := peerIDs(c.Allow)
	if err != nil {
		return scheduler.Lending{}, err
	}
	deny, err := peerIDs(c.Deny)
	return scheduler.Lending{MaxCredit: credits(c.MaxCredit), Allow: allow, Deny: deny, Share: 0.5}, err
}

// Paths in a home.
func (c Config) keyPath() string    { return filepath.Join(c.Home, "identity.key") }
func (c Config) socketPath() string { return shortSocket(filepath.Join(c.Home, "muster.sock")) }
func (c Config) tempPath() string   { return filepath.Join(c.Home, "tmp") }
