package p2p

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// A PortTakenError says that another process has the port of a listen address.
type PortTakenError struct {
	Addr string // multiaddr as configured
	By   string // the process, as "name (pid 123)", where it can be told; else empty
	Err  error
}

// Error names the address, and what to do.
func (e *PortTakenError) Error() string {
	by := "another process"
	if e.By != "" {
		by = e.By
	}
	return fmt.Sprintf("listen on %s: the port is taken by %s; stop that, or choose another port with --listen (port 0 takes a free one)", e.Addr, by)
}

// Unwrap gives the operating system's error.
func (e *PortTakenError) Unwrap() error { return e.Err }

// probePorts binds every fixed port once and frees it again. The library shares
// TCP ports with other processes of the same user (SO_REUSEPORT), so that two
// nodes would each get half of the connections; the probe does not share.
func probePorts(addrs []ma.Multiaddr) error {
	for _, a := range addrs {
		if err := probePort(a); err != nil {
			return err
		}
	}
	return nil
}

func probePort(a ma.Multiaddr) error {
	network, hostport, err := dialArgs(a)
	if err != nil {
		return fmt.Errorf("%w: listen address %s: %v", ErrConfig, a, err)
	}
	if _, port, err := net.SplitHostPort(hostport); err != nil || port == "0" {
		return nil
	}
	var closer interface{ Close() error }
	if network == "tcp4" || network == "tcp6" {
		closer, err = net.Listen(network, hostport)
	} else {
		closer, err = net.ListenPacket(network, hostport)
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &PortTakenError{Addr: a.String(), By: portHolder(network, hostport), Err: err}
	case err != nil:
		return fmt.Errorf("listen on %s: %w", a, err)
	}
	return closer.Close()
}

// dialArgs gives the network and address of the first two parts of a.
func dialArgs(a ma.Multiaddr) (network, hostport string, err error) {
	if len(a) > 2 {
		a = a[:2]
	}
	return manet.DialArgs(a)
}

// listenError tells a port taken since the probe from other failures.
func listenError(addrs []ma.Multiaddr, err error) error {
	if taken := probePorts(addrs); taken != nil {
		return taken
	}
	return fmt.Errorf("open network host: %w", err)
}

// allBound checks that each configured address has its listener: the library is
// content with one of them.
func allBound(want, got []ma.Multiaddr) error {
	for _, proto := range []func(ma.Multiaddr) bool{isTCP, isQUIC} {
		if count(want, proto) > count(got, proto) {
			return fmt.Errorf("listen on %v: got only %v", want, got)
		}
	}
	return nil
}

func count(addrs []ma.Multiaddr, is func(ma.Multiaddr) bool) int {
	n := 0
	for _, a := range addrs {
		if is(a) {
			n++
		}
	}
	return n
}
