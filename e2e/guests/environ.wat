;; Prints its environment, each variable ended by a zero byte: MUSTER_TASK_COUNT
;; and MUSTER_TASK_INDEX at least, so that every task of a job prints its own.
;; Build: wat2wasm environ.wat -o environ.wasm
(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 4)))     ;; count at 0, bytes at 4
    (drop (call $get (i32.const 1024) (i32.const 65536)))
    (i32.store (i32.const 16) (i32.const 65536))         ;; the iovec at 16
    (i32.store (i32.const 20) (i32.load (i32.const 4)))
    (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))
