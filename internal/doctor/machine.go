package doctor

import (
	"fmt"
	"io/fs"
)

// Disk is room for what the node keeps, in bytes.
type Disk struct {
	Path        string // the home
	Free, Total uint64 // of the file system
	Cache       uint64 // in use by content beyond what is needed
	Quota       uint64 // what the cache may have; 0: no limit
}

// MinFree is how much has to be free for the node to write anything down, in bytes.
const MinFree = 64 << 20

// lowFree is where it gets tight.
const lowFree = 1 << 30

func (d *Disk) check() []Finding {
	if d == nil {
		return nil
	}
	room := fmt.Sprintf("%s of %s free in %s", size(d.Free), size(d.Total), d.Path)
	switch {
	case d.Free < MinFree:
		return one(AreaDisk, Problem, room+"; below 64 MiB nothing is written down, so nothing is accepted",
			"Free some space, or move the home to a larger disk with --home.")
	case d.Free < lowFree:
		return one(AreaDisk, Warning, room, fmt.Sprintf("Free some space, or lower `cache` in config.yaml; it holds %s now.", size(d.Cache)))
	case d.Quota > d.Cache && d.Quota-d.Cache > d.Free:
		return one(AreaDisk, Warning, fmt.Sprintf("%s; the cache may grow by %s more", room, size(d.Quota-d.Cache)),
			fmt.Sprintf("Lower `cache` in config.yaml below %s.", size(d.Cache+d.Free)))
	}
	return one(AreaDisk, OK, room, "")
}

// Limits are what the system allows this process.
type Limits struct {
	Files        uint64 // RLIMIT_NOFILE
	FilesHard    uint64 // what it may be raised to
	FilesInUse   uint64
	Kernel       Kernel
	UsesQUIC     bool
	MemoryCgroup uint64 // bytes; 0: no limit
	Lent         uint64 // bytes of memory that are lent
}

// Numbers that a node works well with.
const (
	wantFiles  = 4096
	wantBuffer = 7_500_000 // bytes: https://github.com/quic-go/quic-go/wiki/UDP-Buffer-Sizes
)

func (l *Limits) check() []Finding {
	if l == nil {
		return nil
	}
	all := l.files()
	if k := l.Kernel; l.UsesQUIC && (k.ReceiveBuffer >= 0 && k.ReceiveBuffer < 7<<20 || k.SendBuffer >= 0 && k.SendBuffer < 7<<20) {
		all = append(all, one(AreaLimits, Note, fmt.Sprintf("UDP buffers may be %s to receive and %s to send: QUIC is slower than it could be", bytesOf(k.ReceiveBuffer), bytesOf(k.SendBuffer)),
			fmt.Sprintf("Run as root: sysctl -w net.core.rmem_max=%d net.core.wmem_max=%d, and put it into /etc/sysctl.d.", wantBuffer, wantBuffer))...)
	}
	if l.MemoryCgroup > 0 && l.Lent > l.MemoryCgroup {
		all = append(all, one(AreaLimits, Warning, fmt.Sprintf("%s of memory are lent, and the cgroup allows %s", size(l.Lent), size(l.MemoryCgroup)), "Lower lend.memory, or raise the limit of the container or service.")...)
	}
	if len(all) == 0 {
		return one(AreaLimits, OK, fmt.Sprintf("%d of %d files open", l.FilesInUse, l.Files), "")
	}
	return all
}

func (l *Limits) files() []Finding {
	const service = "Raise it with ulimit -n 65536, or LimitNOFILE=65536 in the service."
	switch {
	case l.Files > 0 && l.FilesInUse > l.Files/10*9:
		return one(AreaLimits, Problem, fmt.Sprintf("%d of %d files are open: soon nothing can be opened or connected", l.FilesInUse, l.Files), service)
	case l.Files < wantFiles && l.FilesHard > l.Files:
		return one(AreaLimits, Warning, fmt.Sprintf("at most %d files may be open; many peers need %d", l.Files, wantFiles), service)
	case l.Files < wantFiles:
		return one(AreaLimits, Warning, fmt.Sprintf("at most %d files may be open, and the hard limit is no higher", l.Files), "Raise the hard limit as root: LimitNOFILE=65536 in the service, or nofile in /etc/security/limits.conf.")
	}
	return nil
}

// bytesOf gives a number of a kernel for people.
func bytesOf(n int) string {
	if n < 0 {
		return "an unknown size"
	}
	return size(uint64(n))
}

// Home is the folder of the node.
type Home struct {
	Path       string
	Mode       fs.FileMode // of the folder
	Foreign    bool        // it belongs to another user
	KeyMode    fs.FileMode // of the identity
	NoKey      bool        // there is none yet
	SocketMode fs.FileMode // of the control socket
	NoSocket   bool        // no daemon runs
	Deaf       bool        // the socket is there, and nobody answers
	Network    string      // type of a file system that is not local; empty: it is local
}

func (h *Home) check() (all []Finding) {
	if h == nil {
		return nil
	}
	add := func(level Level, detail, fix string) { all = append(all, one(AreaHome, level, detail, fix)...) }
	if h.Foreign {
		add(Problem, h.Path+" belongs to another user", fmt.Sprintf("Run as that user, or give it away: chown -R \"$USER\" %q.", h.Path))
	}
	if h.Mode.Perm()&0o077 != 0 {
		add(Warning, fmt.Sprintf("%s can be opened by others (mode %04o)", h.Path, h.Mode.Perm()), fmt.Sprintf("Run chmod 700 %q.", h.Path))
	}
	if !h.NoKey && h.KeyMode.Perm()&0o077 != 0 {
		add(Problem, fmt.Sprintf("identity.key can be read by others (mode %04o): who reads it can be this node", h.KeyMode.Perm()), fmt.Sprintf("Run chmod 600 %q.", h.Path+"/identity.key"))
	}
	if !h.NoSocket && h.SocketMode.Perm()&0o077 != 0 {
		add(Problem, fmt.Sprintf("the control socket is open to others (mode %04o)", h.SocketMode.Perm()), "Restart the daemon, which sets it right.")
	}
	if h.Deaf {
		add(Problem, "the control socket is there, and nobody answers", "Start the daemon again: it takes the place of a socket that was left behind.")
	}
	if h.Network != "" {
		add(Warning, fmt.Sprintf("%s is on %s, where locks and flushing are not to be relied on", h.Path, h.Network), "Move the home to a local disk with --home.")
	}
	if len(all) == 0 {
		add(OK, h.Path+" is this user's alone", "")
	}
	return all
}
