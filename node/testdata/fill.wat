;; Writes one file, 64 KiB at a time, until it is refused, and exits with the
;; error number.
(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "\00\00\01\00\00\00\01\00")
  (data (i32.const 32) "out/x")
  (func (export "_start") (local $e i32)
    (if (call $open (i32.const 3) (i32.const 0) (i32.const 32) (i32.const 5)
          (i32.const 1) (i64.const 64) (i64.const 64) (i32.const 0) (i32.const 16))
      (then (call $exit (i32.const 255))))
    (loop $again
      (local.set $e (call $write (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 24)))
      (br_if $again (i32.eqz (local.get $e))))
    (call $exit (local.get $e))))
