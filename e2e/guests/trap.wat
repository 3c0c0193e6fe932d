;; Ends in a trap at once.
;; Build: wat2wasm trap.wat -o trap.wasm
(module
  (memory (export "memory") 1)
  (func (export "_start") unreachable))
