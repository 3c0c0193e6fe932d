;; The smallest guest there is: it does nothing and no runtime starts for it.
;; Build: wat2wasm noop.wat -o noop.wasm
(module
  (memory (export "memory") 1)
  (func (export "_start")))
