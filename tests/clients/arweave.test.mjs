// arweave-js against the development chain of the gateway: it reads and posts transactions of Arweave's own kind.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { ArweaveSigner, bundleAndSignData, createData } from '@dha-team/arbundles'
import Arweave from 'arweave'
import { graphql } from './graphql.mjs'
import { startNetwork } from './network.mjs'
import { until } from './until.mjs'
import { neo, trinity } from './wallets.mjs'

const KIB = 1024
const network = await startNetwork()
after(network.stop)
const { hostname: host, port } = new URL(network.gateway_url)
const arweave = Arweave.init({ host, port, protocol: 'http' })

async function signed (data, tags = {}, jwk = neo.jwk) {
  const transaction = await arweave.createTransaction({ data }, jwk)
  for (const [name, value] of Object.entries(tags)) transaction.addTag(name, value)
  await arweave.transactions.sign(transaction, jwk)
  return transaction
}

async function post (transaction) {
  const uploader = await arweave.transactions.getUploader(transaction)
  while (!uploader.isComplete) await uploader.uploadChunk()
  const { lastResponseStatus: status, lastResponseError: cause } = uploader
  assert.ok([200, 208].includes(status), `${status} ${cause}`)
}

const mined = transaction => until('it is mined', async () => {
  const { status, confirmed } = await arweave.transactions.getStatus(transaction.id)
  return status === 200 && confirmed
})

test('the network tells its height', async () => {
  const { height, current, blocks } = await arweave.network.getInfo()
  assert.equal(typeof height, 'number')
  assert.match(current, /^[\w-]{43,}$/)
  assert.equal(typeof blocks, 'number')
})

test('price and anchor are as arweave-js wants them', async () => {
  assert.match(await arweave.transactions.getPrice(1000), /^\d+$/)
  assert.match(await arweave.transactions.getPrice(1000, trinity.address), /^\d+$/)
  assert.match(await arweave.transactions.getTransactionAnchor(), /^[\w-]{43,}$/)
})

test('the development wallet has coins, a stranger has none', async () => {
  assert.ok(BigInt(await arweave.wallets.getBalance(neo.address)) > 10n ** 12n)
  assert.equal(await arweave.wallets.getBalance('A'.repeat(43)), '0')
})

test('a small transaction is posted, mined and read', async () => {
  const transaction = await signed('hello, permaweb', { 'Content-Type': 'text/plain', Grüße: '日本' })
  const { status } = await arweave.transactions.post(transaction)
  assert.equal(status, 200)
  const confirmed = await mined(transaction)
  assert.match(confirmed.block_indep_hash, /^[\w-]{43,}$/)
  assert.equal(await arweave.transactions.getData(transaction.id, { decode: true, string: true }), 'hello, permaweb')
  const read = await arweave.transactions.get(transaction.id)
  assert.equal(read.data_root, transaction.data_root)
  assert.ok(await arweave.transactions.verify(read), 'as it was signed')
  const tags = read.tags.map(tag => ['name', 'value'].map(field => tag.get(field, { decode: true, string: true })))
  assert.deepEqual(tags, [['Content-Type', 'text/plain'], ['Grüße', '日本']])
  const block = await arweave.blocks.get(confirmed.block_indep_hash)
  assert.equal(block.height, confirmed.block_height)
  assert.ok(block.txs.includes(transaction.id))
})

test('it costs its price', async () => {
  const balance = async () => BigInt(await arweave.wallets.getBalance(neo.address))
  const before = await balance()
  const transaction = await signed('not for free')
  await post(transaction)
  await mined(transaction)
  assert.equal(before - await balance(), BigInt(transaction.reward))
})

test('coins move', async () => {
  const receiver = 'C'.repeat(42) + 'A'
  const quantity = arweave.ar.arToWinston('1.5')
  const transaction = await arweave.createTransaction({ target: receiver, quantity }, neo.jwk)
  await arweave.transactions.sign(transaction, neo.jwk)
  assert.equal((await arweave.transactions.post(transaction)).status, 200)
  await mined(transaction)
  assert.equal(await arweave.wallets.getBalance(receiver), '1500000000000')
})

test('who has no coins can not post', async () => {
  const transaction = await signed('too poor', {}, trinity.jwk)
  const { status } = await arweave.transactions.post(transaction)
  assert.ok(status >= 400 && status < 500, `status ${status}`)
})

// Chunks have 256 KiB; an exact multiple has an empty last leaf, and near one the last two chunks share the rest.
for (const size of [256 * KIB - 1, 256 * KIB, 256 * KIB + 1, 288 * KIB, 512 * KIB, 1024 * KIB, 1300 * KIB + 7]) {
  test(`${size} bytes are uploaded in chunks and read back`, async () => {
    const data = randomBytes(size)
    const transaction = await signed(data)
    await post(transaction)
    await mined(transaction)
    assert.ok(data.equals(await arweave.transactions.getData(transaction.id, { decode: true })))
    const whole = await fetch(`${network.gateway_url}/${transaction.id}`)
    assert.ok(data.equals(Buffer.from(await whole.arrayBuffer())))
    const head = await fetch(`${network.gateway_url}/raw/${transaction.id}`, { method: 'HEAD' })
    assert.equal(head.headers.get('content-length'), `${size}`)
    const [from, to] = [size - 256 * KIB < 0 ? 10 : size - 256 * KIB, size - 2]
    const headers = { Range: `bytes=${from}-${to}` }
    const part = await fetch(`${network.gateway_url}/raw/${transaction.id}`, { headers })
    assert.equal(part.status, 206)
    assert.ok(data.subarray(from, to + 1).equals(Buffer.from(await part.arrayBuffer())))
  })
}

test('a chunk that does not belong is refused in a way that ends the upload', async () => {
  const transaction = await signed(randomBytes(600 * KIB))
  const uploader = await arweave.transactions.getUploader(transaction)
  await uploader.uploadChunk()
  const chunk = { ...transaction.getChunk(0, transaction.data), chunk: Buffer.alloc(256 * KIB).toString('base64url') }
  const answer = await fetch(`${network.gateway_url}/chunk`, { method: 'POST', body: JSON.stringify(chunk) })
  assert.equal(answer.status, 400)
  assert.deepEqual(await answer.json(), { error: 'invalid_proof' })
})

test('a bundle in a transaction comes apart: its items are found and served', async () => {
  const signer = new ArweaveSigner(neo.jwk)
  const items = ['first', 'second'].map(text =>
    createData(text, signer, { tags: [{ name: 'Bundled', value: text }] }))
  const bundle = await bundleAndSignData(items, signer)
  const transaction = await signed(bundle.getRaw(), { 'Bundle-Format': 'binary', 'Bundle-Version': '2.0.0' })
  await post(transaction)
  await mined(transaction)
  for (const [index, text] of ['first', 'second'].entries()) {
    const { id } = items[index]
    const edges = await until(`${text} is found`, async () => {
      const { transactions } = await graphql(network, `query ($id: ID!) {
        transactions(ids: [$id], tags: [{ name: "Bundled", values: ["${text}"] }]) {
          edges { node { bundledIn { id } block { height } } } } }`, { id })
      return transactions.edges.length > 0 && transactions.edges
    })
    assert.equal(edges[0].node.bundledIn.id, transaction.id)
    assert.equal(await (await fetch(`${network.gateway_url}/${id}`)).text(), text)
  }
})

test('blocks by height and time', async () => {
  const transaction = await signed('something to mine')
  await post(transaction)
  const { block_height: height } = await mined(transaction)
  const { blocks } = await graphql(network, `query ($min: Int!) {
    blocks(height: { min: $min }, first: 2, sort: HEIGHT_ASC) {
      pageInfo { hasNextPage } edges { node { id height timestamp previous } } } }`, { min: height - 1 })
  assert.deepEqual(blocks.edges.map(edge => edge.node.height), [height - 1, height])
  assert.equal(blocks.edges[1].node.previous, blocks.edges[0].node.id)
  assert.ok(blocks.edges[0].node.timestamp <= blocks.edges[1].node.timestamp)
})
