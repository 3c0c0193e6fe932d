;; Takes memory until there is no more, checks that every word of it is zero,
;; soils it, and exits with the number of pages; with 9999 if a word was not zero.
(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $at i32) (local $end i32)
    (block $full (loop $more
      (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
      (br $more)))
    (local.set $end (i32.shl (memory.size) (i32.const 16)))
    (loop $scan
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0))
        (then (call $exit (i32.const 9999))))
      (i64.store (local.get $at) (i64.const -1))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $scan (i32.lt_u (local.get $at) (local.get $end))))
    (call $exit (memory.size))))
