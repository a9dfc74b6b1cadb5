// Writes arbundles.json: items and bundles made with @dha-team/arbundles, and damaged ones that we must refuse.
// Run it only to add cases (`npm install && npm run make`): RSA signatures are random, so every run changes the file.
//
//   items     { name, bytes, type, id, address, target, anchor, tags, data }   must verify and read like this
//   bundles   { name, bytes, ids, nested }                                     must come apart like this
//   refused   { name, kind, bytes, arbundles }      must be refused; `arbundles` says whether that library accepts it
//
// Bytes are base64url. The keys are those of `keys`, and rsa-wallet.json: all for tests only, known to everybody.

import assert from 'node:assert/strict'
import { constants, createHash, createPrivateKey, generateKeyPairSync, sign } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import bs58 from 'bs58'
import {
  ArweaveSigner, Bundle, DataItem, EthereumSigner, HexSolanaSigner, SolanaSigner, bundleAndSignData, createData
} from './arbundles.mjs'

const here = name => new URL(name, import.meta.url)
const text = bytes => Buffer.from(bytes).toString('base64url')
const sha256 = bytes => createHash('sha256').update(bytes).digest()

const walletFile = here('rsa-wallet.json')
if (!existsSync(walletFile)) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 4096 })
  const warning = 'A key for tests. It is public: whatever it owns is everybody\'s.'
  writeFileSync(walletFile, JSON.stringify({ warning, ...privateKey.export({ format: 'jwk' }) }, null, 1) + '\n')
}
const jwk = JSON.parse(readFileSync(walletFile))
const rsaKey = createPrivateKey({ key: jwk, format: 'jwk' })

const keys = { ed25519: '01'.repeat(32), ethereum: '02'.repeat(32), solana: '03'.repeat(32) }

/** A Solana key as that world writes it: seed and public key in base58. */
function solanaKey (seed) {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed, 'hex')])
  const { x } = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' }).export({ format: 'jwk' })
  return bs58.encode(Buffer.concat([Buffer.from(seed, 'hex'), Buffer.from(x, 'base64url')]))
}

// arbundles signs type 2 with the class it calls SolanaSigner, and type 4 with HexSolanaSigner.
const signers = {
  arweave: new ArweaveSigner(jwk),
  ed25519: new SolanaSigner(solanaKey(keys.ed25519)),
  ethereum: new EthereumSigner(keys.ethereum),
  solana: new HexSolanaSigner(solanaKey(keys.solana))
}

const target = text(Buffer.alloc(32, 7))
const anchor = '0123456789abcdef0123456789abcdef'
const unicode = [
  { name: 'Action', value: 'Eval' },
  { name: 'Action', value: 'second of that name' },
  { name: 'Grüße', value: '日本語 and 🦀, 64 or more bytes so that both of the library\'s writers are used' },
  { name: 'Empty', value: '' }
]
const shapes = {
  plain: { data: 'hi' },
  empty: { data: '' },
  target: { data: 'hi', target },
  anchor: { data: 'hi', anchor },
  tags: { data: '', tags: unicode },
  full: { data: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)), target, anchor, tags: unicode }
}
// One writer is enough for these; they are the same for every key.
const long = {
  'many tags': { data: 'x', tags: Array.from({ length: 200 }, (_, n) => ({ name: `n${n}`, value: `${n}` })) },
  // 1 byte of count, 1 + 1 of name, 2 + 4090 of value, 1 of end.
  'tags of 4096 bytes': { data: 'x', tags: [{ name: 'n', value: 'v'.repeat(4090) }] }
}

async function signed (signer, { data, ...options }) {
  const item = createData(data, signer, options)
  await item.sign(signer)
  return item
}

async function described (name, item) {
  assert(await item.isValid(), `${name} is not valid`)
  return {
    name,
    bytes: text(item.getRaw()),
    type: item.signatureType,
    id: item.id,
    address: text(sha256(item.rawOwner)),
    target: item.target || null,
    anchor: item.anchor || null,
    tags: item.tags,
    data: item.data
  }
}

const items = []
for (const [key, signer] of Object.entries(signers)) {
  for (const [shape, options] of Object.entries(shapes)) {
    // RSA items are large: three shapes tell enough.
    if (key === 'arweave' && !['plain', 'tags', 'full'].includes(shape)) continue
    items.push(await described(`${key}, ${shape}`, await signed(signer, options)))
  }
}
for (const [shape, options] of Object.entries(long)) {
  items.push(await described(`ed25519, ${shape}`, await signed(signers.ed25519, options)))
}
// Wallets choose the salt: browsers take 32 bytes, Node.js the most that fits (478), others may take any.
for (const saltLength of [0, 1, 32, 100, 477, 478]) {
  const item = createData(`salt of ${saltLength}`, signers.arweave)
  const padding = constants.RSA_PKCS1_PSS_PADDING
  await item.setSignature(sign('sha256', await item.getSignatureData(), { key: rsaKey, padding, saltLength }))
  items.push(await described(`arweave, salt of ${saltLength} bytes`, item))
}

async function bundled (name, parts, nested = []) {
  const bundle = await bundleAndSignData(parts, signers.ed25519)
  assert(await bundle.verify(), `${name} is not valid`)
  return { name, bytes: text(bundle.getRaw()), ids: bundle.getIds(), nested }
}
const parts = []
for (const signer of Object.values(signers)) parts.push(await signed(signer, shapes.full))
const flat = await bundled('all kinds of keys', parts)
const carrier = await signed(signers.ethereum, {
  data: Buffer.from(flat.bytes, 'base64url'),
  tags: [{ name: 'Bundle-Format', value: 'binary' }, { name: 'Bundle-Version', value: '2.0.0' }]
})
const single = await signed(signers.solana, shapes.plain)
const bundles = [
  await bundled('empty', []),
  flat,
  await bundled('nested', [single, carrier], parts.map(part => ({ id: part.id, parent: carrier.id })))
]

const refused = []
async function refuse (name, kind, bytes) {
  const verdict = async () => kind === 'item' ? DataItem.verify(bytes) : new Bundle(bytes).verify()
  refused.push({ name, kind, bytes: text(bytes), arbundles: await verdict().catch(() => false) === true })
}
function changed (bytes, change) {
  const copy = Buffer.from(bytes)
  return change(copy) ?? copy
}
/** A little-endian number at a place, after a change. */
function number (bytes, start, end, change) {
  const hex = Buffer.from(bytes.subarray(start, end)).reverse().toString('hex')
  const after = change(BigInt('0x' + hex)).toString(16).padStart(2 * (end - start), '0')
  bytes.set(Buffer.from(after, 'hex').reverse(), start)
}

for (const [key, signer] of Object.entries(signers)) {
  const item = await signed(signer, shapes.full)
  const raw = item.getRaw()
  const owner = 2 + item.signatureLength
  const presence = owner + item.ownerLength
  const tags = item.getTagsStart()
  const cases = {
    'another type': bytes => { bytes[0] = key === 'ed25519' ? 4 : 2 },
    'an unknown type': bytes => { bytes[0] = 9 },
    'a bit of the signature': bytes => { bytes[20] ^= 1 },
    'no signature': bytes => { bytes.fill(0, 2, owner) },
    'a bit of the owner': bytes => { bytes[owner + 9] ^= 1 },
    'a bit of the target': bytes => { bytes[presence + 9] ^= 1 },
    'a bit of the anchor': bytes => { bytes[presence + 42] ^= 1 },
    'a letter of a tag': bytes => { bytes[tags + 19] ^= 1 },
    'a byte of data more': bytes => Buffer.concat([bytes, Buffer.from('x')]),
    'a byte of data less': bytes => bytes.subarray(0, bytes.length - 1),
    'a bit of the data': bytes => { bytes[bytes.length - 1] ^= 1 },
    'a tag more declared': bytes => { bytes[tags] += 1 },
    'no tags declared': bytes => { bytes[tags] = 0 },
    'a target that is neither there nor not': bytes => { bytes[presence] = 2 },
    'more tag bytes than there are': bytes => { bytes[tags + 13] = 1 }
  }
  // Most cases do not depend on the key: two kinds tell enough, which keeps the file small.
  const whole = ['ed25519', 'ethereum'].includes(key)
  const few = ['another type', 'a bit of the signature', 'no signature', 'a bit of the owner']
  const kept = whole ? Object.keys(cases) : few
  for (const name of kept) await refuse(`${key}, ${name}`, 'item', changed(raw, cases[name]))
}

// Other spellings of good signatures: each would give the same content a second id.
const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n
for (const key of ['ed25519', 'solana']) {
  const raw = (await signed(signers[key], shapes.plain)).getRaw()
  await refuse(`${key}, s and the group's order`, 'item', changed(raw, bytes => {
    number(bytes, 34, 66, s => s + groupOrder)
  }))
  await refuse(`${key}, key and commitment of small order`, 'item', changed(raw, bytes => {
    bytes.fill(0, 2, 98)
    bytes[2] = 1 // commitment: the neutral point; s = 0
    bytes[66] = 1 // owner: the neutral point
  }))
}
const curveOrder = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const ethereum = (await signed(signers.ethereum, shapes.plain)).getRaw()
const v = 66
const twin = bytes => {
  const s = BigInt('0x' + bytes.subarray(34, 66).toString('hex'))
  bytes.set(Buffer.from((curveOrder - s).toString(16).padStart(64, '0'), 'hex'), 34)
}
await refuse('ethereum, v of 0 or 1', 'item', changed(ethereum, bytes => { bytes[v] -= 27 }))
await refuse('ethereum, v with a chain', 'item', changed(ethereum, bytes => { bytes[v] += 10 }))
await refuse('ethereum, the other v', 'item', changed(ethereum, bytes => { bytes[v] ^= 27 ^ 28 }))
await refuse('ethereum, high s', 'item', changed(ethereum, twin))
await refuse('ethereum, high s and its v', 'item', changed(ethereum, bytes => {
  twin(bytes)
  bytes[v] ^= 27 ^ 28
}))

// Table of a bundle: 32 bytes of count, then 32 of size and 32 of id for each item.
const bundle = Buffer.from(flat.bytes, 'base64url')
await refuse('an id in the table', 'bundle', changed(bundle, bytes => { bytes[64] ^= 1 }))
await refuse('an item of a bundle too many', 'bundle', changed(bundle, bytes => { bytes[0] += 1 }))
await refuse('a bundle cut off', 'bundle', bundle.subarray(0, bundle.length - 300))
await refuse('bytes after a bundle', 'bundle', Buffer.concat([bundle, Buffer.from('x')]))

// A line for each vector, so that a change is readable.
const lines = list => '[\n' + list.map(entry => JSON.stringify(entry)).join(',\n') + '\n]'
const members = Object.entries({ items, bundles, refused }).map(([name, list]) => `"${name}": ${lines(list)}`)
writeFileSync(here('arbundles.json'), `{\n"keys": ${JSON.stringify(keys)},\n${members.join(',\n')}\n}\n`)
console.log(`${items.length} items, ${bundles.length} bundles, ${refused.length} refused`)
for (const { name, arbundles } of refused) if (arbundles) console.log(`arbundles accepts: ${name}`)
