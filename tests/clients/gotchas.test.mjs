// The twenty points that most likely break a network for aoconnect and aos, as we collected them. Where each is tested:
//
//   1  aoconnect asks one public host for schedulers      legacy-scheduler; README "Use it from JavaScript"
//   2  aos: --legacy after the name                       README "Use it with aos"
//   3  aos: its GraphQL URL is from the environment       README "Use it with aos"; aos
//   4  aos hard-codes an Authority                        aos-requests
//   5  modules by GraphQL and by id, limits in its tags   here
//   6  cursors                                            legacy-results
//   7  RSA salts of any length                            here (478, 32, 0, 17); browser (32); golden vectors
//   8  result() ignores the status, arrays are arrays     here; bad-input
//   9  the messenger answers at once, 2xx, JSON           here
//  10  nonce 0 is the process, with a result of its own   here; legacy-messages; legacy-scheduler
//  11  pages by time; texts and numbers                   here; legacy-scheduler; unit tests of the scheduler's API
//  12  numeric tag values; one bad spawn tag              here
//  13  Spawned                                            here; legacy-messages
//  14  errors revert                                      legacy-messages, legacy-results
//  15  multiples of 256 KiB; /chunk answers 200           arweave
//  16  Ethereum addresses                                 legacy-signers
//  17  dummy fields of dry runs                           legacy-dryrun
//  18  Lua's empty table; Output as it is                 here
//  19  GraphQL as clients write it                        here; gateway; aos-requests
//  20  CORS, `limit=undefined`, title case, anchors,      here; legacy-scheduler; legacy-messages;
//      stale caches and UPDATE_URL of aos                 README "Use it with aos"

import assert from 'node:assert/strict'
import { constants, createPrivateKey, sign } from 'node:crypto'
import { after, test } from 'node:test'
import { ArweaveSigner, createData } from '@dha-team/arbundles'
import { connect } from '@permaweb/aoconnect'
import { graphql } from './graphql.mjs'
import { startNetwork } from './network.mjs'
import { spawnProcess, tag } from './process.mjs'
import { until } from './until.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)
const EVAL = [{ name: 'Action', value: 'Eval' }]
const json = async (url, init) => (await fetch(url, init)).json()

test('5: the module is found by GraphQL and served by its id, on every node', async () => {
  const { transactions: { edges: [{ node }] } } = await graphql(network,
    'query ($id: ID!) { transactions(ids: [$id]) { edges { node { tags { name value } } } } }', { id: network.module })
  assert.equal(tag(node.tags, 'Type'), 'Module')
  for (const name of ['Module-Format', 'Input-Encoding', 'Output-Encoding', 'Memory-Limit', 'Compute-Limit']) {
    assert.ok(tag(node.tags, name), name)
  }
  for (const { http_url: url } of network.nodes) {
    const source = await (await fetch(`${url}/raw/${network.module}`)).text()
    assert.match(source, /function/)
  }
})

test('5: a process of a module that is not Lua says so in its results', async () => {
  const signer = new ArweaveSigner(neo.jwk)
  const module = createData('\0asm', signer, { tags: Object.entries({ 'Data-Protocol': 'ao', Type: 'Module',
    Variant: 'ao.TN.1', 'Module-Format': 'wasm64-unknown-emscripten-draft_2024_02_15', 'Input-Encoding': 'JSON-1',
    'Output-Encoding': 'JSON-1', 'Memory-Limit': '1-gb', 'Compute-Limit': '9000000000000',
    'Content-Type': 'application/wasm' }).map(([name, value]) => ({ name, value })) })
  await module.sign(signer)
  const headers = { 'Content-Type': 'application/octet-stream' }
  assert.ok((await fetch(`${network.gateway_url}/tx`, { method: 'POST', headers, body: module.getRaw() })).ok)
  const process = await ao.spawn({ ...network.spawning(), module: module.id, signer: neo.sign })
  assert.match((await ao.result({ process, message: process })).error, /wasm64/)
})

// A signature is over the same bytes, whatever the salt: 478 bytes from node, 32 from browsers, others from elsewhere.
for (const saltLength of [478, 32, 0, 17]) {
  test(`7: an RSA signature with a salt of ${saltLength} bytes`, async () => {
    const process = await spawnProcess(ao, network)
    const key = createPrivateKey({ key: neo.jwk, format: 'jwk' })
    const signer = async create => {
      const bytes = await create({ type: 1, publicKey: neo.jwk.n })
      const padding = constants.RSA_PKCS1_PSS_PADDING
      return { signature: sign('sha256', bytes, { key, padding, saltLength }), address: neo.address }
    }
    const message = await process.send({ tags: EVAL, data: '1 + 1' }, signer)
    assert.equal((await process.result(message)).Output.data, '2')
  })
}

test('8: a result that is an error has an `error`, one that is not has its arrays', async () => {
  const process = await spawnProcess(ao, network)
  const unknown = await ao.result({ process: process.id, message: 'A'.repeat(43) })
  assert.equal(typeof unknown.error, 'string')
  const done = await process.result(await process.send({ tags: EVAL, data: 'return nil' }))
  assert.deepEqual([done.Messages, done.Spawns, done.Assignments], [[], [], []])
  assert.equal(typeof done.GasUsed, 'number')
})

test('9: the messenger does not wait for the computation', async () => {
  const process = await spawnProcess(ao, network)
  const began = performance.now()
  const message = await process.send({ tags: EVAL, data: 'local n = 0 for i = 1, 30000000 do n = n + i end return n' })
  const answered = performance.now() - began
  const { Output } = await process.result(message)
  const computed = performance.now() - began
  assert.equal(Output.data, '450000015000000')
  assert.ok(answered < computed / 2, `answered after ${answered} ms, computed after ${computed} ms`)
})

test('10: the process is its own first message', async () => {
  const process = await spawnProcess(ao, network)
  const node = await json(`${network.su_url}/${process.id}?process-id=${process.id}&from-nonce=-1&to-nonce=0`)
  assert.equal(node.edges.length, 1)
  assert.equal(node.edges[0].node.message.id, process.id)
  assert.equal(tag(node.edges[0].node.assignment.tags, 'Nonce'), '0')
  assert.equal(await process.eval('Inbox[1].Module'), network.module)
})

test('11: times and heights are texts here and numbers there', async () => {
  const process = await spawnProcess(ao, network)
  const { su_url: su } = network
  assert.match((await json(`${su}/?process-id=${process.id}`)).timestamp, /^\d{13}$/)
  const now = await json(`${su}/timestamp?process-id=${process.id}`)
  assert.match(now.timestamp, /^\d{13}$/)
  assert.match(now.block_height, /^\d{12}$/)
  const meta = await json(`${su}/processes/${process.id}`)
  assert.equal(meta.process_id, process.id)
  assert.equal(typeof meta.timestamp, 'number')
  assert.match(meta.block, /^\d{12}$/)
  assert.equal(meta.owner.address, neo.address)
  const latest = await json(`${su}/${process.id}/latest`)
  assert.equal(latest.message.id, process.id, 'a process without messages has itself as the latest')
  const { edges: [edge] } = await json(`${su}/${process.id}?process-id=${process.id}`)
  assert.equal(edge.cursor, tag(edge.node.assignment.tags, 'Timestamp'))
  assert.match(tag(edge.node.assignment.tags, 'Block-Height'), /^\d{12}$/)
})

test('12: a tag that is a number drops its message, and nothing else', async () => {
  const [sender, receiver] = await Promise.all([spawnProcess(ao, network), spawnProcess(ao, network)])
  const { Messages } = await sender.result(await sender.send({ tags: EVAL, data: `
    Send({ Target = "${receiver.id}", Action = "Bad", Count = 5 })
    Send({ Target = "${receiver.id}", Action = "Good", Count = "5" })` }))
  assert.equal(tag(Messages[0].Tags, 'Count'), 5, 'the result shows what the process said')
  await until('the good one', () => receiver.eval('Inbox[#Inbox].Action == "Good" or ""'))
  assert.equal(await receiver.eval('#Inbox'), '2', 'the spawn and the good one')
})

test('12: a spawn with a bad tag drops only itself', async () => {
  const [sender, receiver] = await Promise.all([spawnProcess(ao, network), spawnProcess(ao, network)])
  await sender.eval(`
    Spawn("${network.module}", { Tags = { { name = "Count", value = 5 } } })
    Send({ Target = "${receiver.id}", Action = "Good" })`)
  await until('the message', () => receiver.eval('Inbox[#Inbox].Action == "Good" or ""'))
})

test('13: Spawned comes from the parent itself, by a messenger that it trusts', async () => {
  const parent = await spawnProcess(ao, network)
  await parent.eval(`Handlers.add("Spawned", "Spawned", function(msg) spawned = msg end)
    Spawn("${network.module}", { Name = "child" })`)
  await until('the notice', () => parent.eval('spawned and "yes" or ""'))
  const field = name => parent.eval(`spawned["${name}"]`)
  assert.match(await field('Process'), /^[\w-]{43}$/)
  assert.equal(await field('From'), parent.id)
  assert.equal(await field('Owner'), network.authority)
  assert.equal(await field('Reference'), '1')
})

test('18: an empty table is a list, and the output stays as the module made it', async () => {
  const process = await spawnProcess(ao, network)
  assert.equal(await process.eval('require("json").encode({})'), '[]')
  assert.equal(await process.eval('require("json").encode({ a = {} })'), '{"a":[]}')
  const { Output } = await process.result(await process.send({ tags: EVAL, data: '7' }))
  assert.equal(typeof Output, 'object')
  assert.deepEqual(Object.keys(Output).sort(), ['data', 'prompt', 'test'])
})

test('19: GraphQL with skipped fields, fields named twice, comments and odd white space', async () => {
  const query = `query GetProcesses ($processIds: [ID!]!, $skipTags: Boolean!,
    $skipSignature: Boolean!, $skipAnchor: Boolean!) {
    # the process and its module
    transactions(ids: $processIds) { edges { node { id
      signature @skip(if: $skipSignature) anchor @skip(if: $skipAnchor)
      owner { address } owner { key } block { id } block { height,timestamp }
      tags @skip(if: $skipTags) { name, value } recipient } } } }`
  const process = await spawnProcess(ao, network)
  const variables = { processIds: [process.id], skipTags: false, skipSignature: true, skipAnchor: true }
  const { transactions: { edges: [{ node }] } } = await graphql(network, query, variables)
  assert.equal(node.id, process.id)
  assert.ok(!('signature' in node) && !('anchor' in node))
  assert.equal(tag(node.tags, 'Module'), network.module)
  assert.deepEqual(Object.keys(node.owner).sort(), ['address', 'key'])
  assert.equal(node.owner.address, neo.address)
  assert.deepEqual(Object.keys(node.block).sort(), ['height', 'id', 'timestamp'])
  assert.equal(node.recipient, '')
  const bare = await graphql(network, query, { ...variables, skipTags: true })
  assert.ok(!('tags' in bare.transactions.edges[0].node))
})

test('20: pages from anywhere may use every route', async () => {
  const { mu_url: mu, su_url: su, cu_url: cu, graphql_url: gql, module } = network
  const routes = [[mu, 'POST'], [`${mu}/monitor/${module}`, 'DELETE'], [`${cu}/dry-run?process-id=x`, 'POST'],
    [gql, 'POST'], [`${su}/${module}`, 'GET']]
  for (const [url, method] of routes) {
    const asked = await fetch(url, { method: 'OPTIONS', headers: { Origin: 'http://localhost:1',
      'Access-Control-Request-Method': method, 'Access-Control-Request-Headers': 'content-type' } })
    assert.ok(asked.ok, `${url}: ${asked.status}`)
    assert.equal(asked.headers.get('access-control-allow-origin'), '*', url)
    assert.match(asked.headers.get('access-control-allow-methods'), new RegExp(`\\*|${method}`), url)
    const failed = await fetch(new URL('/no/such/path', url), { headers: { Origin: 'http://localhost:1' } })
    assert.equal(failed.headers.get('access-control-allow-origin'), '*', 'errors too, else a page can not read them')
  }
})

test('20: an anchor has 32 bytes, which aoconnect itself sees to', async () => {
  const process = await spawnProcess(ao, network)
  await assert.rejects(process.send({ data: 'x', anchor: 'short' }), /32 bytes/)
})
