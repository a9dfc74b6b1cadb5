// aoconnect's assign with baseLayer: a transaction that arweave-js posted is assigned to a process, which reads it.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import Arweave from 'arweave'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { until } from './until.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)
const { hostname: host, port } = new URL(network.gateway_url)
const arweave = Arweave.init({ host, port, protocol: 'http' })

async function post (data, tags) {
  const transaction = await arweave.createTransaction({ data }, neo.jwk)
  for (const [name, value] of Object.entries(tags)) transaction.addTag(name, value)
  await arweave.transactions.sign(transaction, neo.jwk)
  const uploader = await arweave.transactions.getUploader(transaction)
  while (!uploader.isComplete) await uploader.uploadChunk()
  await until('it is mined', async () => (await arweave.transactions.getStatus(transaction.id)).confirmed)
  return transaction.id
}

test('a transaction is assigned, and its data is read', async () => {
  const data = 'hello, permaweb\n'.repeat(40_000)
  const id = await post(data, { Action: 'Taken', 'Content-Type': 'text/plain' })
  const process = await spawnProcess(ao, network)
  await process.eval(`ao.addAssignable(function () return true end)
    Handlers.add('Taken', 'Taken', function (msg)
      Seen = { from = msg.From, size = msg['Data-Size'], data = tostring(msg.Data) }
      Seen.last = ao.data(msg.Id):read(Seen.size - 16)
    end)`)
  const assignment = await ao.assign({ process: process.id, message: id, baseLayer: true })
  assert.match(assignment, /^[\w-]{43}$/)
  assert.equal((await process.result(id)).Error, undefined)
  assert.equal(await process.eval('Seen.from .. Seen.size .. Seen.data .. Seen.last'),
    `${neo.address}${data.length}nilhello, permaweb\n`)
  assert.equal(await ao.assign({ process: process.id, message: id, baseLayer: true }), assignment)
})

test('a process boots from a transaction that its spawn names', async () => {
  const id = await post('Booted = "from " .. "Arweave"', { 'Content-Type': 'text/x-lua' })
  const process = await spawnProcess(ao, network, { tags: [{ name: 'On-Boot', value: id }] })
  assert.equal(await process.eval('Booted'), 'from Arweave')
})
