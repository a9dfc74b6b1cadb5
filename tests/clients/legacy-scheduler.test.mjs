// What aoconnect reads from the scheduler: getMessages, getMessageById, getLastSlot, and the slot of a sent message.
// To find a process's scheduler it always asks one public host first: requests to that host go to our scheduler here.

import { SCHEDULER_ROUTER, mapHost } from './public-hosts.mjs'
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess, tag } from './process.mjs'

const network = await startNetwork()
after(network.stop)
mapHost(SCHEDULER_ROUTER, network.su_url)
const ao = connect(network.clients)

const MESSAGES = 7
let process
let ids

before(async () => {
  process = await spawnProcess(ao, network)
  ids = []
  for (let number = 1; number <= MESSAGES; number++) ids.push(await process.send({ data: `message ${number}` }))
})

const nonce = edge => Number(tag(edge.node.assignment.tags, 'Nonce'))

test('the last slot', async () => {
  assert.equal(await ao.getLastSlot({ processId: process.id }), String(MESSAGES))
  assert.equal(await ao.getLastSlot({ processId: process.id, since: 60_000 }), String(MESSAGES))
})

test('the slot of a message comes back with it', async () => {
  const other = await spawnProcess(ao, network)
  assert.equal(await other.send({ data: 'a', returnAssignmentSlot: true }), '1')
  const { slot, id } = await other.send({ data: 'b', returnAssignmentSlot: true, returnMessageId: true })
  assert.equal(slot, '2')
  assert.match(id, /^[\w-]{43}$/)
})

test('a message by its id', async () => {
  const { message, assignment } = await ao.getMessageById({ processId: process.id, messageId: ids[2] })
  assert.equal(message.id, ids[2])
  assert.equal(message.data, 'message 3')
  assert.equal(message.target, process.id)
  assert.equal(tag(message.tags, 'SDK'), 'aoconnect')
  assert.equal(tag(assignment.tags, 'Process'), process.id)
  assert.equal(tag(assignment.tags, 'Message'), ids[2])
  assert.equal(tag(assignment.tags, 'Nonce'), '3')
  assert.equal(tag(assignment.tags, 'Epoch'), '0')
  assert.equal(assignment.owner.address, network.scheduler)
  for (const name of ['Hash-Chain', 'Block-Height', 'Timestamp']) assert.ok(tag(assignment.tags, name), name)
})

test('an id that the process never saw is an error in words', async () => {
  const { error } = await ao.getMessageById({ processId: process.id, messageId: 'A'.repeat(43) })
  assert.match(error, /not found/)
})

test('all messages, the process first', async () => {
  const all = await ao.getMessages({ processId: process.id, from: '0', to: String(Date.now()), limit: '1000' })
  assert.deepEqual(all.edges.map(nonce), [0, 1, 2, 3, 4, 5, 6, 7])
  assert.equal(all.page_info.has_next_page, false)
  assert.deepEqual(all.edges.slice(1).map(edge => edge.node.message.id), ids)
  assert.equal(all.edges[0].node.message.id, process.id)
})

test('in pages, each message once', async () => {
  const seen = []
  let from = '0'
  for (;;) {
    const { edges, page_info: { has_next_page: more } } =
      await ao.getMessages({ processId: process.id, from, to: String(Date.now()), limit: '3' })
    assert.ok(edges.length >= 1)
    seen.push(...edges.map(nonce))
    if (!more) break
    from = edges.at(-1).cursor
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7])
})

test('without a limit aoconnect asks for `undefined` ones', async () => {
  const { edges } = await ao.getMessages({ processId: process.id, from: '0', to: String(Date.now()) })
  assert.equal(edges.length, MESSAGES + 1)
})
