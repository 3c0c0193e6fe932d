local function down(n) return 1 + down(n + 1) end
print(pcall(down, 0))
print(pcall(function() return nil + 1 end))
error("as it should")
