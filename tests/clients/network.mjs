// The network that a test talks to: separate ao-node processes with the messenger, scheduler and compute unit on
// different nodes. Each test file starts its own with the program behind testnet/up, and stops it when it ends;
// AO_TESTNET = path of a testnet.json makes all of them use one that runs already.

import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const repository = fileURLToPath(new URL('../..', import.meta.url))
const program = join(process.env.CARGO_TARGET_DIR ?? join(repository, 'target'), 'release/ao-testnet')

/**
 * Starts a network, or reads the one of AO_TESTNET.
 *
 * Gives what testnet.json says, `clients` as aoconnect's connect() takes it, and `stop()`. Whatever ends this process
 * also ends the network.
 */
export async function startNetwork ({ mu = 1, su = 1, cu = 1 } = {}) {
  if (process.env.AO_TESTNET) return describe(process.env.AO_TESTNET, () => {})
  const data = mkdtempSync(join(tmpdir(), 'ao-clients-'))
  const stop = () => {
    const { status, stderr } = spawnSync(program, ['down', '--data', data], { encoding: 'utf8' })
    process.off('exit', stop)
    rmSync(data, { recursive: true, force: true })
    if (status !== 0) throw new Error(`the network did not stop: ${stderr}`)
  }
  process.on('exit', stop)
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))
  const units = ['--mu', mu, '--su', su, '--cu', cu].map(String)
  await promisify(execFile)(program, ['up', '--base-port', '0', '--data', data, ...units, '--detach'])
  return describe(join(data, 'testnet.json'), stop)
}

function describe (file, stop) {
  const network = JSON.parse(readFileSync(file))
  return {
    ...network,
    stop,
    clients: {
      MODE: 'legacy',
      GATEWAY_URL: network.gateway_url,
      GRAPHQL_URL: network.graphql_url,
      MU_URL: network.mu_url,
      CU_URL: network.cu_url
    },
    /** What a spawn through aoconnect needs of this network; `tags` are added to it. */
    spawning: (tags = []) => ({
      module: network.module,
      scheduler: network.scheduler,
      tags: [{ name: 'Authority', value: network.authority }, ...tags]
    })
  }
}
