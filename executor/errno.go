package executor

import "fmt"

// An errno is an error number of WASI preview 1.
type errno uint32

const (
	eOK          errno = 0
	eBadF        errno = 8
	eBusy        errno = 10
	eExist       errno = 20
	eFault       errno = 21
	eFBig        errno = 22
	eIlSeq       errno = 25
	eInval       errno = 28
	eIsDir       errno = 31
	eMFile       errno = 33
	eNameTooLong errno = 37
	eNoEnt       errno = 44
	eNoSpc       errno = 51
	eNoSys       errno = 52
	eNotDir      errno = 54
	eNotEmpty    errno = 55
	eNotSock     errno = 57
	eNotSup      errno = 58
	eSPipe       errno = 70
	eNotCapable  errno = 76
)

func (e errno) String() string {
	switch e {
	case eNameTooLong:
		return "too long"
	case eIlSeq:
		return "not UTF-8, or has a zero byte"
	}
	return fmt.Sprintf("errno %d", uint32(e))
}
