package archtest

// Module is the path of the module whose tree is checked.
const Module = "github.com/mustermesh/muster"

// Rules say what shape a tree must have. A path is relative to the root, with
// slashes; one that ends in /... stands for the folder and all below it.
type Rules struct {
	Packages  map[string][]string // package → what it may import of this module
	Doors     map[string][]string // library (a prefix of import paths) → who may import it
	TestDoors map[string][]string // the same, for test files besides
	RootFiles []string            // all that may lie at the root; files that begin with a dot may too
	RootDirs  []string            // all folders at the root; those that begin with a dot may too
}

// anything stands for every package of this module.
const anything = "..."

// Muster gives the rules of this repository.
func Muster() Rules {
	return Rules{Packages: packages, Doors: doors, TestDoors: testDoors, RootFiles: rootFiles, RootDirs: rootDirs}
}

var packages = map[string][]string{
	"cmd/muster":         {"node", "node/api", "executor", "internal/jobfile", "proto"},
	"node":               {"node/api", "node/requester", "node/provider", "node/overlay", "node/sandbox", "p2p", "scheduler", "trust", "executor", "internal/store", "internal/content", "internal/eventlog", "internal/hostinfo", "internal/telemetry", "internal/doctor", "internal/livelog", "proto"},
	"node/api":           {},
	"node/requester":     {"node/overlay", "node/sandbox", "node/api", "p2p", "scheduler", "trust", "executor", "internal/store", "internal/content", "internal/eventlog", "internal/livelog", "proto"},
	"node/provider":      {"node/overlay", "node/sandbox", "p2p", "scheduler", "executor", "internal/store", "internal/eventlog", "proto"},
	"node/overlay":       {"p2p", "scheduler", "proto"},
	"node/sandbox":       {"executor", "internal/content", "proto"},
	"p2p":                {"proto"},
	"scheduler":          {"proto"},
	"trust":              {"proto"},
	"executor":           {"executor/rewrite", "proto"},
	"executor/rewrite":   {},
	"internal/store":     {"proto"},
	"internal/content":   {"proto"},
	"internal/hostinfo":  {},
	"internal/telemetry": {},
	"internal/doctor":    {"proto"},
	"internal/jobfile":   {"node/api", "proto"},
	"internal/livelog":   {"proto"},
	"internal/eventlog":  {"proto"},
	"internal/simnet":    {anything},
	"internal/archtest":  {},
	"proto":              {"proto/wire"},
	"proto/wire":         {},
	"examples/...":       {"examples/..."},
	"examples/embed":     {"node", "executor", "proto"},
	"e2e/...":            {anything},
	"bench/...":          {anything},
}

var doors = map[string][]string{
	"github.com/libp2p/":                     {"p2p"},
	"github.com/multiformats/go-multiaddr":   {"p2p"},
	"github.com/multiformats/go-multistream": {"p2p"},
	"github.com/multiformats/go-multihash":   {"p2p", "internal/content"},
	"github.com/ipfs/go-cid":                 {"p2p", "internal/content"},
	"github.com/ipfs/":                       {"internal/content"},
	"github.com/ipld/":                       {"internal/content"},
	"github.com/dgraph-io/":                  {"internal/store"},
	"github.com/tetratelabs/wazero":          {"executor"},
	"github.com/landlock-lsm/go-landlock":    {"executor"},
	"kernel.org/pub/linux/libs/security":     {"executor"},
	"github.com/spf13/":                      {"cmd/muster"},
	"github.com/jedib0t/go-pretty":           {"cmd/muster"},
	"github.com/mattn/":                      {"cmd/muster"},
	"golang.org/x/term":                      {"cmd/muster"},
	"github.com/goccy/go-yaml":               {"internal/jobfile", "cmd/muster"},
	"github.com/dustin/go-humanize":          {"cmd/muster", "internal/jobfile"},
	"connectrpc.com/connect":                 {"node", "node/api", "cmd/muster", "e2e/...", "bench/..."},
	"google.golang.org/protobuf":             {"proto", "proto/wire", "node", "node/requester", "node/api", "cmd/muster", "internal/store", "internal/telemetry", "e2e/...", "bench/..."},
	"golang.org/x/sync":                      {"cmd/muster", "node", "node/overlay", "node/requester", "p2p", "internal/...", "e2e/...", "bench/..."},
	"golang.org/x/sys":                       {"cmd/muster", "node", "executor", "internal/...", "e2e/...", "bench/..."},
	"github.com/prometheus/":                 {"internal/telemetry"},
	"go.opentelemetry.io/":                   {"internal/telemetry"},
}

var testDoors = map[string][]string{
	"github.com/rogpeppe/go-internal": {"cmd/muster", "e2e/..."},
	"github.com/marcopolo/simnet":     {"p2p"},
	"google.golang.org/protobuf":      {"internal/jobfile", "internal/content"},
}

var rootFiles = []string{"go.mod", "go.sum", "Makefile", "README.md", "LICENSE", "CHANGELOG.md"}

var rootDirs = []string{"bench", "bin", "cmd", "docs", "e2e", "examples", "executor", "internal", "node", "p2p", "proto", "scheduler", "trust"}
