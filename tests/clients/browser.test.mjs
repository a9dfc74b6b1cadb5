// A page in headless Chromium sends a message through aoconnect's browser build and shows what came of it.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import { connect } from '@permaweb/aoconnect'
import puppeteer from 'puppeteer-core'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { neo } from './wallets.mjs'

const network = await startNetwork()
after(network.stop)
const ao = connect(network.clients)

const library = name => readFileSync(new URL(`node_modules/${name}`, import.meta.url))

// In a browser aoconnect hands the message to a wallet, which gives back a signed item (aoconnect's other way, a
// signature alone, fails there: it can't check RSA signatures in a browser). Wallets are extensions; this one does what
// they do, with WebCrypto: a salt of 32 bytes, where node's have 478.
const PAGE = `<!doctype html><title>ao</title><button>send</button><pre id="result"></pre>
<script src="/arbundles.js"></script><script type="module">
  import { connect, createDataItemSigner } from '/aoconnect.js'
  const { clients, process, owner, jwk } = await (await fetch('/setting.json')).json()
  const { SIG_CONFIG, createData } = globalThis.arbundles
  const algorithm = { name: 'RSA-PSS', hash: 'SHA-256', saltLength: 32 }
  const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['sign'])
  const publicKey = Uint8Array.from(atob(jwk.n.replace(/-/g, '+').replace(/_/g, '/')), char => char.charCodeAt(0))
  const { sigLength: signatureLength, pubLength: ownerLength } = SIG_CONFIG[1]
  const wallet = {
    connect: async permissions => {},
    signDataItem: async ({ data, tags, target, anchor }) => {
      const kind = { signatureType: 1, signatureLength, ownerLength, publicKey }
      const item = createData(data, kind, { tags, target, anchor })
      await item.setSignature(new Uint8Array(await crypto.subtle.sign(algorithm, key, await item.getSignatureData())))
      return item.getRaw()
    }
  }
  const ao = connect(clients)
  const tags = [{ name: 'Action', value: 'Eval' }]
  const show = text => { document.querySelector('#result').textContent = text }
  document.querySelector('button').onclick = async () => {
    try {
      const message = await ao.message({ process, signer: createDataItemSigner(wallet), data: '6 * 7', tags })
      const { Output } = await ao.result({ process, message })
      const dry = await ao.dryrun({ process, data: '"dry"', Owner: owner, tags })
      const { edges } = await ao.results({ process, sort: 'DESC', limit: 1 })
      show([message, Output.data, dry.Output.data, edges[0].node.Output.data].join(' '))
    } catch (error) {
      show('error: ' + error.stack)
    }
  }
  document.title = 'ready'
</script>`

/** Serves the page, the libraries and the page's setting on a free port; gives the address. */
async function serve (setting) {
  const files = {
    '/': ['text/html', PAGE],
    '/aoconnect.js': ['text/javascript', library('@permaweb/aoconnect/dist/browser.js')],
    '/arbundles.js': ['text/javascript', library('@dha-team/arbundles/build/web/bundle.js')],
    '/setting.json': ['application/json', JSON.stringify(setting)]
  }
  const server = createServer((request, response) => {
    const [type, body] = files[request.url] ?? []
    response.writeHead(body ? 200 : 404, { 'Content-Type': type ?? 'text/plain' }).end(body)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => server.close())
  return `http://localhost:${server.address().port}/`
}

test('a page sends a message and shows its result', async () => {
  const { id, result } = await spawnProcess(ao, network)
  const { kty, n, e, d, p, q, dp, dq, qi } = neo.jwk
  const jwk = { kty, n, e, d, p, q, dp, dq, qi }
  const address = await serve({ clients: network.clients, process: id, owner: neo.address, jwk })
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Tests run as root in containers, where Chromium's own sandbox can't be set up.
    args: ['--no-sandbox', '--disable-dev-shm-usage']
  })
  after(() => browser.close())
  const page = await browser.newPage()
  const troubles = []
  page.on('pageerror', error => troubles.push(error.message))
  page.on('requestfailed', request => troubles.push(`${request.url()}: ${request.failure().errorText}`))
  await page.goto(address)
  await page.waitForFunction('document.title === "ready"')
  await page.click('button')
  await page.waitForFunction('document.querySelector("#result").textContent !== ""')
  const shown = await page.$eval('#result', element => element.textContent)
  const [message, ...answers] = shown.split(' ')
  assert.deepEqual(answers, ['42', 'dry', '42'], `${shown}\n${troubles.join('\n')}`)
  assert.equal((await result(message)).Output.data, '42')
})
