// Some clients have the addresses of public services written into them. Requests to such a host go to ours instead;
// everything else passes unchanged. To be imported before the client, which keeps the `fetch` that it finds.

const ours = new Map()
const publicFetch = globalThis.fetch

globalThis.fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input)
  const base = ours.get(url.host)
  if (base === undefined) return publicFetch(input, init)
  const mapped = new URL(base)
  mapped.pathname = (mapped.pathname + url.pathname).replace(/\/+/g, '/')
  mapped.search = url.search
  return publicFetch(input instanceof Request ? new Request(mapped, input) : mapped, init)
}

/** From now on requests to `host` go to `base`. */
export function mapHost (host, base) {
  ours.set(host, base)
}

/** The host that aoconnect asks first where a process is scheduled, whatever connect() was told. */
export const SCHEDULER_ROUTER = 'su-router.ao-testnet.xyz'
