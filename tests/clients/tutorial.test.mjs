// The README's walk through the console does what is said there: every line of it is typed, in terminals.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startNetwork } from './network.mjs'
import { openTerminal } from './terminal.mjs'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const program = join(process.env.CARGO_TARGET_DIR ?? join(repository, 'target'), 'release/ao-node')
const network = await startNetwork()
const home = mkdtempSync(join(tmpdir(), 'ao-tutorial-'))
const terminals = new Map()
after(() => {
  for (const terminal of terminals.values()) terminal.kill()
  network.stop()
  rmSync(home, { recursive: true })
})
const env = { HOME: home, XDG_CONFIG_HOME: '', XDG_STATE_HOME: '', AO_NODE: network.gateway_url, AO_WALLET: '' }
for (const name of ['XDG_CONFIG_HOME', 'XDG_STATE_HOME', 'AO_WALLET']) {
  delete process.env[name]
  delete env[name]
}

/** The lines of all console blocks. */
function transcript () {
  const readme = readFileSync(join(repository, 'README.md'), 'utf8')
  return [...readme.matchAll(/```console\n(.*?)```/gs)].flatMap(([, block]) => block.trimEnd().split('\n'))
}

/** Ids that were shown, by the names that stand for them in the README. */
const ids = new Map()
const ID = '[A-Za-z0-9_-]{43}'

const NAMES = /\b(NEO|TRINITY|MORPHEUS|NIOBE)\b/g

/** What a line of the README means: `…` anything, a known name its id, an unknown one any id. */
function pattern (line) {
  const escaped = line.replace(/[.*+?^${}()|[\]\\]/g, '\\$&').replace(/…/g, '.*')
  return new RegExp(escaped.replace(NAMES, name => ids.get(name) ?? `(?<${name}>${ID})`))
}

const withIds = line => line.replace(NAMES, name => ids.get(name) ?? name)
const prompt = name => new RegExp(`${name}@aos-2\\.0\\.4\\[Inbox:\\d+\\]> `)

async function shell (command) {
  const [, name, options] = /^ao-node console (\w+)(.*)$/.exec(command) ?? []
  if (!name) {
    await promisify(execFile)(program, command.split(' ').slice(1), { cwd: home, env: { ...process.env, ...env } })
    return undefined
  }
  const before = terminals.get(name)
  if (before) assert.equal(await before.ended(), 0)
  terminals.set(name, openTerminal(`${program} console ${name}${options}`, { cwd: home, env }))
  return name
}

test('every line of the tutorial, in order', async () => {
  let current
  let fresh = false
  const lines = transcript()
  assert.ok(lines.length > 40, 'the tutorial is there')
  for (const [at, line] of lines.entries()) {
    const typed = /^(\w+)@aos-2\.0\.4\[Inbox:\d+\]> ?(.*)$/.exec(line)
    if (line.startsWith('$ ')) {
      current = await shell(line.slice(2))
      fresh = true
    } else if (typed) {
      const [, name, lua] = typed
      current = name
      const terminal = terminals.get(name)
      if (fresh) await terminal.shown(prompt(name))
      fresh = false
      if (lua) await terminal.type(withIds(lua))
    } else {
      const wanted = pattern(line)
      const screen = await terminals.get(current).shown(wanted)
      for (const [name, id] of Object.entries(wanted.exec(screen).groups ?? {})) ids.set(name, id)
    }
    // A line that nothing is expected of has been evaluated when the prompt is back.
    const next = lines[at + 1] ?? ''
    if (typed?.[2] && !typed[2].startsWith('.exit') && /^(\$|\w+@aos)/.test(next)) {
      await terminals.get(current).shown(new RegExp(`[^]*${prompt(current).source}`))
    }
  }
  assert.deepEqual([...ids.keys()].sort(), ['MORPHEUS', 'NEO', 'NIOBE', 'TRINITY'])
})
