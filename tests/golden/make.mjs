// Makes arbundles.json: items and bundles by @dha-team/arbundles that ours must read, and damaged ones it must refuse.
// Run by hand (`npm ci && node make.mjs`) when the vectors are to change; RSA signatures differ from run to run.
import crypto from "node:crypto";
import { writeFileSync } from "node:fs";
import * as arbundles from "@dha-team/arbundles";
import { jwk, signers } from "./wallets.mjs";

const { createData, bundleAndSignData, DataItem } = arbundles;

const shapes = {
  empty: ["", {}],
  data: ["hi", {}],
  full: ["hello", {
    target: Buffer.alloc(32, 7).toString("base64url"),
    anchor: "00000000000000000000000000000001",
    tags: [{ name: "Data-Protocol", value: "ao" }, { name: "Action", value: "Eval" }, { name: "Action", value: "Twice" }],
  }],
  unicode: ["Ωμέγα 🦀", { tags: [{ name: "Ünïcode", value: "名前 🦀" }, { name: "long", value: "x".repeat(200) }] }],
  binary: [Buffer.from([0, 255, 254, 128]), { target: Buffer.alloc(32, 9).toString("base64url") }],
};

const describe = (name, item) => ({
  name,
  bytes: item.getRaw().toString("base64url"),
  id: item.id,
  type: item.signatureType,
  target: item.target,
  anchor: item.rawAnchor.toString("base64url"),
  tags: item.tags,
  data: item.rawData.toString("base64url"),
});

const items = [];
for (const [kind, make] of Object.entries(signers)) {
  const signer = make();
  for (const [shape, [data, options]] of Object.entries(shapes)) {
    const item = createData(data, signer, options);
    await item.sign(signer);
    if (!(await item.isValid())) throw new Error(`${kind}/${shape} does not verify where it was made`);
    items.push(describe(`${kind}/${shape}`, item));
  }
}

// RSA-PSS with salts of every length that other writers use, and odd ones.
const key = crypto.createPrivateKey({ key: jwk, format: "jwk" });
for (const saltLength of [0, 1, 32, 100, 477, 478]) {
  const signer = signers.arweave();
  signer.sign = async (message) =>
    crypto.sign("sha256", message, { key, padding: crypto.constants.RSA_PKCS1_PSS_PADDING, saltLength });
  const item = createData("salt", signer, {});
  await item.sign(signer);
  items.push(describe(`arweave/salt-${saltLength}`, item));
}

const two = async () => {
  const signer = signers.ed25519();
  const made = [createData("one", signer), createData("two", signer, { tags: [{ name: "a", value: "b" }] })];
  return bundleAndSignData(made, signer);
};
const inner = await two();
const signer = signers.ethereum();
const nested = createData(inner.getRaw(), signer, {
  tags: [{ name: "Bundle-Format", value: "binary" }, { name: "Bundle-Version", value: "2.0.0" }],
});
await nested.sign(signer);
const outer = await bundleAndSignData([nested, createData("three", signer)], signer);
const bundles = [
  { name: "two", bytes: inner.getRaw().toString("base64url"), ids: inner.getIds() },
  { name: "nested", bytes: outer.getRaw().toString("base64url"), ids: [nested.id, ...inner.getIds(), outer.getIds()[1]] },
];

// One flipped bit in each part of each kind of item: none may verify, here or there.
const damaged = [];
for (const { name, bytes } of items.filter(({ name }) => name.endsWith("/full"))) {
  const raw = Buffer.from(bytes, "base64url");
  for (const place of [2, 40, Math.floor(raw.length / 2), raw.length - 20, raw.length - 1]) {
    const other = Buffer.from(raw);
    other[place] ^= 1;
    const valid = await DataItem.verify(other).catch(() => false);
    if (valid) throw new Error(`${name} verifies with byte ${place} changed`);
    damaged.push({ name: `${name}/byte-${place}`, bytes: other.toString("base64url") });
  }
}

writeFileSync(new URL("./arbundles.json", import.meta.url), JSON.stringify({ items, bundles, damaged }, null, 1) + "\n");
console.log(`${items.length} items, ${bundles.length} bundles, ${damaged.length} damaged`);
