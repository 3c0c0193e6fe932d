// Package sandbox answers what one execution of a task gives: it fetches what the
// task needs, runs it, and makes one tree of what the guest left.
//
// It owns the form of an output root, the tags that say whose content lies here,
// and which requester's task may read what of it ([View]). It leaves the guest's
// machine to package executor, bytes and pins to internal/content, the way to
// other peers to its caller's [Fetcher], and what becomes of an answer to packages
// provider and requester.
package sandbox
