// Cron processes through aoconnect: serializeCron, monitor and unmonitor, and the list of firings at /cron.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { connect, serializeCron } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { until } from './until.mjs'
import { neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

test('a process that ticks every second tells another, once for each tick', async () => {
  const listener = await spawnProcess(ao, network, { boot: `
    ticks = {}
    Handlers.add("Tock", "Tock", function(msg) table.insert(ticks, msg.Data) end)` })
  const clock = await spawnProcess(ao, network, {
    tags: serializeCron({ interval: '1-second', tags: [{ name: 'Action', value: 'Tick' }] }),
    boot: `count = 0
      Handlers.add("Tick", "Tick", function(msg)
        assert(msg.Cron and msg.From == Owner)
        count = count + 1
        Send({ Target = "${listener.id}", Action = "Tock", Data = tostring(count) })
      end)`
  })
  assert.match(await ao.monitor({ process: clock.id, signer: neo.sign }), /^[\w-]{43}$/)
  const ticks = await until('three ticks', async () => {
    const ticks = (await listener.eval('table.concat(ticks, " ")')).split(' ')
    return ticks.length >= 3 && ticks
  })
  assert.deepEqual(ticks, ticks.map((_, index) => String(index + 1)))

  const { edges } = await (await fetch(`${network.cu_url}/cron/${clock.id}`)).json()
  assert.ok(edges.length >= 3)
  const times = edges.map(edge => JSON.parse(atob(edge.cursor)).timestamp)
  for (const [index, { node, cursor }] of edges.entries()) {
    assert.equal(node.Messages[0].Data, String(index + 1))
    assert.match(JSON.parse(atob(cursor)).cron, /1-second/)
    if (index > 0) assert.ok(times[index] > times[index - 1])
  }
  const from = encodeURIComponent(edges[1].cursor)
  const rest = await (await fetch(`${network.cu_url}/cron/${clock.id}?from=${from}`)).json()
  assert.equal(rest.edges[0].node.Messages[0].Data, '3')

  assert.match(await ao.unmonitor({ process: clock.id, signer: neo.sign }), /^[\w-]{43}$/)
})

test('only the owner stops a monitor', async () => {
  const process = await spawnProcess(ao, network)
  await ao.monitor({ process: process.id, signer: neo.sign })
  await assert.rejects(ao.unmonitor({ process: process.id, signer: trinity.sign }), /owner/)
})

test('a process that nobody knows can not be monitored', async () => {
  await assert.rejects(ao.monitor({ process: 'A'.repeat(43), signer: neo.sign }), /^Error: 4\d\d/)
})
