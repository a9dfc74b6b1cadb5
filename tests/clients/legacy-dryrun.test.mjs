// aoconnect's dryrun(): a message is evaluated as if it came now, and nothing is kept of it.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

const COUNTER = `
  local json = require("json")
  count = 0
  Handlers.add("Count", "Count", function(msg)
    count = count + 1
    msg.reply({ Data = json.encode({ count = count, from = msg.From, data = msg.Data, id = msg.Id,
      readOnly = msg["Read-Only"], anchor = msg.Anchor }) })
  end)`
const count = { tags: [{ name: 'Action', value: 'Count' }] }
const answered = result => JSON.parse(result.Messages[0].Data)

test('it answers from the newest state and changes nothing', async () => {
  const process = await spawnProcess(ao, network, { boot: COUNTER })
  for (let time = 0; time < 2; time++) {
    assert.equal(answered(await ao.dryrun({ process: process.id, ...count })).count, 1)
  }
  await process.result(await process.send(count))
  assert.equal(answered(await ao.dryrun({ process: process.id, ...count })).count, 2)
  assert.equal(await process.eval('count'), '1')
})

test('it works before the first message', async () => {
  const process = await spawnProcess(ao, network)
  const { Output } = await ao.dryrun({ process: process.id, Owner: neo.address, data: '1 + 1',
    tags: [{ name: 'Action', value: 'Eval' }] })
  assert.equal(Output.data, '2')
})

test("aoconnect's dummy id, owner and anchor do", async () => {
  const process = await spawnProcess(ao, network, { boot: COUNTER })
  const seen = answered(await ao.dryrun({ process: process.id, ...count }))
  assert.equal(seen.from, '1234')
  assert.equal(seen.data, '1234')
  assert.equal(seen.readOnly, true)
})

test('the owner is who it says, so nothing that matters may depend on it', async () => {
  const process = await spawnProcess(ao, network, { boot: COUNTER })
  const seen = answered(await ao.dryrun({ process: process.id, Owner: trinity.address, data: 'x', ...count }))
  assert.equal(seen.from, trinity.address)
  assert.equal(seen.data, 'x')
})

test('an error is told like that of a message', async () => {
  const process = await spawnProcess(ao, network)
  const failed = await ao.dryrun({ process: process.id, Owner: neo.address, data: 'error("no")',
    tags: [{ name: 'Action', value: 'Eval' }] })
  assert.match(failed.Error, /no/)
  assert.equal(await process.eval('1'), '1')
})

test('a dry run of a process that nobody knows is an error that says so', async () => {
  const answer = await ao.dryrun({ process: 'A'.repeat(43), ...count })
  assert.match(answer.error, /A{43}/)
})
