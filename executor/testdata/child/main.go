// Command child is nothing but a sandbox: a binary for Config.ChildPath.
package main

import (
	"fmt"
	"os"

	"github.com/mustermesh/muster/executor"
)

func main() {
	executor.ChildMain()
	fmt.Fprintln(os.Stderr, "this is started by an executor, not by hand")
	os.Exit(2)
}
