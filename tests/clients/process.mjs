// A process of its own for a test: spawned through aoconnect, talked to by Lua code.

import assert from 'node:assert/strict'
import { neo } from './wallets.mjs'

/** Spawns a process and gives what tests do with it: `id`, `eval(lua)`, `send(message)` and `result(message)`. */
export async function spawnProcess (ao, network, { sign = neo.sign, tags, boot } = {}) {
  const onBoot = boot === undefined ? [] : [{ name: 'On-Boot', value: 'Data' }]
  const spawning = network.spawning([...onBoot, ...(tags ?? [])])
  const id = await ao.spawn({ ...spawning, signer: sign, data: boot })
  const result = message => ao.result({ process: id, message })
  const send = (message, signer = sign) => ao.message({ process: id, signer, ...message })
  const started = await result(id)
  assert.equal(started.Error, undefined)
  return {
    id,
    result,
    send,
    /** Evaluates Lua code and gives the text that it prints or returns. */
    eval: async lua => {
      const answer = await result(await send({ tags: [{ name: 'Action', value: 'Eval' }], data: lua }))
      assert.equal(answer.Error, undefined, `${lua}: ${answer.Error}`)
      return plain(answer.Output.data)
    }
  }
}

/** A text without terminal colours. */
export function plain (text) {
  return text.replace(/\x1b\[[0-9;]*m/g, '')
}

/** The value of a tag, as a list of tags has it. */
export function tag (tags, name) {
  return tags.find(tag => tag.name === name)?.value
}
