local series(n) = std.foldl(function(a, i) a + std.sin(i) * std.exp(-i / 30) + std.pow(i, 0.3) + std.log(i), std.range(1, n), 0);
{ sum: series(12), text: ['%.12g %e' % [i / 7, i * 1e100] for i in std.range(1, 2)], m: std.mantissa(0.1), e: std.exponent(1e300), floor: std.floor(-0.5), mod: -7 % 3, tiny: 1e-320, list: [i / 3 for i in std.range(1, 9)], hash: std.md5('a') }
