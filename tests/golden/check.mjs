// Verifies items and bundles that we made with @dha-team/arbundles. Reads the JSON of the file named as argument, or
// of standard input; ends with 1 and says what is wrong unless every good one is accepted and reads as it should, and
// every damaged one is refused.
//
//   { items:   [{ name, bytes, valid, type, id, target, anchor, tags, data }],
//     bundles: [{ name, bytes, valid, ids }] }                                  bytes are base64url

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { Bundle, DataItem } from './arbundles.mjs'

const { items, bundles } = JSON.parse(readFileSync(process.argv[2] ?? 0, 'utf8'))
const failures = []

async function check (made, accepted, read) {
  const bytes = Buffer.from(made.bytes, 'base64url')
  // The library throws at some kinds of damage and says false at others.
  const verdict = await accepted(bytes).catch(() => false)
  try {
    assert.equal(verdict, made.valid, made.valid ? 'refused' : 'accepted, though damaged')
    if (made.valid) read(bytes)
  } catch (error) {
    failures.push(`${made.name}: ${error.message}`)
  }
}

for (const made of items) {
  await check(made, async bytes => DataItem.verify(bytes), bytes => {
    const { signatureType: type, id, target, anchor, tags, data } = new DataItem(bytes)
    const found = { type, id, target: target || null, anchor: anchor || null, tags, data }
    const { name: _name, bytes: _bytes, valid: _valid, ...expected } = made
    assert.deepEqual(found, expected)
  })
}
for (const made of bundles) {
  await check(made, async bytes => new Bundle(bytes).verify(), bytes => {
    assert.deepEqual(new Bundle(bytes).getIds(), made.ids)
  })
}

for (const kind of [items, bundles]) {
  const whole = kind.some(made => made.valid) && kind.some(made => !made.valid)
  if (!whole) failures.push('no good or no damaged ones are given')
}
if (failures.length > 0) {
  console.error(failures.join('\n'))
  process.exit(1)
}
console.log(`${items.length} items and ${bundles.length} bundles checked`)
