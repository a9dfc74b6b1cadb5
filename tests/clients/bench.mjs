// How fast it is through aoconnect: prints the figures that tests/BENCHMARKS.md records. Messages are signed before the
// clock starts. `node bench.mjs`, with the network of AO_TESTNET or one of its own.

import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { neo } from './wallets.mjs'

const SPAWNS = 20
const ONE_BY_ONE = 200
const SENDERS = 16
const EACH_SENDS = 200
const DRY_RUNS = 200
const WARM_UP = 20

const network = await startNetwork()
const ao = connect(network.clients)
const COUNTER = `count = 0
  Handlers.add("Count", "Count", function(msg) count = count + 1; msg.reply({ Data = tostring(count) }) end)`
const tags = [{ name: 'Action', value: 'Count' }]

/** Milliseconds that something takes. */
async function timed (action) {
  const began = performance.now()
  await action()
  return performance.now() - began
}

/** One after the other; the milliseconds of each, from shortest to longest. */
async function eachTimed (inputs, action) {
  const times = []
  for (const input of inputs) times.push(await timed(() => action(input)))
  return times.sort((a, b) => a - b)
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
const spread = sorted =>
  `p50 ${at(sorted, 0.5).toFixed(1)} ms   p95 ${at(sorted, 0.95).toFixed(1)} ms   of ${sorted.length}`
const print = (what, figure) => console.log(`${what.padEnd(48)}${figure}`)

const sign = (process, count) => Promise.all(Array.from({ length: count }, (_, number) =>
  ao.signMessage({ process: process.id, signer: neo.sign, tags, data: `message ${number}` })))

/** Sends a signed message and waits for its result. */
async function sendAndSee (process, signed) {
  const message = await ao.sendSignedMessage(signed)
  const { Messages, Error: cause } = await ao.result({ process: process.id, message })
  if (Messages?.length !== 1) throw new Error(`no answer: ${cause}`)
}

/** Milliseconds of processor time of this program and of each node so far (Linux counts in steps of ten). */
function processorTime () {
  const { user, system } = process.cpuUsage()
  const nodes = network.nodes.map(({ name, pid }) => {
    const [, fields] = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')
    const [userTicks, systemTicks] = fields.split(' ').slice(11, 13).map(Number)
    return [name, (userTicks + systemTicks) * 10]
  })
  return new Map([['client', (user + system) / 1000], ...nodes])
}

/** Messages a second when each sender sends its messages one after the other, each with its result. */
async function throughput (processes) {
  const queues = await Promise.all(Array.from({ length: SENDERS }, async (_, number) => {
    const process = processes[number % processes.length]
    return { process, messages: await sign(process, EACH_SENDS) }
  }))
  const before = processorTime()
  const took = await timed(() => Promise.all(queues.map(async ({ process, messages }) => {
    for (const signed of messages) await sendAndSee(process, signed)
  })))
  const count = SENDERS * EACH_SENDS
  const shares = [...processorTime()].map(([name, time]) => `${name} ${((time - before.get(name)) / count).toFixed(2)}`)
  return `${(count / took * 1000).toFixed(0)} messages/s   of ${count}; processor ms each: ${shares.join(', ')}`
}

try {
  console.log(`${cpus().length} processors, ${cpus()[0].model}; node ${process.version}; ` +
    `${network.nodes.map(node => node.name).join(' ')}`)
  const spawning = Array.from({ length: SPAWNS }, () => undefined)
  const processes = []
  print('spawn, until its first result', spread(await eachTimed(spawning, async () =>
    processes.push(await spawnProcess(ao, network, { boot: COUNTER })))))

  const [first] = processes
  for (const signed of await sign(first, WARM_UP)) await sendAndSee(first, signed)
  const oneByOne = await sign(first, ONE_BY_ONE)
  print('message to result, one by one', spread(await eachTimed(oneByOne, signed => sendAndSee(first, signed))))

  print(`${SENDERS} senders to 1 process`, await throughput([first]))
  print(`${SENDERS} senders to ${SENDERS} processes`, await throughput(processes.slice(0, SENDERS)))

  const dryRuns = Array.from({ length: DRY_RUNS }, (_, number) => number)
  print('dry run', spread(await eachTimed(dryRuns, number =>
    ao.dryrun({ process: first.id, tags, data: `dry run ${number}` }))))
} finally {
  network.stop()
}
