// The requests of the aos console 2.0.16, which is not on npm, with `--legacy`: replayed in the order in which it makes
// them, through the aoconnect that it uses.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { graphql } from './graphql.mjs'
import { startNetwork } from './network.mjs'
import { plain, spawnProcess } from './process.mjs'
import { until } from './until.mjs'
import { neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

const NAME = 'the-one'
const findByName = name => graphql(network, `query ($owners: [String!]!) {
    transactions(
      first: 10,
      owners: $owners,
      tags: [
        { name: "Data-Protocol", values: ["ao"] },
        { name: "Type", values: ["Process"]},
        { name: "Name", values: ["${name}"]}
      ]
    ) {
      edges {
        node {
          id
          tags {
            name
            value
          }
        }
      }
    }
  }`, { owners: [neo.address, ''] })

// The console names this messenger, whatever the network; ours stands for it by an alias of the network file.
const HARD_CODED_AUTHORITY = 'fcoN_xJeisVsPXA-trzVAuIiqO3ydLQxM-L4XbrQKzY'

const spawn = (name, tags = []) => ao.spawn({
  module: network.module,
  scheduler: network.scheduler,
  signer: neo.sign,
  tags: [
    { name: 'App-Name', value: 'aos' }, { name: 'Name', value: name }, ...tags,
    { name: 'Authority', value: HARD_CODED_AUTHORITY }, { name: 'aos-Version', value: '2.0.16' }
  ],
  data: ''
})

async function evaluate (process, data) {
  const message = await ao.message({ process, signer: neo.sign, tags: [{ name: 'Action', value: 'Eval' }], data })
  return ao.result({ message, process })
}

test('start, spawn by name, find it again by name', async () => {
  assert.deepEqual((await findByName(NAME)).transactions.edges, [])
  const process = await spawn(NAME)
  const edges = await until('every node knows it', async () => {
    const { transactions: { edges } } = await findByName(NAME)
    return edges.length > 0 && edges
  })
  assert.deepEqual(edges.map(edge => edge.node.id), [process])
  assert.equal(edges[0].node.tags.find(tag => tag.name.toLowerCase() === 'variant').value, 'ao.TN.1')
})

test('connect: the version and the prompt', async () => {
  const process = await spawn('prompted')
  const { Output } = await evaluate(process, "require('.process')._version")
  assert.equal(Output.data, '2.0.4')
  assert.equal(plain(Output.prompt), 'prompted@aos-2.0.4[Inbox:1]> ')
})

test('lines, with what is printed and what is returned', async () => {
  const process = await spawn('lines')
  const shown = async line => plain((await evaluate(process, line)).Output.data)
  assert.equal(await shown('x = 1'), '')
  assert.equal(await shown('x'), '1')
  assert.equal(await shown('print("one") print(2) return nil'), 'one\n2')
  assert.match(await shown('{ a = 1, "b" }'), /a = 1/)
  assert.equal(await shown('#Inbox'), '1')
  assert.match(await shown(`Send({ Target = "${neo.address}", Data = "hi" })`), /Message added to outbox/)
  const { Error: cause } = await evaluate(process, 'x = = 1')
  assert.match(cause, /:1:/, 'the console looks for the line number')
  assert.match((await evaluate(process, 'error("oh")')).Error, /:1: oh/)
})

test('live: what others send is shown, once', async () => {
  const process = await spawn('live')
  await ao.result({ process, message: process })
  const shown = new Set()
  let cursor
  const poll = async () => {
    const page = cursor ? { limit: 1000, from: cursor } : { limit: 5, sort: 'DESC' }
    const { edges } = await ao.results({ process, ...page })
    const printed = edges.filter(edge => edge.node?.Output?.print === true)
      .sort((a, b) => JSON.parse(atob(a.cursor)).ordinate - JSON.parse(atob(b.cursor)).ordinate)
      .filter(edge => !shown.has(edge.cursor))
    for (const edge of printed) shown.add(edge.cursor)
    if (edges.length > 0) cursor = edges.at(-1).cursor
    return printed.map(edge => plain(edge.node.Output.data))
  }
  await poll()
  const greeting = { process, signer: trinity.sign, data: 'hello', tags: [{ name: 'Action', value: 'Greeting' }] }
  for (let time = 0; time < 3; time++) {
    await ao.message(greeting)
    const lines = await until('a line', async () => {
      const lines = await poll()
      return lines.length > 0 && lines
    })
    const { address } = trinity
    assert.deepEqual(lines, [`New Message From ${address.slice(0, 3)}...${address.slice(-3)}: Action = Greeting`])
  }
  assert.deepEqual(await poll(), [])
})

test('what a process sends arrives, though its authority is the hard-coded one', async () => {
  const process = await spawn('authority')
  const friend = await spawnProcess(ao, network, { boot: `
    Handlers.add("Hello", "Hello", function(msg) msg.reply({ Data = "hello yourself" }) end)` })
  await evaluate(process, `Send({ Target = "${friend.id}", Action = "Hello" })`)
  await until('the answer', async () =>
    /hello yourself/.test((await evaluate(process, 'Inbox[#Inbox].Data')).Output.data))
})

test('.load of a file that requires another', async () => {
  const process = await spawn('loaded')
  // As the console bundles main.lua, which begins with require("lib.numbers").
  const { Error: cause } = await evaluate(process, `


-- module: "lib.numbers"
local function _loaded_mod_lib_numbers()
local numbers = {}
function numbers.twice(n) return 2 * n end
return numbers
end

_G.package.loaded["lib.numbers"] = _loaded_mod_lib_numbers()

local numbers = require("lib.numbers")
answer = numbers.twice(21)`)
  assert.equal(cause, undefined)
  assert.equal((await evaluate(process, 'answer')).Output.data, '42')
  assert.equal((await evaluate(process, 'require("lib.numbers").twice(2)')).Output.data, '4')
})

test('.dryrun of a line', async () => {
  const process = await spawn('dry')
  await evaluate(process, 'x = 1')
  const tags = [{ name: 'Action', value: 'Eval' }]
  const { Output } = await ao.dryrun({ process, Owner: neo.address, tags, data: 'x = x + 1 return x' })
  assert.equal(Output.data, '2')
  assert.equal((await evaluate(process, 'x')).Output.data, '1')
})

test('--cron', async () => {
  const tags = [{ name: 'Cron-Interval', value: '1-second' }, { name: 'Cron-Tag-Action', value: 'Cron' }]
  const process = await spawn('cron', tags)
  await until('a firing', async () => {
    const { edges } = await (await fetch(`${network.cu_url}/cron/${process}`)).json()
    return edges.length > 0
  })
})

test('--list, and a module by its name', async () => {
  const process = await spawn('listed')
  // The gateway is another node than the scheduler: it learns of the process a moment later.
  await until('the process in the list', async () => {
    const { transactions } = await graphql(network, `query ($owners: [String!]!) {
      transactions(first: 100, owners: $owners, tags: [
        { name: "Data-Protocol", values: ["ao"] }, { name: "Type", values: ["Process"]}]) {
        edges { node { id owner { address } tags { name value } } } } }`, { owners: [neo.address] })
    return transactions.edges.some(({ node }) => node.id === process && node.owner.address === neo.address)
  })
  const { transactions: modules } = await graphql(network, `query FindAoModuleByName($name: String!) {
    transactions(tags: [{ name: "Type", values: ["Module"] }, { name: "Data-Protocol", values: ["ao"] },
      { name: "Name", values: [$name] }], sort: HEIGHT_DESC, first: 100) {
      edges { node { id tags { name value } block { timestamp } } } } }`, { name: 'ao-node-runtime' })
  assert.ok(modules.edges.some(({ node }) => node.id === network.module && node.block.timestamp > 0))
})
