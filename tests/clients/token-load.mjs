// A token whose 50 holders are spread over 10 processes, and transfers among them through aoconnect until somebody
// says stop. It is the load of a test that kills nodes meanwhile and then looks whether anything was lost or happened
// twice.
//
// TOKEN_NETWORK says where (JSON: gateway_url, graphql_url, mu_urls, cu_urls, module, scheduler_list, authority), and
// TOKEN_PARALLEL how many transfers are in flight. On standard output: {"ready": […]} once all processes are set up,
// and after a line or the end of standard input {"acknowledged": [{ id, from, to }, …], "failed": n}.

import { randomInt } from 'node:crypto'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'
import { connect } from '@permaweb/aoconnect'
import { plain } from './process.mjs'
import { neo } from './wallets.mjs'

const PROCESSES = 10
const HOLDERS_EACH = 5
const OPENING_BALANCE = 1000
const MAX_QUANTITY = 20
/** More than there is: such a transfer is refused whatever happened before. */
const TOO_MUCH = PROCESSES * HOLDERS_EACH * OPENING_BALANCE + 1
/** One transfer of so many is for too much. */
const TOO_MUCH_OF = 20
/** Longest wait for a messenger; a spawn or a message of the setup may take longer. */
const MESSAGE_LIMIT_MS = 20_000
const SETUP_LIMIT_MS = 60_000
/** Before a worker goes on after a failure. */
const PAUSE_MS = 100

/** What each process runs. A transfer is known everywhere by the id of the message that asked for it. */
export const TOKEN = `
local json = require("json")

-- Integers by holder, of those who live here.
Balances = {}
-- Of transfers from here: the quantity of an accepted one, or why it was refused, by id.
Sent, Refused = {}, {}
-- How often something came here about a transfer, by id. Counted and not just noted: twice must be seen.
Credited, Debit_notices, Credit_notices = {}, {}, {}
-- The process in which a holder lives, and all of these as a set.
Homes, Is_process = {}, {}

-- Once, before the first transfer.
function Join(homes)
  Homes = homes
  for holder, home in pairs(homes) do
    Is_process[home] = true
    if home == ao.id then Balances[holder] = ${OPENING_BALANCE} end
  end
end

-- An empty table would be a list.
local function object(fields)
  return next(fields) == nil and "{}" or json.encode(fields)
end

function Report()
  return '{"Balances":' .. object(Balances) .. ',"Sent":' .. object(Sent) .. ',"Refused":' .. object(Refused)
    .. ',"Credited":' .. object(Credited) .. ',"Debit_notices":' .. object(Debit_notices)
    .. ',"Credit_notices":' .. object(Credit_notices) .. '}'
end

local function count(counts, msg)
  local id = msg.Tags.Transfer
  counts[id] = (counts[id] or 0) + 1
end

-- A handler for what only the token's own processes may say.
local function among_us(action, handle)
  Handlers.add(action, function(msg) return msg.Action == action and Is_process[msg.From] == true end, handle)
end

Handlers.add("Transfer", "Transfer", function(msg)
  local id, from, to = msg.Id, msg.Tags["From-Holder"], msg.Tags["To-Holder"]
  local quantity = math.tointeger(tonumber(msg.Tags.Quantity))
  if Balances[from] < quantity then
    Refused[id] = "Transfer-Error: " .. from .. " has " .. Balances[from] .. " of " .. quantity
    return
  end
  Balances[from] = Balances[from] - quantity
  -- Added, so that a transfer that is evaluated twice shows.
  Sent[id] = (Sent[id] or 0) + quantity
  Send({ Target = Homes[to], Action = "Credit", Transfer = id, ["To-Holder"] = to, Quantity = tostring(quantity) })
  Send({ Target = ao.id, Action = "Debit-Notice", Transfer = id })
end)

among_us("Credit", function(msg)
  local holder = msg.Tags["To-Holder"]
  Balances[holder] = Balances[holder] + math.tointeger(tonumber(msg.Tags.Quantity))
  count(Credited, msg)
  Send({ Target = msg.From, Action = "Credit-Notice", Transfer = msg.Tags.Transfer })
end)

among_us("Debit-Notice", function(msg) count(Debit_notices, msg) end)
among_us("Credit-Notice", function(msg) count(Credit_notices, msg) end)
`

const network = JSON.parse(process.env.TOKEN_NETWORK)
const workers = Number(process.env.TOKEN_PARALLEL ?? 4)
/** aoconnect by each messenger. */
const messengers = network.mu_urls.map((url, place) => connect({
  MODE: 'legacy',
  GATEWAY_URL: network.gateway_url,
  GRAPHQL_URL: network.graphql_url,
  MU_URL: url,
  CU_URL: network.cu_urls[place % network.cu_urls.length]
}))

let stopped = false
// From the start: the end of the input is told only once.
const input = createInterface({ input: process.stdin })
for (const event of ['line', 'close']) input.once(event, () => { stopped = true })

/** One line of JSON. */
const print = value => new Promise(resolve => process.stdout.write(`${JSON.stringify(value)}\n`, resolve))

/** What a promise comes to, within so many milliseconds: aoconnect's calls have no limit of their own. */
async function within (limit, promise) {
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${limit} ms`)), limit)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function spawn (place) {
  return messengers[place % messengers.length].spawn({
    module: network.module,
    scheduler: network.scheduler_list[place % network.scheduler_list.length],
    signer: neo.sign,
    tags: [
      { name: 'Authority', value: network.authority },
      { name: 'Name', value: `token-${place}` },
      { name: 'Compute-Quorum', value: String(network.quorum) }
    ]
  })
}

async function evaluate (id, lua) {
  const [ao] = messengers
  const tags = [{ name: 'Action', value: 'Eval' }]
  const message = await ao.message({ process: id, signer: neo.sign, tags, data: lua })
  const answer = await ao.result({ process: id, message })
  // A request that failed has `error`, Lua that failed has `Error`.
  const cause = answer.error ?? answer.Error
  if (cause) throw new Error(`${id} can't be set up: ${plain(String(cause))}`)
}

/** Spawns the processes and gives their ids, when each knows its holders and the others. */
async function setUp () {
  const places = Array.from({ length: PROCESSES }, (_, place) => place)
  const ids = await Promise.all(places.map(spawn))
  await Promise.all(ids.map(id => evaluate(id, TOKEN)))
  const homes = ids.flatMap((id, place) => Array.from({ length: HOLDERS_EACH }, (_, number) =>
    `h${place * HOLDERS_EACH + number} = "${id}"`))
  await Promise.all(ids.map(id => evaluate(id, `Join({ ${homes.join(', ')} })`)))
  return ids
}

const ids = await within(SETUP_LIMIT_MS, setUp())
await print({ ready: ids })

const acknowledged = []
let failed = 0
/** How often, by why. */
const causes = new Map()

/** One transfer by a messenger; it counts as acknowledged when the messenger said so. */
async function transfer (ao) {
  const [from, to] = [randomInt(PROCESSES), randomInt(PROCESSES)]
  const holder = place => `h${place * HOLDERS_EACH + randomInt(HOLDERS_EACH)}`
  const quantity = randomInt(TOO_MUCH_OF) === 0 ? TOO_MUCH : randomInt(1, MAX_QUANTITY + 1)
  const id = await within(MESSAGE_LIMIT_MS, ao.message({
    process: ids[from],
    signer: neo.sign,
    tags: [
      { name: 'Action', value: 'Transfer' },
      { name: 'From-Holder', value: holder(from) },
      { name: 'To-Holder', value: holder(to) },
      { name: 'Quantity', value: String(quantity) }
    ]
  }))
  acknowledged.push({ id, from: ids[from], to: ids[to] })
}

/** Sends one transfer after the other by the messengers in turn: none is given up, since what is dead comes back. */
async function work (place) {
  for (let turn = place; !stopped; turn++) {
    try {
      await transfer(messengers[turn % messengers.length])
    } catch (cause) {
      failed++
      causes.set(cause.message, (causes.get(cause.message) ?? 0) + 1)
      await pause(PAUSE_MS)
    }
  }
}

await Promise.all(Array.from({ length: workers }, (_, place) => work(place)))
for (const [cause, times] of causes) console.error(`${times} transfers failed: ${cause}`)
await print({ acknowledged, failed })
// Requests that nobody answers would keep it alive.
process.exit(0)
