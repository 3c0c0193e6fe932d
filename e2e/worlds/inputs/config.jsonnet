local names = ['a%03d' % i for i in std.range(0, 3)];
local service(name) = { name: name, port: 8000 + std.length(name) * std.codepoint(name[3]), env: { [std.asciiUpper(k)]: std.md5(k + name) for k in ['one', 'two'] } };
{ [n + '.json']: service(n) + { next:: n, ratio: std.sqrt(super.port) / 3, tags: std.set([n[0], n[1:], n[3]]) } for n in names }
