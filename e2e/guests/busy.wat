;; busy counts to a hundred million, and ends.
(module
  (memory (export "memory") 1)
  (func (export "_start") (local $i i64)
    (loop $again
      (br_if $again
        (i64.lt_u
          (local.tee $i (i64.add (local.get $i) (i64.const 1)))
          (i64.const 100000000))))))
