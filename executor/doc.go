// Package executor answers one question: what does this program do with this
// input? It runs strangers' programs within limits, and is the only door to
// wazero.
//
// It owns the sandbox: the isolated child processes in which programs are
// compiled and run, the machine that a guest sees (docs/machine.md), and the
// protocol between the daemon and a child. A guest's failure is a Result, the
// failure of our own sandbox an error.
//
// It leaves to others where programs and inputs come from and where outputs go
// (Program, Tree, Source and Sink are what it asks for), who may run what, how
// many executions go on at a time, and what a result is worth.
package executor
