// A program in a pseudo-terminal, as a person at a keyboard has it. The terminal is that of `script` from util-linux,
// so nothing native has to be built.

import { spawn } from 'node:child_process'
import { until } from './until.mjs'

const LIMIT_MS = 30_000

/** What is on the screen without colours and movements of the cursor. */
const plain = screen => screen.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '')

/** Starts a command of the shell in a terminal; gives what to do there. */
export function openTerminal (command, { cwd, env }) {
  // The terminal has no size of its own, and programs that erase what they wrote divide by its width.
  const sized = `stty cols 200 rows 50 && exec ${command}`
  const child = spawn('script', ['-q', '-e', '-f', '-c', sized, '/dev/null'], {
    cwd, env: { ...process.env, TERM: 'xterm', ...env }, stdio: ['pipe', 'pipe', 'inherit']
  })
  let screen = ''
  // How much of the plain screen was waited for.
  let read = 0
  let status
  child.stdout.setEncoding('utf8').on('data', text => { screen += text })
  child.on('close', code => { status = code })
  const kill = () => child.kill()
  process.once('exit', kill)

  /** Waits for a text after what was waited for last; gives all of the screen between. */
  async function shown (pattern) {
    const wanted = `${pattern} on the screen`
    return until(wanted, () => {
      const rest = plain(screen).slice(read)
      const found = pattern.exec(rest)
      if (found) {
        const end = found.index + found[0].length
        read += end
        return rest.slice(0, end)
      }
      if (status !== undefined) throw new Error(`the program ended with ${status} before ${wanted}:\n${plain(screen)}`)
      return false
    }, LIMIT_MS).catch(cause => { throw new Error(`${cause.message}:\n${plain(screen)}`) })
  }

  return {
    shown,
    /** Types a line, and waits for a text that follows. */
    async type (line, pattern) {
      child.stdin.write(line + '\r')
      return pattern && shown(pattern)
    },
    /** Waits until the program ends; gives its exit status. */
    async ended () {
      await until('the end of the program', () => status !== undefined, LIMIT_MS)
      process.off('exit', kill)
      return status
    },
    kill
  }
}
