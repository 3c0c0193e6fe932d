package doctor

import "fmt"

// Sandbox is how programs of strangers are held.
type Sandbox struct {
	Level    string // namespaces, landlock or none
	Lends    bool   // the provider role is asked for
	Accepted bool   // --accept-weak-isolation
	OS       string // runtime.GOOS
	Layers   []Layer
	Kernel   Kernel
	Broken   string // why no sandbox starts at all; empty: one does
}

// A Layer is one of the sandbox's.
type Layer struct {
	Name   string
	On     bool
	Detail string // why it is off
}

func (s *Sandbox) check() []Finding {
	switch {
	case s == nil:
		return nil
	case s.OS != "linux":
		return one(AreaSandbox, s.unlessLending(Note), "there is no sandbox on "+s.OS, "Lend from a Linux machine; asking for work is possible here.")
	case s.Broken != "":
		return one(AreaSandbox, s.unlessLending(Warning), "no sandbox starts: "+s.Broken, "Run `muster doctor` as the user that runs the daemon, and send a bundle if it stays so.")
	}
	all := one(AreaSandbox, OK, "isolation level "+s.Level, "")
	if s.Level != "namespaces" {
		all = one(AreaSandbox, s.unlessLending(Note), fmt.Sprintf("isolation level %s; lending needs namespaces", s.Level),
			"See the layers that are off, or lend all the same with --accept-weak-isolation.")
		if s.Accepted && s.Lends {
			all = one(AreaSandbox, Warning, fmt.Sprintf("lending at isolation level %s, as --accept-weak-isolation says", s.Level), "See the layers that are off.")
		}
	}
	for _, l := range s.Layers {
		if !l.On {
			all = append(all, one(AreaSandbox, Warning, fmt.Sprintf("layer %s is off: %s", l.Name, l.Detail), s.turnOn(l.Name))...)
		}
	}
	return all
}

// unlessLending gives a level that becomes a problem where lending is asked for.
func (s *Sandbox) unlessLending(l Level) Level {
	if s.Lends {
		return Problem
	}
	return l
}

// turnOn says how a layer can be had on this host.
func (s *Sandbox) turnOn(layer string) string {
	switch layer {
	case "namespaces":
		return s.Kernel.allowNamespaces()
	case "empty-root", "no-nested-namespaces":
		return "It comes with the layer namespaces; if that is on, use a binary built with CGO_ENABLED=0."
	case "landlock":
		if !s.Kernel.atLeast(5, 13) {
			return "Use a kernel of 5.13 or newer, 6.7 for network rules, too."
		}
		return "Add landlock to the lsm= list of the kernel's command line and boot again; in a container, allow its system calls in the seccomp profile."
	case "no-privileges":
		return "Use a binary built with CGO_ENABLED=0, as the releases are."
	case "cgroup":
		return "Under systemd, give the daemon's service Delegate=yes and DelegateSubgroup=daemon; elsewhere run it as root, or delegate a control group to its user. Without it the daemon watches memory itself."
	case "seccomp":
		return "Use a kernel with CONFIG_SECCOMP_FILTER; in a container or a service, allow the system call seccomp."
	case "rlimits":
		return "Run the daemon where its hard limits may be lowered: look at LimitNOFILE and LimitDATA of its service."
	}
	return "Look whether a container or a service manager forbids it."
}
