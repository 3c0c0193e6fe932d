// Prints the vectors marked "js" in vectors.json:
//   npm install ipfs-unixfs-importer@17.1.1 blockstore-core && node js-vectors.mjs
import { importer } from 'ipfs-unixfs-importer'
import { MemoryBlockstore } from 'blockstore-core/memory'

const MiB = 1 << 20
const enc = new TextEncoder()

async function last (source, wrapWithDirectory = false) {
  let entry
  for await (const e of importer(source, new MemoryBlockstore(), { profile: 'unixfs-v1-2025', wrapWithDirectory })) entry = e
  return { cid: entry.cid.toString(), dag: Number(entry.size) }
}

// Byte i is i*31 + i/1024.
function pattern (n) {
  const b = new Uint8Array(n)
  for (let i = 0; i < n; i++) b[i] = (i * 31 + (i >>> 10)) & 0xff
  return b
}

async function * zeros (n) {
  for (const z = new Uint8Array(MiB); n > 0; n -= MiB) yield z.subarray(0, Math.min(n, MiB))
}

for (const n of [1, MiB - 1, MiB, MiB + 1, 3 * MiB + 17]) {
  console.log('pattern', n, await last([{ content: pattern(n) }]))
}
for (const n of [0, 1024 * MiB, 1025 * MiB, 1181116006]) {
  console.log('zeros', n, await last([{ content: zeros(n) }]))
}
console.log('no entries', await last([{ path: 'd' }]))
console.log('three', await last(['a.txt', 'b.txt', 'z/c.txt'].map((path, i) =>
  ({ path, content: enc.encode('abc'[i].repeat(i + 1) + '\n') })), true))
for (const n of [4000, 5000, 20000]) {
  const files = Array.from({ length: n }, (_, i) =>
    ({ path: `file-${String(i).padStart(6, '0')}.txt`, content: enc.encode(`content ${i}\n`) }))
  console.log('numbered', n, await last(files, true))
}
