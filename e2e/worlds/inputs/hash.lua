-- tables by many kinds of keys, in the order in which they are met
local t = {}
for i = 1, 150 do t["k" .. (i * 7919) % 1009] = i; t[i * 0.5] = i; t[{}] = i end
local n, order = 0, {}
for k, v in pairs(t) do n = n + v; if type(k) == "string" then order[#order + 1] = k end end
print(n, #order, table.concat(order, ",", 1, 20))
print(tostring({}):match("^table: ") and "tables have addresses", tostring(print):sub(1, 8))
math.randomseed(os.time())
print(math.random(1000000), math.random(), os.time(), os.clock(), os.date("%Y-%m-%d %H:%M:%S"))
