// Checks items made by ours with @dha-team/arbundles: `node check.mjs FILE`, a JSON file {items, bundles, damaged}.
// Exits 1 when an item or bundle does not verify, reads differently, or a damaged one verifies.
import { readFileSync } from "node:fs";
import * as arbundles from "@dha-team/arbundles";

const { Bundle, DataItem } = arbundles;
const vectors = JSON.parse(readFileSync(process.argv[2]));
const problems = [];
const expect = (condition, text) => condition || problems.push(text);

for (const { name, bytes, id, target, tags, data } of vectors.items) {
  const raw = Buffer.from(bytes, "base64url");
  expect(await DataItem.verify(raw).catch(() => false), `${name} does not verify`);
  const item = new DataItem(raw);
  expect(item.id === id, `${name}: id ${item.id}, expected ${id}`);
  expect(item.target === target, `${name}: target ${item.target}, expected ${target}`);
  expect(JSON.stringify(item.tags) === JSON.stringify(tags), `${name}: tags ${JSON.stringify(item.tags)}`);
  expect(item.rawData.toString("base64url") === data, `${name}: other data`);
}
for (const { name, bytes, ids } of vectors.bundles) {
  const bundle = new Bundle(Buffer.from(bytes, "base64url"));
  expect(await bundle.verify(), `bundle ${name} does not verify`);
  expect(JSON.stringify(bundle.getIds()) === JSON.stringify(ids), `bundle ${name}: other ids`);
}
for (const { name, bytes } of vectors.damaged) {
  const valid = await DataItem.verify(Buffer.from(bytes, "base64url")).catch(() => false);
  expect(!valid, `${name} verifies though it is damaged`);
}
for (const problem of problems) console.error(problem);
console.log(`${vectors.items.length} items, ${vectors.bundles.length} bundles, ${vectors.damaged.length} damaged checked`);
process.exit(problems.length ? 1 : 0);
