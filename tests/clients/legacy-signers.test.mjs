// Whom a process sees: messages and spawns signed by an RSA wallet and by an Ethereum key.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { morpheus, neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

const WHO = `
  Handlers.add("Who", "Who", function(msg) msg.reply({ Data = msg.From .. " " .. msg.Owner }) end)`
const who = { tags: [{ name: 'Action', value: 'Who' }] }

for (const [kind, wallet] of Object.entries({ 'an RSA wallet': neo, 'an Ethereum key': morpheus })) {
  test(`${kind} owns what it spawns`, async () => {
    const process = await spawnProcess(ao, network, { sign: wallet.sign })
    assert.equal(await process.eval('Owner'), wallet.address)
    assert.equal(await process.eval('ao.env.Process.Owner'), wallet.address)
    assert.equal(await process.eval('2 + 2'), '4', 'its owner may evaluate')
  })

  test(`a process sees the address of ${kind}`, async () => {
    const process = await spawnProcess(ao, network, { sign: trinity.sign, boot: WHO })
    const { Messages: [answer] } = await process.result(await process.send(who, wallet.sign))
    assert.equal(answer.Data, `${wallet.address} ${wallet.address}`)
    assert.equal(answer.Target, wallet.address)
  })
}

test('schedulers and gateways show the address of an Ethereum key as they show all others', async () => {
  const process = await spawnProcess(ao, network)
  const id = await process.send(who, morpheus.sign)
  const { message } = await (await fetch(`${network.su_url}/${id}?process-id=${process.id}`)).json()
  assert.equal(message.owner.address, morpheus.nativeAddress)
  assert.equal(Buffer.from(message.owner.key, 'base64url').length, 65)
  const query = `{ transaction(id: "${id}") { owner { address key } } }`
  const answer = await fetch(network.graphql_url, {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ query })
  })
  const { data } = await answer.json()
  assert.equal(data.transaction.owner.address, morpheus.nativeAddress)
  assert.equal(data.transaction.owner.key, message.owner.key)
})
