local seed, a = 42, {}
for i = 1, 300 do seed = (seed * 1103515245 + 12345) % 2147483648; a[i] = { seed % 500, i } end
local compared = 0
table.sort(a, function(x, y) compared = compared + 1; return x[1] < y[1] end) -- not stable: the order of equals is the algorithm's
local out = {}
for i = 1, #a, 5 do out[#out + 1] = a[i][1] .. ":" .. a[i][2] end
print(compared, table.concat(out, " "))
