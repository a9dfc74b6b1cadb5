// Loaded into node before npm's aos 1.2.18. Its package takes the addresses of its units from three globals, and has
// two public hosts written into it; nothing of the package itself is changed.

import { readFileSync } from 'node:fs'
import { SCHEDULER_ROUTER, mapHost } from './public-hosts.mjs'

const network = JSON.parse(readFileSync(process.env.AO_TESTNET))
globalThis.GATEWAY_URL = network.gateway_url
globalThis.MU_URL = network.mu_url
globalThis.CU_URL = network.cu_url
mapHost(SCHEDULER_ROUTER, network.su_url)
mapHost('arweave.net', network.gateway_url)
