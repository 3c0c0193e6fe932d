;; Wants 4 MiB at once.
(module (memory (export "memory") 64) (func (export "_start")))
