import hashlib, math, struct, zlib
s = 0.0
for i in range(1, 60):
    x = i / 7
    s += math.sin(x) * math.exp(-x / 20) + math.gamma(i % 20 + 0.5) + math.erf(x) + math.log1p(x) + x ** 0.3
    if i % 10 == 0:
        print(repr(s), s.hex(), "%.3e %g %.17g" % (x, s, -x), round(s, 3), float(repr(s)) == s)
print(math.fsum([0.1] * 10), math.nan, struct.pack("<d", math.nan * 0).hex(), struct.pack("<d", math.inf - math.inf).hex())
print(divmod(-7.5, 2), 2 ** 0.5, 10 ** 400 % 97, int("9" * 200) // 7)
b = bytes(i * 7 % 256 for i in range(500))
for name in ("md5", "sha256", "sha3_256", "blake2b"):
    print(name, hashlib.new(name, b).hexdigest())
print(hash("a"), hash(b), hash((1, 2.5, "x")), hash(1e300))
print(list({"one", "two", "three", "four", "five", "six", "seven"}), sorted([(i * 7919 % 101, i) for i in range(150)])[::10])
packed = zlib.compress(b, 9)
print(len(packed), zlib.crc32(packed), zlib.decompress(packed) == b)
import _random, os, sys, time
r = _random.Random()
print(r.random(), r.getrandbits(100), os.urandom(8).hex())
print(time.time(), time.time_ns(), time.monotonic(), time.localtime()[:6], time.gmtime(0)[:6], time.tzname)
print(id(object()), repr(object()), object.__hash__(sys), sorted(os.environ.items()), sys.argv[1:], os.getcwd())
print({i * 0.5: None for i in range(5)}, {frozenset((1, "a")), "b", 3.5, None} - {3.5})
