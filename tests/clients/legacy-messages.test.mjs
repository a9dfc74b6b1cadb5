// aoconnect in legacy mode: spawn, message and result, messages signed now and sent later, and assign.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess, tag } from './process.mjs'
import { until } from './until.mjs'
import { neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

// Answers every Echo with what the message looked like to the process.
const ECHO = `
  local json = require("json")
  Handlers.add("Echo", "Echo", function(msg)
    msg.reply({ Action = "Echoed", Data = json.encode({
      id = msg.Id, from = msg.From, owner = msg.Owner, target = msg.Target, data = msg.Data, anchor = msg.Anchor,
      tags = msg.TagArray, nonce = msg.Nonce, timestamp = msg.Timestamp, cron = msg.Cron }) })
  end)`

const echoed = result => JSON.parse(result.Messages[0].Data)

test('a process is spawned, computes, and keeps its state', async () => {
  const process = await spawnProcess(ao, network)
  assert.match(process.id, /^[\w-]{43}$/)
  assert.equal(await process.eval('x = 41'), '')
  assert.equal(await process.eval('x + 1'), '42')
})

test('the spawn has a result of its own, under the id of the process', async () => {
  const process = await spawnProcess(ao, network, { boot: 'print("born")' })
  const { Output, Messages, Spawns, Assignments } = await process.result(process.id)
  assert.equal(Output.data, 'born')
  assert.deepEqual({ Messages, Spawns, Assignments }, { Messages: [], Spawns: [], Assignments: [] })
})

test('a message arrives as it was sent', async () => {
  const process = await spawnProcess(ao, network, { boot: ECHO })
  const tags = [{ name: 'Action', value: 'Echo' }, { name: 'Grüße', value: '日本語 🦀' }, { name: 'Empty', value: '' }]
  const anchor = '0123456789abcdef0123456789abcdef'
  const before = Date.now()
  const id = await process.send({ tags, data: 'tick "tock"\n\0 ü', anchor })
  const seen = echoed(await process.result(id))
  assert.equal(seen.id, id)
  assert.equal(seen.from, neo.address)
  assert.equal(seen.owner, neo.address)
  assert.equal(seen.target, process.id)
  assert.equal(seen.data, 'tick "tock"\n\0 ü')
  assert.equal(seen.anchor, anchor)
  assert.equal(seen.nonce, 1)
  assert.equal(seen.cron, false)
  assert.ok(seen.timestamp >= before && seen.timestamp <= Date.now(), `time ${seen.timestamp}`)
  assert.deepEqual(seen.tags.slice(0, 3), tags)
  // The runtime writes tag names in title case, as aos does: SDK becomes Sdk.
  assert.deepEqual(seen.tags.slice(3).map(({ name, value }) => `${name}=${value}`),
    ['Sdk=aoconnect', 'Data-Protocol=ao', 'Variant=ao.TN.1', 'Type=Message'])
})

test('a message without data has one space, and aoconnect says that it is text', async () => {
  const process = await spawnProcess(ao, network, { boot: ECHO })
  const seen = echoed(await process.result(await process.send({ tags: [{ name: 'Action', value: 'Echo' }] })))
  assert.equal(seen.data, ' ')
  assert.equal(tag(seen.tags, 'Content-Type'), 'text/plain')
})

test('an error is told in the result and leaves no trace in the state', async () => {
  const process = await spawnProcess(ao, network)
  await process.eval('x = "before"')
  const tags = [{ name: 'Action', value: 'Eval' }]
  const failed = await process.result(await process.send({ tags, data: `
    x = "after"; Send({ Target = ao.id, Data = "never" }); error("no") ` }))
  assert.match(failed.Error, /no/)
  assert.deepEqual([failed.Messages, failed.Spawns, failed.Assignments], [[], [], []])
  assert.equal(await process.eval('x'), 'before')
})

test('one process sends to another, and the answer comes back', async () => {
  const [ping, pong] = await Promise.all([spawnProcess(ao, network), spawnProcess(ao, network, { boot: ECHO })])
  await ping.eval(`answer = Send({ Target = "${pong.id}", Action = "Echo", Data = "hi" }).receive()`)
  const answer = await until('the answer', async () => {
    const data = await ping.eval('answer and answer.Data')
    return data && JSON.parse(data)
  })
  assert.equal(answer.from, ping.id)
  assert.equal(answer.data, 'hi')
  assert.equal(answer.owner, network.authority, 'a messenger signed what the process sent')
  assert.equal(tag(answer.tags, 'From-Process'), ping.id)
})

test('a process spawns another and is told its id', async () => {
  const parent = await spawnProcess(ao, network)
  await parent.eval(`child = Spawn("${network.module}", { Name = "child", Authority = "${network.authority}" })
    .receive().Process`)
  const child = await until('the child', () => parent.eval('child or ""'))
  assert.match(child, /^[\w-]{43}$/)
  await parent.eval(`Send({ Target = "${child}", Action = "Eval", Data = "Send({ Target = Owner, Data = 'mama' })" })`)
  await until('the child obeys its parent', () => parent.eval('Inbox[#Inbox].Data == "mama" or ""'))
})

test('a message is signed now and sent later', async () => {
  const process = await spawnProcess(ao, network, { boot: ECHO })
  const tags = [{ name: 'Action', value: 'Echo' }]
  const signed = await ao.signMessage({ process: process.id, tags, data: 'later', signer: neo.sign })
  assert.equal(await ao.sendSignedMessage(signed), signed.id)
  assert.equal(echoed(await process.result(signed.id)).data, 'later')
  // Sent twice it is still one message: the second time it has its slot already.
  assert.equal(await ao.sendSignedMessage(signed), signed.id)
  assert.equal(echoed(await process.result(await process.send({ tags, data: 'next' }))).nonce, 2)
})

test('a message is assigned to a process that it was not sent to', async () => {
  const [first, second] = await Promise.all([spawnProcess(ao, network), spawnProcess(ao, network, { boot: ECHO })])
  await second.eval('ao.addAssignable("all", function() return true end)')
  const id = await first.send({ tags: [{ name: 'Action', value: 'Echo' }], data: 'for both' })
  const assignment = await ao.assign({ process: second.id, message: id })
  assert.match(assignment, /^[\w-]{43}$/)
  assert.notEqual(assignment, id)
  const seen = echoed(await second.result(id))
  assert.equal(seen.id, id)
  assert.equal(seen.data, 'for both')
  assert.equal(seen.target, first.id)
})

test('an assignment can leave out the data', async () => {
  const [first, second] = await Promise.all([spawnProcess(ao, network), spawnProcess(ao, network, { boot: ECHO })])
  await second.eval('ao.addAssignable("all", function() return true end)')
  const id = await first.send({ tags: [{ name: 'Action', value: 'Echo' }], data: 'long' })
  await ao.assign({ process: second.id, message: id, exclude: ['Data'] })
  assert.notEqual(echoed(await second.result(id)).data, 'long')
})

test('a stranger can not evaluate code', async () => {
  const process = await spawnProcess(ao, network)
  const tags = [{ name: 'Action', value: 'Eval' }]
  await process.result(await process.send({ tags, data: 'x = "stolen"' }, trinity.sign))
  assert.equal(await process.eval('tostring(x)'), 'nil')
})
