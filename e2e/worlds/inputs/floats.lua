local s = 0
for i = 1, 120 do
  local x = i / 7
  s = s + math.sin(x) * math.cos(x / 3) + math.exp(-x) + math.sqrt(x) ^ 1.5 + math.log(x) + math.fmod(x, 0.3)
  if i % 10 == 0 then print(string.format("%.17g %e %g %q", s, x, 1 / x, tostring(s))) end
end
print(0 / 0, -(0 / 0), 1 / 0, -1 / 0, 2 ^ 53 + 1, 1e15, 1e16, 123456789012345678, tonumber("0x1p4"), tonumber("1e400"), 5 % -3, -5 % 3, 5.5 % -2)
