local function place(n, row, cols, up, down)
  if row > n then return 1 end
  local found = 0
  for c = 1, n do
    if not (cols[c] or up[row + c] or down[row - c]) then
      cols[c], up[row + c], down[row - c] = true, true, true
      found = found + place(n, row + 1, cols, up, down)
      cols[c], up[row + c], down[row - c] = nil, nil, nil
    end
  end
  return found
end
for n = 4, 6 do print(n, place(n, 1, {}, {}, {})) end
local co = coroutine.wrap(function() for i = 1, 50 do coroutine.yield(i * i) end end)
local s = 0
for i = 1, 50 do s = s + co() end
print(s, select("#", unpack({ 1, 2, nil, 4 }, 1, 4)), pcall(error, { 1 }))
