// The example of the README's "Use it from JavaScript" does what is said there.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { startNetwork } from './network.mjs'

const network = await startNetwork()
const folder = mkdtempSync(join(tmpdir(), 'ao-readme-'))
after(() => {
  network.stop()
  rmSync(folder, { recursive: true })
})

test('hello.mjs prints 42', async () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8')
  const [, example] = /```js\n(.*?)```/s.exec(readme)
  mkdirSync(join(folder, '.testnet'))
  writeFileSync(join(folder, '.testnet/testnet.json'), JSON.stringify(network))
  writeFileSync(join(folder, 'hello.mjs'), example)
  symlinkSync(fileURLToPath(new URL('node_modules', import.meta.url)), join(folder, 'node_modules'))
  const { stdout } = await promisify(execFile)(process.execPath, ['hello.mjs'], { cwd: folder })
  assert.equal(stdout, '42\n')
})
