// aoconnect in its other mode, `mainnet`, which the aos console 2.x uses by default: the same processes and the same
// log through HyperBEAM's paths, on any node.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect, createSigner } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { plain, spawnProcess } from './process.mjs'
import { until } from './until.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const legacy = connect(network.clients)
const at = url => connect({ MODE: 'mainnet', URL: url, signer: createSigner(neo.jwk), SCHEDULER: network.scheduler })
const ao = at(network.gateway_url)

const EVAL = [{ name: 'Action', value: 'Eval' }]
const spawn = (tags = []) => ao.spawn({
  module: network.module,
  authority: network.authority,
  tags: [{ name: 'App-Name', value: 'aos' }, { name: 'Name', value: 'beamed' }, ...tags]
})

test('a process is spawned and computes, each result by its slot', async () => {
  const process = await spawn()
  assert.match(process, /^[\w-]{43}$/)
  assert.equal(await ao.message({ process, tags: EVAL, data: 'x = 41' }), 1)
  const slot = await ao.message({ process, tags: EVAL, data: 'x + 1' })
  assert.equal(slot, 2)
  const { Output, Messages, Spawns, Assignments, Error: cause } = await ao.result({ process, slot })
  assert.equal(cause, undefined)
  assert.equal(Output.data, '42')
  assert.equal(plain(Output.prompt), 'beamed@aos-2.0.4[Inbox:1]> ')
  assert.deepEqual([Messages, Spawns, Assignments], [[], [], []])
})

test('every node answers alike', async () => {
  const process = await spawn()
  const slot = await ao.message({ process, tags: EVAL, data: '6 * 7' })
  for (const { http_url: url } of network.nodes) {
    assert.equal((await at(url).result({ process, slot })).Output.data, '42', url)
  }
})

test('the current slot and its result', async () => {
  const process = await spawn()
  await ao.message({ process, tags: EVAL, data: '"newest"' })
  const { edges: [{ cursor, node }] } = await ao.results({ process })
  assert.equal(cursor, '1')
  assert.equal(node.Output.data, 'newest')
})

test('a dry run changes nothing', async () => {
  const process = await spawn()
  await ao.result({ process, slot: await ao.message({ process, tags: EVAL, data: `count = 0
    Handlers.add("Count", "Count", function(msg) count = count + 1 print(count .. msg.Data) end)` }) })
  for (let time = 0; time < 2; time++) {
    const { Output } = await ao.dryrun({ process, tags: [{ name: 'Action', value: 'Count' }], data: '!' })
    assert.equal(plain(Output.data), '1!')
  }
})

test('an error is told', async () => {
  const process = await spawn()
  const slot = await ao.message({ process, tags: EVAL, data: 'error("no")' })
  assert.match((await ao.result({ process, slot })).Error, /no/)
})

test('both modes are of one network: the same process, the same log', async () => {
  const process = await spawn()
  await ao.message({ process, tags: EVAL, data: 'x = "beam"' })
  const message = await legacy.message({ process, signer: neo.sign, tags: EVAL, data: 'x' })
  assert.equal((await legacy.result({ process, message })).Output.data, 'beam')
  const old = await spawnProcess(legacy, network, { boot: 'x = "legacy"' })
  const slot = await ao.message({ process: old.id, tags: EVAL, data: 'x' })
  assert.equal((await ao.result({ process: old.id, slot })).Output.data, 'legacy')
})

test('what a process sends is delivered', async () => {
  const [process, friend] = [await spawn(), await spawnProcess(legacy, network, { boot: `
    Handlers.add("Hello", "Hello", function(msg) msg.reply({ Data = "hello yourself" }) end)` })]
  await ao.message({ process, tags: EVAL, data: `Send({ Target = "${friend.id}", Action = "Hello" })` })
  await until('the answer', async () => {
    const slot = await ao.message({ process, tags: EVAL, data: 'Inbox[#Inbox].Data' })
    return /hello yourself/.test((await ao.result({ process, slot })).Output.data)
  })
})

// What the client puts into a spawn as its scheduler.
test('the scheduler that a node stands for', async () => {
  for (const { http_url: url } of network.nodes) {
    assert.equal(await (await fetch(`${url}/~meta@1.0/info/address`)).text(), network.scheduler)
  }
})
