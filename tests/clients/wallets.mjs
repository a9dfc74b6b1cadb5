// The wallets of these tests. They are committed and therefore public: whatever they own is everybody's.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { EthereumSigner } from '@dha-team/arbundles'
import { createDataItemSigner } from '@permaweb/aoconnect'

/** The development wallet, which owns coins on the development chain. */
export const neo = wallet('../../testnet/dev-wallet.json')
/** Another RSA wallet, which owns nothing. */
export const trinity = wallet('../golden/rsa-wallet.json')
/** An Ethereum wallet: `address` is what processes see, `nativeAddress` what schedulers and gateways show. */
export const morpheus = {
  key: '01'.repeat(32),
  address: '0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1',
  nativeAddress: 'wMXg2SfkzLtbvwPVDa52p5EUopaMrraR6R_scnfpm-U',
  sign: ethereumSigner('01'.repeat(32))
}

function wallet (path) {
  const file = new URL(path, import.meta.url)
  const jwk = JSON.parse(readFileSync(file))
  const address = createHash('sha256').update(Buffer.from(jwk.n, 'base64url')).digest('base64url')
  return { file, jwk, address, sign: createDataItemSigner(jwk) }
}

/** What aoconnect takes as a signer, for an Ethereum key: it gets the bytes to sign for the key and type it names. */
function ethereumSigner (key) {
  const signer = new EthereumSigner(key)
  return async create => ({
    signature: await signer.sign(await create({ type: 3, publicKey: signer.publicKey, alg: 'secp256k1' })),
    address: morpheus.address
  })
}
