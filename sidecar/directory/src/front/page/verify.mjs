// Proofs of a directory's log, verified by WebCrypto alone: signed notes, RFC 6962, and the state's tree (docs/directory.md).
// Nothing here asks anybody anything. What does not hold throws.

const text = new TextEncoder();

export const bytes = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
export const base64 = (raw) => btoa(String.fromCharCode(...raw));
const hex = (digits) => Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const join = (...parts) => Uint8Array.from(parts.flatMap((part) => [...part]));
const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);
const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", join(...parts)));
const refuse = (what) => { throw new Error(what); };

// RFC 8785: members sorted by their UTF-16 units, numbers and texts as ECMAScript writes them.
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical)}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`)}}`;
}

// A verifier's key: NAME+ID+BASE64, with one byte of the kind before the key.
export async function key(written) {
  const [name, id, ...rest] = written.split("+");
  const [kind, ...raw] = bytes(rest.join("+"));
  const hash = await sha256(text.encode(`${name}\n`), [kind], raw);
  const digits = [...hash.slice(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (digits !== id) refuse(`the id of the key of ${name} is another`);
  return { name, kind, id: hash.slice(0, 4), raw: Uint8Array.from(raw) };
}

async function holds(signer, message, signature) {
  const imported = await crypto.subtle.importKey("raw", signer.raw, "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", imported, signature, message);
}

// Whether `signer` signed the note: the time of a cosignature, 0 for the log itself, undefined where it did not sign.
export async function signed(note, signer) {
  for (const line of note.lines.filter((one) => one.name === signer.name && same(one.id, signer.id))) {
    const message = signer.kind === 4
      ? [`cosignature/v1\ntime ${new DataView(line.signature.buffer).getBigUint64(0)}\n${note.text}`, line.signature.slice(8)]
      : [note.text, line.signature];
    if (!(await holds(signer, text.encode(message[0]), message[1]))) refuse(`the signature of ${signer.name} is wrong`);
    return signer.kind === 4 ? Number(new DataView(line.signature.buffer).getBigUint64(0)) : 0;
  }
  return undefined;
}

// A checkpoint as it is served. Whose it is only `signed` says.
export function checkpoint(served) {
  const end = served.indexOf("\n\n");
  const note = { text: served.slice(0, end + 1), lines: [] };
  for (const line of served.slice(end + 2).trimEnd().split("\n")) {
    const [, name, base] = line.match(/^\u2014 (\S+) (\S+)$/) ?? refuse("the checkpoint has a line that is no signature");
    const raw = bytes(base);
    note.lines.push({ name, id: raw.slice(0, 4), signature: raw.slice(4) });
  }
  const [origin, size, root] = note.text.split("\n");
  if (!/^\d+$/.test(size ?? "") || !root) refuse("the checkpoint is none");
  return { ...note, origin, size: Number(size), root: bytes(root) };
}

export const leafHash = (leaf) => sha256([0], leaf);
const node = (left, right) => sha256([1], left, right);

// RFC 9162 section 2.1.3.2. Sizes are below 2^53, beyond what bit operations take.
export async function inclusion(leaf, index, size, proof, root) {
  if (index >= size) refuse("the entry is beyond the checkpoint");
  let [at, last, hash] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) refuse("the proof is too long");
    if (at % 2 === 1 || at === last) {
      hash = await node(sibling, hash);
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      hash = await node(hash, sibling);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  if (last !== 0 || !same(hash, root)) refuse("the entry is not in the log that was signed");
}

// RFC 9162 section 2.1.4.2: the log of `second` entries continues that of `first`.
export async function consistency(first, earlier, second, later, proof) {
  if (first > second) refuse("the log has become shorter");
  if (first === second && !same(earlier, later)) refuse("the log is another one of the same length");
  if (first === 0 || first === second) return;
  let hashes = proof;
  if (Number.isInteger(Math.log2(first))) hashes = [earlier, ...proof];
  let [at, last] = [first - 1, second - 1];
  while (at % 2 === 1) [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  let [old, now] = [hashes[0], hashes[0]];
  for (const sibling of hashes.slice(1)) {
    if (last === 0) refuse("the proof is too long");
    if (at % 2 === 1 || at === last) {
      [old, now] = [await node(sibling, old), await node(sibling, now)];
      while (at % 2 === 0 && at !== 0) [at, last] = [at / 2, Math.floor(last / 2)];
    } else {
      now = await node(now, sibling);
    }
    [at, last] = [Math.floor(at / 2), Math.floor(last / 2)];
  }
  if (!old || last !== 0 || !same(old, earlier) || !same(now, later)) refuse("the log does not continue the one that was seen before");
}

const bit = (raw, depth) => (raw[depth >> 3] >> (7 - (depth & 7))) & 1;

// What the state with this root has under a key: the record that came with the proof, or null where there is none.
export async function state(proof, kind, folded, root) {
  const place = await sha256(text.encode(kind), [0], text.encode(folded));
  const siblings = proof.hashes.map(bytes);
  const leaf = proof.leaf && { key: bytes(proof.leaf.key), value: bytes(proof.leaf.value) };
  const empty = new Uint8Array(32);
  if (siblings.length > 256 || (siblings.length && same(siblings.at(-1), empty))) refuse("the proof is none of such a tree");
  let hash = leaf ? await sha256([2], leaf.key, leaf.value) : empty;
  for (let depth = siblings.length - 1; depth >= 0; depth--) {
    const [left, right] = bit(place, depth) ? [siblings[depth], hash] : [hash, siblings[depth]];
    hash = await sha256([3], left, right);
  }
  if (!same(hash, root)) refuse("the proof leads to another state than the log's");
  if (!leaf || !same(leaf.key, place)) {
    const isOnTheWay = siblings.every((_, depth) => !leaf || bit(leaf.key, depth) === bit(place, depth));
    if (!isOnTheWay) refuse("the proof is about another key");
    return null;
  }
  const value = await sha256(text.encode(canonical(proof.record)));
  if (!same(value, leaf.value)) refuse("the record is not the one that the proof is about");
  return proof.record;
}

export const stateRoot = (leaf) => hex(JSON.parse(new TextDecoder().decode(leaf)).stateRoot);

// The entries of a bundle: each behind its length, two bytes.
export function entries(bundle) {
  const all = [];
  for (let at = 0; at + 2 <= bundle.length;) {
    const length = bundle[at] * 256 + bundle[at + 1];
    all.push(bundle.slice(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return all;
}
