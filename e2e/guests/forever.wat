;; Never ends.
;; Build: wat2wasm forever.wat -o forever.wasm
(module
  (memory (export "memory") 1)
  (func (export "_start") (loop $again (br $again))))
