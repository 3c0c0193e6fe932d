// Package eventlog answers: what happened at this node lately. It keeps the
// latest events in memory, numbers them so that a reader can go on where it
// stopped, and lets any number of readers follow. It owns the numbers and the
// room; what counts as an event is said by whoever adds it, and how one looks
// outside is for package node.
package eventlog
