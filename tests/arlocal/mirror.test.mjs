// The mirror against arlocal, an Arweave gateway that others wrote: it takes our transactions, arweave-js and arbundles
// verify them and what is in them, and the log is rebuilt from arlocal alone.

import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { unbundleData } from '@dha-team/arbundles'
import Arweave from 'arweave'

const here = fileURLToPath(new URL('.', import.meta.url))
const repository = join(here, '../..')
const program = join(process.env.CARGO_TARGET_DIR ?? join(repository, 'target'), 'release/ao-node')
const walletFile = join(repository, 'testnet/dev-wallet.json')
const wallet = JSON.parse(readFileSync(walletFile))
const folder = mkdtempSync(join(tmpdir(), 'ao-arlocal-'))
const children = new Set()
after(() => {
  children.forEach(child => child.kill('SIGKILL'))
  rmSync(folder, { recursive: true, force: true })
})

const DEADLINE = 60_000
const SMALL_BUNDLE = 40_000

async function until (what, ready) {
  const deadline = Date.now() + DEADLINE
  for (;;) {
    const found = await ready()
    if (found) return found
    assert.ok(Date.now() < deadline, `waited in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

/** A free port, below those from which connections take theirs while arlocal starts. */
const freePort = () => new Promise(resolve => {
  const port = randomInt(10_000, 32_000)
  const server = createServer()
  server.once('error', () => resolve(freePort()))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(port)))
})

function run (command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
  children.add(child)
  return child
}

async function startArlocal () {
  const port = await freePort()
  const folderOfIt = mkdtempSync(join(folder, 'arlocal-'))
  const arguments_ = [join(here, 'node_modules/.bin/arlocal'), String(port), '--hidelogs']
  run('node', arguments_, { cwd: folderOfIt, stdio: 'ignore' })
  await until('arlocal answers', () => fetch(`http://127.0.0.1:${port}/info`).then(answer => answer.ok, () => false))
  return { port, url: `http://127.0.0.1:${port}` }
}

/** Starts a node; gives its URL, its address, and a way to kill it. */
async function startNode (data, more = []) {
  const args = ['start', '--http', '127.0.0.1:0', '--listen', '/ip4/127.0.0.1/tcp/0', '--data', data, ...more]
  const child = run(program, args)
  const said = {}
  for await (const line of createInterface({ input: child.stdout })) {
    const [, name, value] = line.match(/^(\w+) +(.*)$/) ?? []
    said[name] = value
    if (name === 'peer') break
  }
  const kill = () => new Promise(resolve => {
    children.delete(child)
    child.once('exit', resolve).kill('SIGKILL')
  })
  return { url: said.http, address: said.address, kill }
}

async function ao (node, ...args) {
  const env = { ...process.env, AO_NODE: node.url, XDG_CONFIG_HOME: folder }
  const { stdout } = await promisify(execFile)(program, args, { env })
  return stdout.trim()
}

const json = async (node, path) => (await fetch(node.url + path)).json()

const TOKEN = `
  Balances = Balances or { bank = 1000000 }
  Handlers.add('Pay', 'Pay', function (msg)
    local to, much = msg.Tags.To, tonumber(msg.Tags.Much)
    assert(Balances.bank >= much, 'too little')
    Balances.bank = Balances.bank - much
    Balances[to] = (Balances[to] or 0) + much
    if not msg.Tags.Quiet then Send({ Target = ao.id, Action = 'Pay', To = to, Much = '1', Quiet = 'yes' }) end
  end)`

/** What is to be the same afterwards: slots, outcome chain and balances. */
async function state (node, process) {
  const { nonce, slot = nonce } = await json(node, `/su/${process}/latest`).then(({ assignment }) => ({
    nonce: Number(assignment.tags.find(({ name }) => name === 'Nonce').value)
  }))
  const { outcome_chain: chain } = await until('it is computed', async () => {
    const shown = await json(node, `/ao/slots/${process}/${slot}`)
    return shown.outcome_chain && shown
  })
  return { slot, chain, balances: (await json(node, `/cu/state/${process}?name=Balances`)).State }
}

test('a token is mirrored to arlocal, verified by others, and rebuilt from there alone', async () => {
  const arlocal = await startArlocal()
  const arweave = Arweave.init({ host: '127.0.0.1', port: arlocal.port, protocol: 'http' })
  await fetch(`${arlocal.url}/mint/${await arweave.wallets.jwkToAddress(wallet)}/${10 ** 15}`)
  const mirroring = ['--arweave', arlocal.url, '--arweave-wallet', walletFile, '--mirror-seconds', '0',
    '--mirror-confirmations', '2', '--mirror-bytes', String(SMALL_BUNDLE)]
  const first = await startNode(join(folder, 'first'), mirroring)
  const process = (await ao(first, 'spawn', '--name', 'token')).split('\n').pop()
  await ao(first, 'eval', process, TOKEN)
  const amounts = Array.from({ length: 40 }, (_, n) => n + 1)
  await Promise.all(amounts.map(n =>
    ao(first, 'send', process, '--tag', 'Action=Pay', '--tag', `To=holder-${n % 10}`, '--tag', `Much=${n}`)))
  const slots = await until('what it sent itself arrived', async () => {
    const { slot } = await state(first, process)
    return slot + 1 >= 2 + 2 * amounts.length && slot + 1
  })
  const before = await state(first, process)
  assert.equal(before.balances.bank, 1000000 - amounts.reduce((a, b) => a + b, 0) - amounts.length)
  const { landed } = await until('all of it is on arlocal', async () => {
    await fetch(`${arlocal.url}/mine`)
    const mirror = await json(first, '/ao/mirror')
    return mirror.landed.slots >= slots && mirror.bundles.length === 0 && mirror
  })
  assert.ok(landed.bundles > 1, 'in several bundles')
  await first.kill()
  rmSync(join(folder, 'first'), { recursive: true })

  const query = `{ transactions(first: 100, tags: [
    { name: "Type", values: ["Log-Bundle"] }, { name: "Process", values: ["${process}"] }]) { edges { node { id } } } }`
  const found = await arweave.api.post('/graphql', { query })
  const ids = found.data.data.transactions.edges.map(({ node }) => node.id)
  assert.equal(ids.length, landed.bundles)
  let assignments = 0
  for (const id of ids) {
    const transaction = await arweave.transactions.get(id)
    assert.ok(await arweave.transactions.verify(transaction), `arweave-js verifies ${id}`)
    const data = Buffer.from(await (await fetch(`${arlocal.url}/${id}`)).arrayBuffer())
    await transaction.prepareChunks(new Uint8Array(data))
    assert.equal(transaction.data_root, (await arweave.transactions.get(id)).data_root, 'the data is what was signed')
    const bundle = unbundleData(data)
    assert.ok(await bundle.verify(), `arbundles verifies the bundle ${id}`)
    for (const item of bundle.items) {
      assert.ok(await item.isValid(), `arbundles verifies item ${item.id}`)
      if (item.tags.some(({ name, value }) => name === 'Type' && value === 'Assignment')) assignments += 1
    }
  }
  assert.equal(assignments, slots)

  const again = join(folder, 'again')
  const args = ['restore', '--arweave', arlocal.url, '--process', process, '--data', again, '--json']
  const report = JSON.parse((await promisify(execFile)(program, args)).stdout)
  assert.deepEqual(report.processes, { [process]: slots - 1 })
  assert.deepEqual(report.refused, [])
  const second = await startNode(again)
  assert.deepEqual(await state(second, process), before)
  await second.kill()
})

test('a process reads a transaction that arweave-js put on arlocal', async () => {
  const arlocal = await startArlocal()
  const arweave = Arweave.init({ host: '127.0.0.1', port: arlocal.port, protocol: 'http' })
  await fetch(`${arlocal.url}/mint/${await arweave.wallets.jwkToAddress(wallet)}/${10 ** 15}`)
  const data = Array.from({ length: 30_000 }, (_, n) => `line ${n} of them\n`).join('')
  const transaction = await arweave.createTransaction({ data }, wallet)
  transaction.addTag('Content-Type', 'text/plain')
  // arlocal finds no transaction whose id begins with "tx".
  do await arweave.transactions.sign(transaction, wallet)
  while (transaction.id.startsWith('tx'))
  const uploader = await arweave.transactions.getUploader(transaction)
  while (!uploader.isComplete) await uploader.uploadChunk()
  await fetch(`${arlocal.url}/mine/3`)
  const node = await startNode(join(folder, 'reader'), ['--arweave', arlocal.url])
  const process = (await ao(node, 'spawn', '--name', 'reader')).split('\n').pop()
  await ao(node, 'eval', process, 'ao.addAssignable(function () return true end)')
  const query = `process-id=${process}&assign=${transaction.id}&base-layer`
  const answer = await fetch(`${node.url}/mu?${query}`, { method: 'POST' })
  assert.equal(answer.status, 202, await answer.text())
  const read = `local d, n = ao.data('${transaction.id}'), 0
    for line in io.lines('/data/${transaction.id}') do n = n + 1 end
    return n .. ' ' .. d.size .. ' ' .. d:read(400000, 20) .. Inbox[#Inbox].Tags['Content-Type']`
  const expected = `30000 ${data.length} ${data.slice(400000, 400020)}text/plain`
  assert.equal(await ao(node, 'eval', process, read), expected)
  const height = async () => Number((await json(node, '/su/timestamp')).block_height)
  await until('the height is that of arlocal', async () => await height() >= 3)
  await node.kill()
})
