local f = assert(io.open("/in/words.txt"))
local text = f:read("*a"); f:close()
local n = {}
for w in text:gmatch("%a+") do n[w:lower()] = (n[w:lower()] or 0) + 1 end
local words = {}
for w, c in pairs(n) do words[#words + 1] = string.format("%5d %s", c, w) end
print(#words, table.concat(words, "\n", 1, 20))
local out = assert(io.open("/out/upper.txt", "w"))
out:write((text:upper():gsub("%s+", " "):reverse())); out:close()
print(os.rename("/out/upper.txt", "/out/turned.txt"), os.remove("/out/none"), io.open("/nowhere"))
io.stderr:write("done\n")
