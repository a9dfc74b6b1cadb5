// The signers of the golden vectors: fixed test keys, never to be used for anything else.
import { readFileSync } from "node:fs";
import * as arbundles from "@dha-team/arbundles";

const { ArweaveSigner, EthereumSigner, HexSolanaSigner, SolanaSigner } = arbundles;

export const jwk = JSON.parse(readFileSync(new URL("./rsa-wallet.json", import.meta.url)));

const base58 = (bytes) => {
  const alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
  let number = BigInt("0x" + Buffer.from(bytes).toString("hex"));
  let text = "";
  for (; number > 0n; number /= 58n) text = alphabet[Number(number % 58n)] + text;
  for (const byte of bytes) { if (byte !== 0) break; text = "1" + text; }
  return text;
};

// Ed25519 keys of the seed 01…01: seed and public key, as Solana writes secret keys.
const seed = Buffer.alloc(32, 1);
const publicKey = Buffer.from("8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c", "hex");
const secret = base58(Buffer.concat([seed, publicKey]));

export const signers = {
  arweave: () => new ArweaveSigner(jwk),
  ed25519: () => new SolanaSigner(secret),
  ethereum: () => new EthereumSigner("01".repeat(32)),
  solana: () => new HexSolanaSigner(secret),
};
