package content

import "fmt"

// A Class says who may have a root; others enforce it. The numbers are those on
// disk.
type Class byte

// The classes of docs/storage.md.
const (
	Public Class = 1 // any peer
	Job    Class = 2 // peers that show a grant of the job
	Result Class = 3 // the requester alone, until its task is settled
)

// String gives the name of the class.
func (c Class) String() string {
	switch c {
	case Public:
		return "public"
	case Job:
		return "job"
	case Result:
		return "result"
	}
	return fmt.Sprintf("class(%d)", byte(c))
}
