package executor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// findGroups finds where this process may make control groups; self is its
// directory in /proc.
func findGroups(self string) (groupBase, error) {
	at, err := ownGroups(self)
	if err != nil {
		return groupBase{}, err
	}
	if dir, ok := at[""]; ok && offers(dir) {
		dir, err := delegated(dir)
		return groupBase{dirs: []string{dir}, files: groupFiles2}, err
	}
	memory, pids := at["memory"], at["pids"]
	if memory == "" || pids == "" {
		return groupBase{}, errors.New("the host has no control groups for memory and threads")
	}
	for _, dir := range []string{memory, pids} {
		if err := unix.Access(dir, unix.W_OK); err != nil {
			return groupBase{}, fmt.Errorf("this user may not make control groups in %s: %w", dir, err)
		}
	}
	return groupBase{dirs: slices.Compact([]string{memory, pids}), files: groupFiles1}, nil
}

// offers tells whether a group of version 2 can count memory and threads.
func offers(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	return err == nil && counts(b)
}

func counts(controllers []byte) bool {
	list := strings.Fields(string(controllers))
	return slices.Contains(list, "memory") && slices.Contains(list, "pids")
}

// delegated gives the directory in which groups of version 2 can be made: own,
// if it may hold both processes and groups, or the one above it if that is
// handed down to this process.
func delegated(own string) (string, error) {
	if divide(own) == nil {
		return own, nil
	}
	above := filepath.Dir(own)
	if handedDown(above) && divide(above) == nil {
		return above, nil
	}
	return "", fmt.Errorf("control group %s is not delegated: run the daemon as a systemd service with Delegate=yes and DelegateSubgroup=daemon", own)
}

// divide has a group count the memory and threads of those below it. The kernel
// refuses that where there are processes in it.
func divide(dir string) error {
	const name = "cgroup.subtree_control"
	if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !counts(b) {
		if err := setFile(dir, name, "+memory +pids"); err != nil {
			return err
		}
	}
	return unix.Access(dir, unix.W_OK)
}

// handedDown tells whether whoever runs this machine left a group to us: systemd
// says so by an attribute, others by giving it to an ordinary user.
func handedDown(dir string) bool {
	for _, attr := range []string{"user.delegate", "trusted.delegate"} {
		value := make([]byte, 1)
		if n, err := unix.Getxattr(dir, attr, value); err == nil && n == 1 && value[0] == '1' {
			return true
		}
	}
	info, err := os.Stat(filepath.Join(dir, "cgroup.procs"))
	if err != nil || os.Geteuid() == 0 {
		return false
	}
	return unix.Access(filepath.Join(dir, "cgroup.procs"), unix.W_OK) == nil && info.Mode().IsRegular()
}

// ownGroups gives the directory of this process's group for each controller of
// version 1, and "" for version 2. cgroups(7), proc_pid_mountinfo(5).
func ownGroups(self string) (map[string]string, error) {
	paths, err := groupPaths(self)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(self, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	defer f.Close()
	at := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		mount, about, _ := strings.Cut(lines.Text(), " - ")
		where, what := strings.Fields(mount), strings.Fields(about)
		if len(where) < 5 || len(what) < 3 || strings.Contains(where[4], `\`) {
			continue
		}
		var names []string
		switch what[0] {
		case "cgroup2":
			names = []string{""}
		case "cgroup":
			names = strings.Split(what[2], ",") // controllers among the mount's options
		}
		for _, name := range names {
			path, ok := paths[name]
			below, inside := strings.CutPrefix(path, strings.TrimSuffix(where[3], "/"))
			if ok && inside && at[name] == "" {
				at[name] = filepath.Join(where[4], below)
			}
		}
	}
	return at, nil
}

// groupPaths reads lines like "4:memory:/user" and, of version 2, "0::/user".
func groupPaths(self string) (map[string]string, error) {
	b, err := os.ReadFile(filepath.Join(self, "cgroup"))
	if err != nil {
		return nil, fmt.Errorf("find control groups: %w", err)
	}
	paths := map[string]string{}
	for line := range strings.Lines(string(b)) {
		part := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(part) != 3 {
			continue
		}
		for name := range strings.SplitSeq(part[1], ",") {
			paths[name] = part[2]
		}
	}
	return paths, nil
}
