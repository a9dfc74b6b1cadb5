// aoconnect's results(): pages of a process's results in both directions, with cursors and limits.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { until } from './until.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

const MESSAGES = 9
let process

/** What the results on a page printed: the message with this number. */
const printed = page => page.edges.map(edge => edge.node.Output.data)
const numbers = (...wanted) => wanted.map(number => number === 0 ? 'spawned' : `message ${number}`)
const page = query => ao.results({ process: process.id, ...query })

before(async () => {
  process = await spawnProcess(ao, network, { boot: 'print("spawned")' })
  for (let number = 1; number <= MESSAGES; number++) await process.eval(`"message ${number}"`)
})

test('oldest first, from the spawn on', async () => {
  assert.deepEqual(printed(await page({ limit: 4 })), numbers(0, 1, 2, 3))
  assert.deepEqual(printed(await page({ sort: 'ASC', limit: 4 })), numbers(0, 1, 2, 3))
})

test('newest first', async () => {
  assert.deepEqual(printed(await page({ sort: 'DESC', limit: 3 })), numbers(9, 8, 7))
})

test('all of them when no limit is given', async () => {
  assert.deepEqual(printed(await page({})), numbers(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
})

test('onwards from the last cursor of a page, each result once', async () => {
  const seen = []
  let from
  for (;;) {
    const { edges } = await page({ limit: 4, from })
    if (edges.length === 0) break
    seen.push(...printed({ edges }))
    from = edges.at(-1).cursor
  }
  assert.deepEqual(seen, numbers(0, 1, 2, 3, 4, 5, 6, 7, 8, 9))
})

test('`from` is exclusive, `to` is inclusive', async () => {
  const { edges } = await page({})
  const range = { from: edges[2].cursor, to: edges[6].cursor }
  assert.deepEqual(printed(await page(range)), numbers(3, 4, 5, 6))
})

test('backwards with `to`', async () => {
  const newest = await page({ sort: 'DESC', limit: 4 })
  const older = await page({ sort: 'DESC', limit: 4, to: newest.edges.at(-1).cursor })
  assert.deepEqual(printed(older), numbers(6, 5, 4, 3))
})

test('`from` is the older bound in both directions', async () => {
  const { edges } = await page({ sort: 'DESC', limit: 5 })
  const from = edges.at(-1).cursor
  assert.deepEqual(printed(await page({ sort: 'DESC', from, limit: 2 })), numbers(9, 8))
  assert.deepEqual(printed(await page({ sort: 'DESC', from })), numbers(9, 8, 7, 6))
})

test('a cursor remembers its direction, whatever the query says', async () => {
  const down = (await page({ sort: 'DESC', limit: 3 })).edges.at(-1).cursor
  assert.deepEqual(printed(await page({ sort: 'ASC', from: down })), numbers(9, 8))
})

test('cursors are base64 of JSON, with the slot as ordinate', async () => {
  const { edges } = await page({})
  for (const [slot, { cursor }] of edges.entries()) {
    const { timestamp, ordinate, sort } = JSON.parse(atob(cursor))
    assert.equal(ordinate, String(slot))
    assert.equal(sort, 'ASC')
    assert.equal(typeof timestamp, 'number')
    assert.equal(cursor, Buffer.from(atob(cursor), 'latin1').toString('base64'), 'standard base64, padded')
  }
})

test('what failed is not on a page, and what comes after it is', async () => {
  const failing = await spawnProcess(ao, network)
  await failing.eval('"good"')
  const bad = await failing.send({ tags: [{ name: 'Action', value: 'Eval' }], data: 'error("bad")' })
  assert.match((await failing.result(bad)).Error, /bad/)
  await failing.eval('"better"')
  const { edges } = await ao.results({ process: failing.id, sort: 'DESC', limit: 2 })
  assert.deepEqual(printed({ edges }), ['better', 'good'])
})

test('the console learns of a message that nobody asked the result of', async () => {
  const other = await spawnProcess(ao, network)
  const { edges: [{ cursor }] } = await ao.results({ process: other.id, sort: 'DESC', limit: 1 })
  await ao.message({ process: other.id, signer: neo.sign, data: 'hello', tags: [{ name: 'Action', value: 'Greet' }] })
  const newer = async () => (await ao.results({ process: other.id, from: cursor })).edges[0]
  const { node } = await until('the new result', newer)
  assert.equal(node.Output.print, true)
  assert.match(node.Output.data, /New Message From .*Action = .*Greet/)
})
