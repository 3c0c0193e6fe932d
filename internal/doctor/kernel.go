package doctor

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Kernel is what the host says about itself. Minus one: it does not say.
type Kernel struct {
	Release             string // as of uname -r
	UserNamespaces      int    // user.max_user_namespaces
	UnprivilegedClone   int    // kernel.unprivileged_userns_clone, of Debian
	AppArmorRestriction int    // kernel.apparmor_restrict_unprivileged_userns, of Ubuntu
	ReceiveBuffer       int    // net.core.rmem_max, bytes
	SendBuffer          int    // net.core.wmem_max, bytes
}

// ReadKernel reads what a Linux kernel says under /proc/sys; root is the root of
// the file tree, os.DirFS("/"). What is not there is minus one.
func ReadKernel(root fs.FS) Kernel {
	text := func(path string) string {
		b, err := fs.ReadFile(root, "proc/sys/"+path)
		if err != nil || len(b) > 256 {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	number := func(path string) int {
		n, err := strconv.Atoi(text(path))
		if err != nil {
			return -1
		}
		return n
	}
	return Kernel{
		Release: text("kernel/osrelease"), UserNamespaces: number("user/max_user_namespaces"),
		UnprivilegedClone:   number("kernel/unprivileged_userns_clone"),
		AppArmorRestriction: number("kernel/apparmor_restrict_unprivileged_userns"),
		ReceiveBuffer:       number("net/core/rmem_max"), SendBuffer: number("net/core/wmem_max"),
	}
}

// allowNamespaces names the setting that is in the way.
func (k Kernel) allowNamespaces() string {
	switch {
	case k.UserNamespaces == 0:
		return "Run as root: sysctl -w user.max_user_namespaces=15000, and put it into /etc/sysctl.d."
	case k.UnprivilegedClone == 0:
		return "Run as root: sysctl -w kernel.unprivileged_userns_clone=1, and put it into /etc/sysctl.d."
	case k.AppArmorRestriction == 1:
		return "Run as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give this program an AppArmor profile that allows userns."
	}
	return "Inside a container, let it make user namespaces (docker run --security-opt seccomp=unconfined); else look whether CONFIG_USER_NS is in the kernel."
}

// atLeast tells whether the release is this or later; one that cannot be read is
// taken for new.
func (k Kernel) atLeast(major, minor int) bool {
	var a, b int
	if _, err := fmt.Sscanf(k.Release, "%d.%d", &a, &b); err != nil {
		return true
	}
	return a > major || a == major && b >= minor
}
