// Package store answers what a node has written down: it keeps keys and values
// on disk, and is the one door to Badger.
//
// It owns the home's lock, the format version, the order in which things reach
// the disk, and the grouping of many small commits into few syncs. What the
// keys and values mean, and under which prefix they lie, is the business of the
// package that owns the noun; docs/storage.md lists them.
package store
