// What is wrong in a request is told: a status that fits, and a text in JSON that says what was wrong.

import assert from 'node:assert/strict'
import { connect as connectSocket } from 'node:net'
import { after, before, test } from 'node:test'
import { ArweaveSigner, createData } from '@dha-team/arbundles'
import { connect } from '@permaweb/aoconnect'
import { graphqlAnswer } from './graphql.mjs'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)
const { mu_url: mu, su_url: su, cu_url: cu, gateway_url: gateway } = network
const UNKNOWN = 'A'.repeat(43)
const OCTETS = { 'Content-Type': 'application/octet-stream' }
let process

before(async () => { process = await spawnProcess(ao, network) })

/** The bytes of a signed item. */
async function item (fields, { data = 'hi', target } = {}) {
  const signer = new ArweaveSigner(neo.jwk)
  const tags = Object.entries(fields).map(([name, value]) => ({ name, value }))
  const item = createData(data, signer, { target, tags })
  await item.sign(signer)
  return item.getRaw()
}

const message = (more = {}) => item({ 'Data-Protocol': 'ao', Type: 'Message' }, { target: process.id, ...more })

/** A request is refused with this status, and with a text in JSON. */
async function refused (status, text, url, init) {
  const answer = await fetch(url, init)
  const body = await answer.text()
  assert.equal(answer.status, status, `${url}: ${body}`)
  assert.match(answer.headers.get('content-type'), /^application\/json/)
  assert.match(JSON.parse(body).error, text)
}

const posted = body => ({ method: 'POST', headers: OCTETS, body })

for (const [unit, url] of Object.entries({ messenger: mu, scheduler: su })) {
  test(`${unit}: bytes that are no item`, async () => {
    await refused(400, /not a data item/, url, posted(Buffer.alloc(0)))
    await refused(400, /signature type/, url, posted('hello'))
    await refused(400, /signature type/, url, posted(Buffer.alloc(2000, 0xff)))
    const whole = await message()
    await refused(400, /not a data item/, url, posted(whole.subarray(0, 1050)))
  })

  test(`${unit}: a signature that is not that of the item`, async () => {
    const changed = await message()
    changed[changed.length - 1] ^= 1
    await refused(400, /signature/, url, posted(changed))
    const unsigned = (await message()).fill(0, 2, 514)
    await refused(400, /signature/, url, posted(unsigned))
  })

  test(`${unit}: an item that is no message`, async () => {
    const target = process.id
    await refused(400, /Type/, url, posted(await item({ 'Data-Protocol': 'ao' }, { target })))
    await refused(400, /Type/, url, posted(await item({ 'Data-Protocol': 'ao', Type: 'Letter' }, { target })))
    await refused(400, /Data-Protocol/, url, posted(await item({ Type: 'Message' }, { target })))
    await refused(400, /target/, url, posted(await item({ 'Data-Protocol': 'ao', Type: 'Message' })))
  })

  test(`${unit}: a message for a process that nobody knows`, async () => {
    await refused(404, new RegExp(UNKNOWN), url, posted(await message({ target: UNKNOWN })))
  })

  test(`${unit}: a process without module or scheduler, or with one that is not there`, async () => {
    const spawn = { 'Data-Protocol': 'ao', Type: 'Process' }
    const { scheduler: Scheduler, module: Module } = network
    await refused(400, /Module/, url, posted(await item({ ...spawn, Scheduler })))
    await refused(400, /Scheduler/, url, posted(await item({ ...spawn, Module })))
    const answer = await fetch(url, posted(await item({ ...spawn, Module, Scheduler: UNKNOWN })))
    assert.ok(answer.status >= 400, `status ${answer.status}`)
    assert.match((await answer.json()).error, new RegExp(UNKNOWN))
  })

  test(`${unit}: an item above the limit`, async () => {
    await refused(413, /larger than 10486784 bytes/, url, posted(Buffer.alloc(11 * 1024 * 1024)))
  })

  test(`${unit}: a body that says it is something else`, async () => {
    const headers = { 'Content-Type': 'application/json' }
    await refused(415, /application\/octet-stream/, url, { method: 'POST', headers, body: '{"Type":"Message"}' })
  })
}

test('assignments need both ids, and known ones', async () => {
  const assign = query => [`${mu}/?${query}`, { method: 'POST', headers: OCTETS }]
  await refused(400, /both/, ...assign(`process-id=${process.id}`))
  await refused(400, /both/, ...assign(`assign=${process.id}`))
  await refused(400, /id/, ...assign(`process-id=${process.id}&assign=short`))
  await refused(404, new RegExp(UNKNOWN), ...assign(`process-id=${UNKNOWN}&assign=${process.id}`))
  await refused(404, new RegExp(UNKNOWN), ...assign(`process-id=${process.id}&assign=${UNKNOWN}`))
})

test('scheduler: unknown ids and odd ranges', async () => {
  // An id that is not there yet is waited for a while: all of them at once.
  await Promise.all([UNKNOWN, process.id].map(id =>
    refused(404, /Message or Process not found/, `${su}/${UNKNOWN}?process-id=${id}`)))
  await refused(400, /id/, `${su}/${process.id}?process-id=short`)
  const read = query => `${su}/${process.id}?process-id=${process.id}&${query}`
  for (const odd of ['limit=-1', 'limit=0', 'limit=many', 'limit=99999999999999999999']) {
    await refused(400, /limit/, read(odd))
  }
  await refused(400, /from/, read('from=yesterday'))
  await refused(400, /to-nonce/, read('to-nonce=1.5'))
  for (const fine of ['limit=1000000', 'limit=undefined', 'to=', 'from-nonce=-9', 'from=0']) {
    const answer = await fetch(read(fine))
    assert.equal(answer.status, 200, fine)
    assert.equal((await answer.json()).edges.length, 1, fine)
  }
})

test('compute unit: unknown and malformed ids', async () => {
  await refused(400, /process-id/, `${cu}/result/${UNKNOWN}`)
  await refused(400, /id/, `${cu}/result/short?process-id=${process.id}`)
  const unknown = [`result/${UNKNOWN}?process-id=${process.id}`, `result/${UNKNOWN}?process-id=${UNKNOWN}`,
    `results/${UNKNOWN}`, `cron/${UNKNOWN}`, `state/${UNKNOWN}`]
  await Promise.all(unknown.map(path => refused(404, new RegExp(UNKNOWN), `${cu}/${path}`)))
})

test('compute unit: bad cursors, directions and limits', async () => {
  const results = query => `${cu}/results/${process.id}?${query}`
  const cursor = value => encodeURIComponent(btoa(JSON.stringify(value)))
  await refused(400, /from/, results('from=rubbish'))
  await refused(400, /to/, results('to=%00'))
  await refused(400, /from/, results(`from=${cursor({ timestamp: 'x' })}`))
  await refused(400, /from/, results(`from=${cursor([1, 2])}`))
  await refused(400, /sort/, results('sort=SIDEWAYS'))
  await refused(400, /limit/, results('limit=-1'))
  await refused(400, /limit/, results('limit=many'))
  const answer = await fetch(results('limit=99999999999'))
  assert.equal(answer.status, 200, 'a page has as many as there may be')
  assert.equal((await answer.json()).edges.length, 1)
})

test('dry run: no process, no JSON, or another content', async () => {
  const post = (body, type = 'application/json') => ({ method: 'POST', headers: { 'Content-Type': type }, body })
  const url = `${cu}/dry-run?process-id=${process.id}`
  await refused(400, /process-id/, `${cu}/dry-run`, post('{"Tags":[]}'))
  await refused(404, new RegExp(UNKNOWN), `${cu}/dry-run?process-id=${UNKNOWN}`, post('{"Tags":[],"Owner":"x"}'))
  await refused(400, /JSON/i, url, post('not JSON'))
  await refused(400, /JSON/, url, post('{"Owner":"x","Tags":[{"name":1}]}'))
  await refused(400, /JSON/, url, post('Owner=x', 'application/x-www-form-urlencoded'))
})

test('gateway: unknown ids, uploads and chunks that are none', async () => {
  await refused(404, new RegExp(UNKNOWN), `${gateway}/${UNKNOWN}`)
  await refused(404, new RegExp(UNKNOWN), `${gateway}/raw/${UNKNOWN}`)
  await refused(404, /tx|transaction|Not Found/i, `${gateway}/tx/${UNKNOWN}`)
  await refused(404, /no path/, `${gateway}/no/such/path`)
  await refused(400, /signature type/, `${gateway}/tx`, posted('rubbish'))
  const headers = { 'Content-Type': 'application/json' }
  await refused(400, /JSON/i, `${gateway}/tx`, { method: 'POST', headers, body: '{' })
  await refused(400, /invalid_json/, `${gateway}/chunk`, { method: 'POST', body: '{' })
})

test('GraphQL: what can not be answered', async () => {
  const wrong = async (query, text, variables) => {
    const { data, errors } = await graphqlAnswer(network, { query, variables })
    assert.equal(data ?? null, null)
    assert.match(errors[0].message, text)
  }
  await wrong('{ transactions( }', /./)
  await wrong('{ nonsense }', /nonsense/)
  await wrong('{ transactions(first: -1) { edges { cursor } } }', /first/)
  await wrong('{ transactions(first: 1000000) { edges { cursor } } }', /first/)
  await wrong('{ transactions(after: "rubbish") { edges { cursor } } }', /after|cursor/)
  await wrong('query ($id: ID!) { transaction(id: $id) { id } }', /id/)
  const deep = `{ transactions { ${'edges { node { '.repeat(100)} id ${'} } '.repeat(100)} } }`
  await wrong(deep, /deep|recursion/i)
  const wide = Array.from({ length: 600 }, (_, number) => `a${number}: transactions { edges { cursor } }`).join(' ')
  await wrong(`{ ${wide} }`, /complex|wide/i)
  const list = Array.from({ length: 1000 }, () => `"${UNKNOWN}"`).join(' ')
  await wrong(`{ transactions(ids: [${list}]) { edges { cursor } } }`, /ids|many/i)
})

test('GraphQL: no query, no JSON, another content type', async () => {
  const post = (body, type) => fetch(network.graphql_url, { method: 'POST', headers: { 'Content-Type': type }, body })
  assert.equal((await post('{', 'application/json')).status, 400)
  assert.equal((await post('{}', 'application/json')).status, 400)
  assert.ok([400, 415].includes((await post('{ transactions { edges { cursor } } }', 'text/html')).status))
  assert.equal((await post(`{"query":"${'x'.repeat(2_000_000)}"}`, 'application/json')).status, 413)
})

/** Sends bytes as they are, and gives all that comes until the other side closes. */
function raw (url, bytes) {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connectSocket(Number(port), hostname, () => socket.write(bytes))
    socket.setEncoding('utf8').on('data', text => { answer += text })
    socket.on('close', () => resolve(answer)).on('error', reject)
  })
}

test('a body that does not come is not waited for without end', { timeout: 60_000 }, async () => {
  const request = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this'
  for (const answer of await Promise.all([mu, su, gateway].map(url => raw(url, request)))) {
    assert.match(answer, /^HTTP\/1\.1 408 |^$/)
  }
})

test('nor are headers, nor a client that does not read', { timeout: 90_000 }, async () => {
  await Promise.all([raw(mu, 'POST / HTTP/1.1\r\nHost: x\r\n'), unread()])
})

/** Asks for more than what fits on the way and does not take it; by then the node has given up. */
async function unread () {
  const size = 8 * 1024 * 1024
  const signer = new ArweaveSigner(neo.jwk)
  const large = createData(Buffer.alloc(size), signer)
  await large.sign(signer)
  assert.equal((await fetch(`${gateway}/tx`, posted(large.getRaw()))).status, 200)
  const times = 8
  const { hostname, port } = new URL(gateway)
  let received = 0
  await new Promise(resolve => {
    const socket = connectSocket(Number(port), hostname, () => {
      socket.pause()
      socket.write(`GET /raw/${large.id} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(times))
      setTimeout(() => socket.resume(), 40_000)
    })
    socket.on('data', bytes => { received += bytes.length })
    socket.on('close', resolve).on('error', () => {})
  })
  assert.ok(received < times * size, `${received} bytes came`)
}

test('after all that the network works', async () => {
  assert.equal(await process.eval('1 + 1'), '2')
})
