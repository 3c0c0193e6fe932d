// Package archtest answers whether the tree still has the shape that
// docs/architecture.md draws: which package imports which, which library has
// which door, and what may lie where.
//
// It owns that table (rules.go) and the checker. A new package, a new
// dependency, or a new file at the root is a row here, and a reason in the
// change that brings it.
package archtest
