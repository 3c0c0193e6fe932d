package executor

import "strings"

// A hostileScript is a guest that tries things one after the other, and goes on
// when it is refused.
type hostileScript struct {
	name  string
	steps []step
}

// hostileScripts is what a guest can try with paths, descriptors and counts.
// canary is the absolute path of a file of the host with a secret in it.
func hostileScripts(canary string) []hostileScript {
	return []hostileScript{
		{"absolute paths", []step{
			opens(eNotCapable, "/etc/passwd", 0, 0), opens(eNotCapable, canary, 0, 0), opens(eNotCapable, "/", 0, 0), opens(eNotCapable, "//in/a", 0, 0),
		}},
		{"paths that go up", []step{
			opens(eNotCapable, "..", openDirectory, 0), opens(eNotCapable, "../etc/passwd", 0, 0), opens(eNotCapable, "in/../../etc/passwd", 0, 0),
			opens(eNotCapable, "./in/.././../x", 0, 0), opens(eNotCapable, strings.Repeat("../", 40)+canary[1:], 0, 0), opens(eOK, "in/../in/./a", 0, 0),
		}},
		{"paths that go up from a directory", []step{
			opens(eOK, "in", openDirectory, 0), opensAt(eNotCapable, slot(0), "..", openDirectory, 4),
			opensAt(eNotCapable, slot(0), "../in/a", 0, 4), opensAt(eNotCapable, slot(0), "d/../../in/a", 0, 4), opensAt(eOK, slot(0), "d/../a", 0, 4),
		}},
		{"paths that a host has", []step{
			opens(eNoEnt, "etc/passwd", 0, 0), opens(eNoEnt, "proc/self/environ", 0, 0), opens(eNoEnt, "dev/null", 0, 0),
			opens(eNoEnt, canary[1:], 0, 0), opens(eNoEnt, `C:\Windows`, 0, 0), opens(eNoEnt, `..\..\etc\passwd`, 0, 0), opens(eNoEnt, "~/.ssh", 0, 0),
		}},
		{"paths with a zero byte", []step{
			opens(eIlSeq, "in/a\x00", 0, 0), opens(eIlSeq, "in/a\x00/../../../etc/passwd", 0, 0), opens(eIlSeq, "\x00", openCreate, 0),
		}},
		{"paths that are not UTF-8", []step{
			opens(eIlSeq, "\xff\xfe", openCreate, 0), opens(eIlSeq, "\xc0\xae\xc0\xae/etc/passwd", 0, 0), opens(eIlSeq, "\xed\xa0\x80", openCreate, 0),
			do(eIlSeq, "path_create_directory", 3, "out/\x80"), do(eIlSeq, "path_rename", 3, "in/a", 3, "out/\xf8"),
		}},
		{"paths that are too long", []step{
			opens(eNameTooLong, strings.Repeat("a", 256), openCreate, 0), opens(eNameTooLong, strings.Repeat("a/", 2049), 0, 0),
			opens(eNoEnt, strings.Repeat("a/", 2047)+"b", 0, 0), do(eNameTooLong, "path_unlink_file", 3, 0, 1<<31), do(eNameTooLong, "path_unlink_file", 3, 65535, 0xffffffff),
			do(eFault, "path_unlink_file", 3, 65535, 4096),
		}},
		{"paths that are odd", []step{
			opens(eNoEnt, "", 0, 0), opens(eNotDir, "in/a/", 0, 0), opens(eNotDir, "in/a/.", 0, 0), opens(eNotDir, "in/a/..", 0, 0), opens(eNotDir, "in/a/b/c", 0, 0),
		}},
		{"symbolic links", []step{
			do(eNotSup, "path_symlink", "/etc", 3, "out/l"), do(eNotSup, "path_symlink", "../../../../../etc/passwd", 3, "out/m"),
			opens(eNoEnt, "out/l/passwd", 0, 0), opens(eNoEnt, "out/m", 0, 0), do(eInval, "path_readlink", 3, "in/a", 0, 100, 8), do(eNoEnt, "path_readlink", 3, "out/m", 0, 100, 8),
		}},
		{"hard links", []step{
			do(eNotSup, "path_link", 3, 0, "in/a", 3, "out/a"), do(eNotSup, "path_link", 3, 1, "../etc/passwd", 3, "out/b"), opens(eNoEnt, "out/a", 0, 0),
		}},
		{"a directory renamed into itself", []step{
			do(eOK, "path_create_directory", 3, "p"), do(eOK, "path_create_directory", 3, "p/q"), do(eInval, "path_rename", 3, "p", 3, "p/q/r"),
			do(eInval, "path_rename", 3, "p", 3, "p/p"), do(eOK, "path_rename", 3, "p", 3, "p"), do(eOK, "path_remove_directory", 3, "p/q"),
		}},
		{"a directory renamed over its parent", []step{
			do(eOK, "path_create_directory", 3, "p"), do(eOK, "path_create_directory", 3, "p/q"), do(eNotEmpty, "path_rename", 3, "p/q", 3, "p"),
			do(eNotDir, "path_rename", 3, "p/q", 3, "in/a"), do(eIsDir, "path_rename", 3, "in/a", 3, "p/q"),
		}},
		{"two directories renamed into each other", []step{
			do(eOK, "path_create_directory", 3, "a"), do(eOK, "path_create_directory", 3, "b"), opens(eOK, "a", openDirectory, 0), opens(eOK, "b", openDirectory, 4),
			do(eOK, "path_rename", 3, "a", 3, "b/a"), do(eInval, "path_rename", 3, "b", slot(0), "b"), do(eInval, "path_rename", 3, "b", 3, "b/a/b"),
			opensAt(eNotCapable, slot(0), "../..", openDirectory, 8), opensAt(eOK, slot(0), "x", openCreate, 8),
		}},
		{"files renamed out of the tree", []step{
			do(eNotCapable, "path_rename", 3, "in/a", 3, "../a"), do(eNotCapable, "path_rename", 3, "in/a", 3, "/tmp/a"),
			do(eNotCapable, "path_rename", 3, "../etc/passwd", 3, "out/p"), do(eNoEnt, "path_rename", 3, "etc", 3, "out/e"),
		}},
		{"an open directory taken away", []step{
			do(eOK, "path_create_directory", 3, "d"), opens(eOK, "d", openDirectory, 0), do(eOK, "path_remove_directory", 3, "d"),
			opensAt(eNoEnt, slot(0), "x", openCreate, 4), do(eNoEnt, "path_create_directory", slot(0), "y"), opensAt(eNoEnt, slot(0), "..", openDirectory, 4),
			do(eOK, "fd_readdir", slot(0), 512, 100, 0, 8), do(eOK, "fd_close", slot(0)), do(eBadF, "fd_readdir", slot(0), 512, 100, 0, 8),
		}},
		{"an open file taken away", []step{
			opens(eOK, "f", openCreate, 0), do(eOK, "path_unlink_file", 3, "f"), do(eOK, "fd_filestat_set_size", slot(0), 1000), opens(eNoEnt, "f", 0, 4),
			do(eNoSpc, "fd_filestat_set_size", slot(0), 1<<35), do(eOK, "fd_close", slot(0)),
		}},
		{"the root taken away", []step{
			do(eInval, "path_remove_directory", 3, "."), do(eBusy, "path_rename", 3, ".", 3, "out/root"), do(eIsDir, "path_unlink_file", 3, "."), do(eNotCapable, "path_remove_directory", 3, ".."),
		}},
		{"the preopened directory closed", []step{
			do(eOK, "fd_close", 3), opens(eBadF, "in/a", 0, 0), do(eBadF, "fd_prestat_get", 3, 0), do(eBadF, "fd_close", 3), do(eBadF, "fd_renumber", 3, 4),
		}},
		{"descriptors that are not there", []step{
			do(eBadF, "fd_close", 77), do(eBadF, "fd_close", -1), do(eBadF, "fd_close", 1<<31), do(eBadF, "fd_renumber", 77, 3), do(eBadF, "fd_renumber", 3, 77),
			do(eBadF, "fd_renumber", 3, -1), do(eBadF, "fd_readdir", 1<<30, 0, 100, 0, 8), do(eBadF, "fd_prestat_get", 4, 0),
		}},
		{"a descriptor closed twice", []step{
			opens(eOK, "in/a", 0, 0), do(eOK, "fd_close", slot(0)), do(eBadF, "fd_close", slot(0)), do(eBadF, "fd_tell", slot(0), 8),
			opens(eOK, "in/a", 0, 4), do(eOK, "fd_close", slot(0)), do(eBadF, "fd_close", slot(4)), // the number is given again
		}},
		{"a descriptor over itself", []step{
			do(eOK, "fd_renumber", 3, 3), opens(eOK, "in/a", 0, 0), do(eOK, "fd_renumber", slot(0), slot(0)), do(eOK, "fd_tell", slot(0), 8),
		}},
		{"a file over the preopened directory", []step{
			opens(eOK, "in/a", 0, 0), do(eOK, "fd_renumber", slot(0), 3), opens(eNotDir, "in/a", 0, 0), do(eBadF, "fd_tell", slot(0), 8),
		}},
		{"the progress descriptor", []step{
			do(eOK, "fd_close", 1000), do(eOK, "fd_close", 1000), do(eNotSup, "fd_renumber", 1000, 1), do(eNotSup, "fd_renumber", 3, 1000), do(eBadF, "fd_read", 1000, 16, 1, 8),
			opensAt(eNotDir, 1000, "in/a", 0, 0),
		}},
		{"more rights than were given", []step{
			do(eOK, "path_open", 3, 0, "in/a", 0, int(rightRead), -1, 0, 0), do(eBadF, "fd_write", slot(0), 16, 1, 8), do(eBadF, "fd_filestat_set_size", slot(0), 0),
			do(eNotCapable, "fd_fdstat_set_rights", slot(0), -1, -1), do(eBadF, "fd_write", slot(0), 16, 1, 8),
		}},
		{"huge counts of buffers", []step{
			do(eInval, "fd_write", 1, 0, -1, 8), do(eInval, "fd_write", 1, 0, 1<<30, 8), do(eInval, "fd_read", 0, 0, 1025, 8), do(eSPipe, "fd_pread", 0, 0, 1<<29, 0, 8),
			do(eSPipe, "fd_pwrite", 1, 0, -1, 0, 8), opens(eOK, "in/a", 0, 0), do(eInval, "fd_pread", slot(0), 0, 1<<29, 0, 8), do(eInval, "fd_pwrite", slot(0), 0, -1, 0, 8),
		}},
		{"pointers at the end of memory", []step{
			do(eFault, "fd_write", 1, 65529, 1, 8), do(eFault, "fd_write", 1, -8, 1, 8), do(eFault, "random_get", 65535, 2), do(eFault, "clock_time_get", 0, 0, 65529),
			do(eFault, "fd_prestat_get", 3, 65530), do(eFault, "fd_filestat_get", 3, 65500), do(eFault, "args_get", 65535, 0), do(eFault, "environ_sizes_get", 0, 65535),
			do(eFault, "path_filestat_get", 3, 0, "in/a", 65473), do(eFault, "fd_readdir", 3, 65535, 2, 0, 8), do(eFault, "random_get", -1, 1),
		}},
		{"four gigabytes of randomness", []step{
			do(eFault, "random_get", 0, -1), do(eFault, "random_get", 1, -1), do(eFault, "random_get", -1, -1), do(eOK, "random_get", 1024, 30000),
		}},
		{"absurd places in directories", []step{
			do(eOK, "fd_readdir", 3, 512, 100, -1, 8), do(eOK, "fd_readdir", 3, 512, 100, 1<<62, 8), do(eOK, "fd_readdir", 3, 512, 0, 0, 8),
			do(eFault, "fd_readdir", 3, 512, -1, 0, 8), do(eOK, "fd_readdir", 3, 512, 1, 4, 8), do(eNotDir, "fd_readdir", 0, 512, 100, 0, 8),
		}},
		{"absurd places in files", []step{
			opens(eOK, "f", openCreate, 0), do(eInval, "fd_seek", slot(0), -1<<63, 0, 8), do(eOK, "fd_seek", slot(0), 1<<62, 0, 8), do(eInval, "fd_seek", slot(0), 1<<62, 1, 8),
			do(eInval, "fd_seek", slot(0), 0, 99, 8), do(eFBig, "fd_filestat_set_size", slot(0), -1), do(eFBig, "fd_allocate", slot(0), -1, -1), do(eNoSpc, "fd_allocate", slot(0), 1<<39, 1),
		}},
		{"absurd numbers of events", []step{
			do(eInval, "poll_oneoff", 0, 0, 0, 8), do(eInval, "poll_oneoff", 0, 0, 4097, 8), do(eInval, "poll_oneoff", 0, 0, -1, 8), do(eFault, "poll_oneoff", 65500, 0, 1, 8),
			do(eFault, "poll_oneoff", 0, 65500, 2, 8),
		}},
		{"sockets", []step{
			do(eNotSock, "sock_accept", 3, 0, 8), do(eBadF, "sock_accept", 4, 0, 8), do(eNotSock, "sock_recv", 0, 16, 1, 0, 8, 12), do(eNotSock, "sock_send", 1, 16, 1, 0, 8),
			do(eNotSock, "sock_shutdown", 1, 3), do(eBadF, "sock_shutdown", -1, 3), opens(eNoEnt, "run/docker.sock", 0, 0),
		}},
		{"signals", []step{
			do(eNoSys, "proc_raise", 9), do(eNoSys, "proc_raise", 6), do(eNoSys, "proc_raise", -1), do(eOK, "sched_yield"),
		}},
		{"clocks that are not there", []step{
			do(eInval, "clock_time_get", 4, 0, 8), do(eInval, "clock_time_get", -1, 0, 8), do(eInval, "clock_res_get", 99, 8), do(eOK, "clock_time_get", 0, -1, 8),
		}},
	}
}
