// Package e2e tests muster from the outside: real processes, each with a home of
// its own, on real sockets, running real programs in the real sandbox. It owns
// nothing but tests; what a liar, a stalled provider or a stranger to the mesh
// is made of is in node_test.go, and the harness in mesh_test.go.
package e2e
