// The aos console from npm, `@permaweb/aos` 1.2.18, in a terminal: start, a few lines, leave, come back.
//
// npm's package is a console of 2023 (it calls itself "0.2.18 [alpha]"), quite unlike the 2.x that people install from
// its repository. What differs, and what of it matters to a network:
//
//   2.x                                             1.2.18
//   aos [NAME] with flags                           aos WALLET.json, no name, no flags
//   process by owner, Type and Name                 process by owner, Type and Module (AOS_SRC), the newest one
//   scheduler, units by flag or environment         scheduler TZ7o7… in the source; units from globals of JavaScript;
//                                                   so it can't spawn on any other network: aoconnect does that here
//   spawn checks the module                         spawn checks the module and the scheduler's Scheduler-Location
//   a message goes to the MU at once                first /processes/{id} of the scheduler: Data-Protocol, Type, Module
//   Action=Eval, the line is the data               function=eval and expression=<line> as tags, data is random digits
//   starts with require('.process')._version        starts with a prompt of its own
//   Output.data text, Output.prompt                 Output.data.output, Output.data.prompt (without its "> ")
//   errors are shown                                errors are shown, and end the program (a fault of its own)
//   polls /results: what arrives is shown           shows answers to its own lines only
//   .load, .load-blueprint, .live, .dryrun, .pad    none of these; .editor with .done and .cancel, and .exit
//
// So `.load` has no test here: what it sends is replayed by aos-requests.test.mjs.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connect } from '@permaweb/aoconnect'
import { startNetwork } from './network.mjs'
import { spawnProcess } from './process.mjs'
import { openTerminal } from './terminal.mjs'
import { until } from './until.mjs'
import { neo, trinity } from './wallets.mjs'

const network = await startNetwork()
const home = mkdtempSync(join(tmpdir(), 'ao-aos-'))
after(() => {
  network.stop()
  rmSync(home, { recursive: true })
})
const ao = connect(network.clients)
const path = name => fileURLToPath(new URL(name, import.meta.url))

function openConsole () {
  const file = join(home, 'testnet.json')
  writeFileSync(file, JSON.stringify(network))
  const wallet = join(home, 'wallet.json')
  writeFileSync(wallet, JSON.stringify(neo.jwk))
  const aos = path('node_modules/@permaweb/aos/bin/aos.js')
  return openTerminal(`node --import ${path('aos-environment.mjs')} ${aos} ${wallet}`, {
    cwd: home,
    env: { HOME: home, AO_TESTNET: file, AOS_SRC: network.module, ARWEAVE_GRAPHQL: network.graphql_url }
  })
}

/** The prompt that the runtime gives, at the end of the screen. */
const PROMPT = /@aos-2\.0\.4\[Inbox:\d+\]> $/

test('a person starts the console, computes, sends, leaves and comes back', async () => {
  const friend = await spawnProcess(ao, network, { sign: trinity.sign, boot: `
    Handlers.add("Hello", "Hello", function(msg) msg.reply({ Data = "nice to meet you" }) end)` })

  const { id } = await spawnProcess(ao, network)
  const first = openConsole()
  assert.match(await first.shown(/aos> $/), new RegExp(`aos computer: +${id}`))
  await first.type('x = 1', PROMPT)
  assert.match(await first.type('x', PROMPT), /\b1\r?\n/)
  assert.match(await first.type('x + 41', PROMPT), /\b42\r?\n/)
  const sent = await first.type(`Send({ Target = "${friend.id}", Action = "Hello" })`, PROMPT)
  assert.match(sent, /Message added to outbox/)
  await until('the answer is in the inbox', async () => (await friendOf(id)) >= 1)
  const inbox = await first.type('Inbox[#Inbox].Data', PROMPT)
  assert.match(inbox, /nice to meet you/)
  assert.match(await first.type('#Inbox', PROMPT), /\b[12]\r?\n/)
  await first.type('.editor', /editor mode/)
  await first.type('function twice(n)')
  await first.type('  return 2 * n')
  await first.type('end')
  await first.type('.done', PROMPT)
  assert.match(await first.type('twice(21)', PROMPT), /\b42\r?\n/)
  await first.type('.exit', /Exiting/)
  assert.equal(await first.ended(), 0)

  const second = openConsole()
  assert.match(await second.shown(/aos> $/), new RegExp(id))
  assert.match(await second.type('x', PROMPT), /\b1\r?\n/)
  await second.type('.exit', /Exiting/)
  assert.equal(await second.ended(), 0)

  /** How many messages from the friend are in the inbox of the console's process. */
  async function friendOf (process) {
    const { Output } = await ao.dryrun({ process, Owner: neo.address, tags: [{ name: 'Action', value: 'Eval' }],
      data: `local n = 0 for _, m in ipairs(Inbox) do if m.From == "${friend.id}" then n = n + 1 end end return n` })
    return Number(Output.data)
  }
})
