package executor

// A layerSet is a set of layers.
type layerSet uint32

const (
	layerSpaces layerSet = 1 << iota
	layerRoot
	layerLandlock
	layerPrivileges
	layerNested
	layerRlimits
	layerDeath
	layerDescriptors
	layerCgroup
	layerSeccomp
)

// nameCgroup is the name of the layer that the parent builds.
const nameCgroup = "cgroup"

// layerNames names the layers in the order of their bits.
var layerNames = []string{
	"namespaces", // user, network, process, mount, IPC and host name spaces of its own
	"empty-root", // the file tree is an empty read-only one
	"landlock",
	"no-privileges",        // no capabilities, and no_new_privs
	"no-nested-namespaces", // it cannot make more namespaces to be root in
	"rlimits",
	"dies-with-parent",
	"descriptors", // nothing open but the socket, stderr, and what the Go runtime waits with
	nameCgroup,    // the kernel counts its memory and threads
	"seccomp",     // only the system calls that it needs
}

func (l layerSet) has(x layerSet) bool { return l&x == x }

// report describes the layers: off says why a layer is not on.
func report(on layerSet, off map[layerSet]string) []Layer {
	layers := make([]Layer, 0, len(layerNames))
	for i, name := range layerNames {
		bit := layerSet(1) << i
		layers = append(layers, Layer{Name: name, On: on.has(bit), Detail: off[bit]})
	}
	return layers
}

// layersOn gives those of layers that are on.
func layersOn(layers []Layer) (on layerSet) {
	for i, name := range layerNames {
		for _, l := range layers {
			if l.Name == name && l.On {
				on |= 1 << i
			}
		}
	}
	return on
}

// levelOf sums up layers.
func levelOf(layers []Layer) Level {
	on := layersOn(layers)
	spaces := layerSpaces | layerRoot | layerPrivileges
	if seccompKnown {
		spaces |= layerSeccomp
	}
	switch {
	case on.has(spaces):
		return LevelNamespaces
	case on.has(layerLandlock | layerPrivileges):
		return LevelLandlock
	}
	return LevelNone
}
