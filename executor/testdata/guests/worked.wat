(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func $sum (param i32) (result i32) (local i32)
    loop
      local.get 0
      local.get 1
      i32.add
      local.set 1
      local.get 0
      i32.const 1
      i32.sub
      local.tee 0
      br_if 0
    end
    local.get 1)
  (func (export "_start")
    i32.const 64
    i32.const 10
    call $sum
    i32.store
    i32.const 0
    i32.const 7
    i32.const 40
    memory.fill
    i32.const 1
    i64.const 0
    i32.const 72
    call $clock
    if
      unreachable
    end
    i32.const 72
    i32.load
    call $exit))
