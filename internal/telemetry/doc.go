// Package telemetry answers what a node tells those who look after it: its
// counters, over HTTP; its traces, to a collector; and a bundle of facts for
// whoever helps, with no secret in it. docs/observing.md is its page.
//
// It owns the form of these three, what may be in them, and their limits. All
// are off unless the configuration asks for them, and none can be switched on,
// or made to cost more, by another peer. What is counted and traced it leaves to
// package node, which hands in functions and takes out no type of a library: this
// is the one door to Prometheus and to OpenTelemetry.
package telemetry
