// Package doctor answers what is wrong with a node, or with the machine that it
// runs on, and what its owner can do about it.
//
// It owns the rules: facts in, findings out, with no look at anything itself but
// the few files of a kernel that [ReadKernel] is handed. Measuring it leaves to
// package node, and showing to the command line.
package doctor
