// Package rewrite answers one question: which module does the same as this one,
// and the same everywhere, within a budget?
//
// It owns the machine's rules for WebAssembly: what of the standard is accepted,
// what each instruction costs, how deep calls may go, and where a NaN gets the
// one pattern that all machines agree on. A module is validated as a whole before
// a byte of it is changed, so that it can reach nothing that is added.
//
// It leaves running to others, and knows no engine.
package rewrite
