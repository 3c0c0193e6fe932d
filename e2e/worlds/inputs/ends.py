import os, sys
words = open("/in/words.txt").read().replace(".", "").split()
count = {}
for w in words: count[w] = count.get(w, 0) + 1
print(sorted(count.items(), key=lambda x: (-x[1], x[0]))[:15], list(count)[:5])
os.makedirs("/out/a/b"); os.chdir("/out/a")
for i in range(4):
    with open(f"b/{i}.txt", "w") as f: f.write(words[i] * (i + 1))
os.rename("b/1.txt", "one"); os.remove("b/2.txt")
print(sorted(os.listdir("b")), os.stat("one").st_size, os.path.exists("/in/none"), os.listdir("/"))
with open("one", "r+") as f: f.seek(3); f.write("#"); f.truncate(); print(f.tell())
def down(n): return down(n + 1) + 1
try: down(0)
except RecursionError as e: print(e)
try: x = bytearray((1 << 31) - 100)
except (MemoryError, OverflowError) as e: print(type(e))
try: 1 // 0
except ZeroDivisionError as e: print(e)
print("to stderr", file=sys.stderr)
sys.exit(7)
