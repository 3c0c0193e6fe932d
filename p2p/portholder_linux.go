package p2p

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// portHolder names the process that has a port, as far as this user may see; it
// is for an error message alone, so every failure gives "".
func portHolder(network, hostport string) string {
	_, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return ""
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return ""
	}
	kind := strings.TrimRight(network, "46")
	sockets := make(map[string]bool)
	for _, table := range []string{kind, kind + "6"} {
		socketsOfPort("/proc/net/"+table, n, sockets)
	}
	return holderOf(sockets)
}

// socketsOfPort adds the inodes of the sockets bound to port that are not
// connections; table is described in proc_net_tcp of the kernel's documents.
func socketsOfPort(table string, port int, into map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for s := bufio.NewScanner(f); s.Scan(); {
		const local, remote, inode = 1, 2, 9
		col := strings.Fields(s.Text())
		if len(col) > inode && strings.HasSuffix(col[local], suffix) && strings.HasSuffix(col[remote], ":0000") {
			into["socket:["+col[inode]+"]"] = true
		}
	}
}

func holderOf(sockets map[string]bool) string {
	if len(sockets) == 0 {
		return ""
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && sockets[to] {
			dir := filepath.Dir(filepath.Dir(fd))
			name, _ := os.ReadFile(dir + "/comm")
			return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), filepath.Base(dir))
		}
	}
	return ""
}
