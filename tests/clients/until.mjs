// Waiting for a condition, with a deadline: nothing in these tests just sleeps and hopes.

const LIMIT_MS = 30_000
const BETWEEN_LOOKS_MS = 50

/** Asks again until `look` gives something that is neither false nor empty, and gives that. */
export async function until (what, look, limit = LIMIT_MS) {
  const deadline = Date.now() + limit
  for (;;) {
    const found = await look()
    if (found) return found
    if (Date.now() > deadline) throw new Error(`not within ${limit} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, BETWEEN_LOOKS_MS))
  }
}
