// Command noop is a guest that does nothing: what running it costs is what
// running anything costs.
package main

func main() {}
