// Decrypts one file of a bundle with a key of a local key file, by what
// docs/bundle.md says and nothing else.
// node open.mjs KEYFILE BUNDLE_ID KEY_ID TENANT KEY_REF WRAPPED_KEY PATH STORED_FILE > PLAIN
import { createDecipheriv, hkdfSync } from "node:crypto";
import { execFileSync } from "node:child_process";
import { readFileSync, writeSync } from "node:fs";

const [keyFile, bundleId, keyId, tenant, keyRef, wrappedKey, path, storedFile] = process.argv.slice(2);

function gcm(key, nonce, sealed, aad) {
  const d = createDecipheriv("aes-256-gcm", key, nonce);
  if (aad) d.setAAD(aad);
  d.setAuthTag(sealed.subarray(sealed.length - 16));
  return Buffer.concat([d.update(sealed.subarray(0, sealed.length - 16)), d.final()]);
}

// 1. The key of the tenant.
const [, name, id, version] = keyRef.match(/^local:([^?]+)\?id=([0-9a-f]{16})&v=(\d+)$/);
const entry = JSON.parse(readFileSync(keyFile)).entries.find((e) => e.kind === "key" && e.name === name && e.id === id);
const tenantKey = Buffer.from(entry.versions[version - 1].secret, "base64");

// 2. The data key.
const wrapped = Buffer.from(wrappedKey, "base64");
const dataKey = gcm(tenantKey, wrapped.subarray(0, 12), wrapped.subarray(12), Buffer.from(["tapedeck key v1", tenant, bundleId, keyId].join("\n")));

// 3. The key of the file.
const stored = readFileSync(storedFile);
if (stored[0] !== 40) throw new Error("header");
const aad = Buffer.from(["tapedeck file v1", tenant, bundleId, keyId, path].join("\n"));
const fileKey = Buffer.from(hkdfSync("sha256", dataKey, stored.subarray(1, 33), aad, 32));

// 4. The segments.
const parts = [];
for (let i = 0, at = 40; ; i++) {
  const end = Math.min((i + 1) * 1048576, stored.length);
  const nonce = Buffer.alloc(12);
  stored.copy(nonce, 0, 33, 40);
  nonce.writeUInt32BE(i, 7);
  nonce[11] = end === stored.length ? 1 : 0;
  parts.push(gcm(fileKey, nonce, stored.subarray(at, end)));
  if (end === stored.length) break;
  at = end;
}

// 5. The content.
const content = Buffer.concat(parts);
let plain = content.subarray(1);
if (content[0] === 1) plain = execFileSync("zstd", ["-dc"], { input: plain, maxBuffer: 1 << 30 });
else if (content[0] !== 0) throw new Error("kind of content");
for (let at = 0; at < plain.length; ) at += writeSync(1, plain, at);
