package node

import "os"

// foreign: files have no owner by number here.
func foreign(os.FileInfo) bool { return false }
