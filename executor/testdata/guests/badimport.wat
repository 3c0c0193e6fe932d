;; Imports what no machine has.
(module
  (import "env" "launch" (func))
  (memory (export "memory") 1)
  (func (export "_start")))
