// Any node is a gateway: items uploaded with @dha-team/arbundles are found by GraphQL and by id.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ArweaveSigner, EthereumSigner, bundleAndSignData, createData } from '@dha-team/arbundles'
import { graphql } from './graphql.mjs'
import { startNetwork } from './network.mjs'
import { until } from './until.mjs'
import { morpheus, neo, trinity } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)

const signer = new ArweaveSigner(neo.jwk)
const ITEMS = 5
let uploaded

/** Signs an item and uploads it as bundlers take it; gives the item. */
async function upload (data, options = {}, by = signer) {
  const item = createData(data, by, options)
  await item.sign(by)
  const answer = await fetch(`${network.gateway_url}/tx`, {
    method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: item.getRaw()
  })
  const receipt = await answer.json()
  assert.ok(answer.ok, JSON.stringify(receipt))
  assert.equal(receipt.id, item.id)
  assert.equal(typeof receipt.timestamp, 'number')
  return item
}

const NODE = `id anchor signature recipient owner { address key } data { size type } tags { name value }
  block { id timestamp height previous } parent { id } bundledIn { id }`

async function transactions (args) {
  const { transactions } = await graphql(network, `{ transactions(${args}) {
    pageInfo { hasNextPage } edges { cursor node { ${NODE} } } } }`)
  return transactions
}

const ids = connection => connection.edges.map(edge => edge.node.id)

before(async () => {
  uploaded = []
  for (let number = 1; number <= ITEMS; number++) {
    const tags = [{ name: 'Series', value: 'gateway test' }, { name: 'Number', value: String(number) },
      { name: 'Content-Type', value: 'text/plain' }]
    uploaded.push(await upload(`item ${number}`, { tags }))
  }
})

test('an upload is served by every node as it was', async () => {
  const [item] = uploaded
  for (const { http_url: node } of network.nodes) {
    const answer = await until(`${node} serves it`, async () => {
      const answer = await fetch(`${node}/raw/${item.id}`)
      return answer.ok && answer
    })
    assert.equal(await answer.text(), 'item 1')
    assert.match(answer.headers.get('content-type'), /^text\/plain/)
  }
})

test('the same by bundlers\' other paths and names', async () => {
  const [item] = uploaded
  const again = await fetch(`${network.gateway_url}/tx/arweave`, {
    method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: item.getRaw()
  })
  assert.ok(again.ok, 'known already is no error')
  assert.equal((await again.json()).id, item.id)
  assert.equal(await (await fetch(`${network.gateway_url}/raw/${item.id}`)).text(), 'item 1')
  const head = await fetch(`${network.gateway_url}/${item.id}`, { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), String('item 1'.length))
})

test('a part of it', async () => {
  const [item] = uploaded
  const answer = await fetch(`${network.gateway_url}/raw/${item.id}`, { headers: { Range: 'bytes=2-3' } })
  assert.equal(answer.status, 206)
  assert.equal(answer.headers.get('content-range'), 'bytes 2-3/6')
  assert.equal(await answer.text(), 'em')
})

test('GraphQL knows all that the item says', async () => {
  const target = 'B'.repeat(42) + 'A'
  const anchor = '0123456789abcdef0123456789abcdef'
  const by = new EthereumSigner(morpheus.key)
  const item = await upload('told in full', { target, anchor, tags: [{ name: 'Grüße', value: '日本' }] }, by)
  const { edges: [{ node }] } = await transactions(`ids: ["${item.id}"]`)
  assert.equal(node.id, item.id)
  assert.equal(node.recipient, target)
  assert.equal(node.signature, item.signature)
  const key = Buffer.from(by.publicKey).toString('base64url')
  assert.deepEqual(node.owner, { address: morpheus.nativeAddress, key })
  assert.equal(node.data.size, '12')
  assert.deepEqual(node.tags, [{ name: 'Grüße', value: '日本' }])
  assert.equal(typeof node.block.height, 'number')
  assert.ok(Math.abs(node.block.timestamp - Date.now() / 1000) < 600, 'seconds, not milliseconds')
  const one = `query One($id: ID!) { transaction(id: $id) { ${NODE} } }`
  const { transaction } = await graphql(network, one, { id: item.id })
  assert.deepEqual(transaction, node)
})

test('transactions by tags: all filters, any of their values', async () => {
  const series = 'tags: [{ name: "Series", values: ["gateway test"] }'
  const all = await transactions(`${series}], sort: HEIGHT_ASC`)
  assert.deepEqual(ids(all).sort(), uploaded.map(item => item.id).sort())
  const some = await transactions(`${series}, { name: "Number", values: ["2", "4", "9"] }]`)
  assert.deepEqual(ids(some).sort(), [uploaded[1].id, uploaded[3].id].sort())
  const others = await transactions(`${series}, { name: "Number", values: ["2", "4"], op: NEQ }]`)
  assert.equal(others.edges.length, 3)
  assert.deepEqual(ids(await transactions('tags: [{ name: "Series", values: ["no such"] }]')), [])
})

test('transactions by owner and recipient', async () => {
  const item = await upload('from trinity', { target: neo.address }, new ArweaveSigner(trinity.jwk))
  assert.ok(ids(await transactions(`owners: ["${trinity.address}", ""]`)).includes(item.id))
  assert.ok(ids(await transactions(`recipients: ["${neo.address}"]`)).includes(item.id))
  assert.ok(!ids(await transactions(`owners: ["${neo.address}"], recipients: ["${neo.address}"]`)).includes(item.id))
  assert.deepEqual(ids(await transactions('owners: [""]')), [])
})

for (const sort of ['HEIGHT_ASC', 'HEIGHT_DESC']) {
  test(`pages in ${sort}, each item once and the end known`, async () => {
    const seen = []
    let after = ''
    for (;;) {
      const page = await transactions(
        `tags: [{ name: "Series", values: ["gateway test"] }], first: 2, sort: ${sort} ${after}`)
      seen.push(...page.edges)
      if (!page.pageInfo.hasNextPage) break
      assert.equal(page.edges.length, 2)
      after = `, after: "${page.edges.at(-1).cursor}"`
    }
    assert.deepEqual(seen.map(edge => edge.node.id).sort(), uploaded.map(item => item.id).sort())
    const heights = seen.map(edge => edge.node.block.height)
    assert.deepEqual(heights, heights.toSorted((a, b) => sort === 'HEIGHT_ASC' ? a - b : b - a))
  })
}

test('transactions by height', async () => {
  const { edges: [{ node: { block } }] } = await transactions(`ids: ["${uploaded[0].id}"]`)
  const inside = `ids: ["${uploaded[0].id}"], block: { min: ${block.height}, max: ${block.height} }`
  assert.deepEqual(ids(await transactions(inside)), [uploaded[0].id])
  assert.deepEqual(ids(await transactions(`ids: ["${uploaded[0].id}"], block: { min: ${block.height + 1} }`)), [])
})

test('a process and its messages are found like everything else', async () => {
  const { transactions: found } = await graphql(network, `query ($scheduler: String!) { transactions(
    owners: [$scheduler] # the scheduler's newest address
    tags: [{ name: "Data-Protocol", values: ["ao"] }, { name: "Type", values: ["Scheduler-Location"] }]
    sort: HEIGHT_DESC first: 1) { edges { node { tags { name value } } } } }`, { scheduler: network.scheduler })
  const { value: url } = found.edges[0].node.tags.find(tag => tag.name === 'Url')
  const { address } = await (await fetch(url)).json()
  assert.equal(address, network.scheduler)
})

test('a bundle of items comes apart, also one within another', async () => {
  const leaf = createData('a leaf', signer, { tags: [{ name: 'Leaf', value: 'yes' }] })
  await leaf.sign(signer)
  const tags = [{ name: 'Bundle-Format', value: 'binary' }, { name: 'Bundle-Version', value: '2.0.0' }]
  const inner = createData((await bundleAndSignData([leaf], signer)).getRaw(), signer, { tags })
  await inner.sign(signer)
  const outer = await upload((await bundleAndSignData([inner], signer)).getRaw(), { tags })
  const { edges: [{ node }] } = await until('the leaf is found', async () => {
    const found = await transactions(`ids: ["${leaf.id}"]`)
    return found.edges.length === 1 && found
  })
  assert.equal(node.bundledIn.id, inner.id)
  assert.equal((await transactions(`ids: ["${inner.id}"]`)).edges[0].node.bundledIn.id, outer.id)
  assert.equal(await (await fetch(`${network.gateway_url}/${leaf.id}`)).text(), 'a leaf')
  assert.deepEqual(ids(await transactions(`bundledIn: ["${inner.id}"]`)), [leaf.id])
})
