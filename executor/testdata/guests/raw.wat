;; Opens the path that is its first argument, as it is, and exits with the error
;; number.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $p i32)
    (drop (call $sizes (i32.const 0) (i32.const 4)))
    (drop (call $args (i32.const 16) (i32.const 64)))
    (local.set $p (i32.load (i32.const 20)))
    (call $exit (call $open (i32.const 3) (i32.const 0) (local.get $p)
      (i32.sub (i32.add (i32.const 63) (i32.load (i32.const 4))) (local.get $p))
      (i32.const 0) (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 8)))))
