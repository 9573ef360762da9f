// The directory for people: search, a record with its history, and its proof, which is verified here. Read-only.
import * as verify from "./verify.mjs";

const TEXTS = {
  en: {
    language: "中文", query: "id, data address or adapter class", search: "Search", access: "Token", token: "token of this directory",
    tokenStays: "Needed where readers are members. It stays in this page.", proof: "Proof", history: "History", classes: "Adapter classes",
    log: "Log", witnesses: "Witnesses", nobody: "nobody signs this log beside itself", none: "none", absent: "There is no such record.",
    csid: "Central system", class: "Adapter class", address: "Data system", origin: "origin", size: "entries", root: "root", key: "log key",
    remembered: "seen before", never: "never: this is the first time", signed: "signed", unsigned: "has not signed this checkpoint", quorum: "needed",
    stepCheckpoint: "The log signed its checkpoint.", stepContinues: "It continues the log that this browser saw before.",
    stepFirst: "This browser sees the log for the first time: compare its key with what you know from elsewhere.",
    stepEntry: "The entry that the proof is of is in the log.", stepEmpty: "The log has no entry.", stepRecord: "The record is what that entry led to.",
    notVerified: "as the directory says it; not verified here (mesh verify reads the whole log)", stepAbsent: "After that entry there is no such record.",
    otherKey: "the log's name or key is another than the one that this browser knows", busy: "the checkpoint does not have the entry yet: search again",
    history_directory: "signed by the directory", history_owner: "signed by the central system", history_recovery: "signed by a recovery key",
  },
  zh: {
    language: "English", query: "中心系统 id、数据地址或适配器类", search: "查询", access: "令牌", token: "本目录的令牌",
    tokenStays: "仅成员可读时需要。令牌只留在本页面中。", proof: "证明", history: "历史", classes: "适配器类",
    log: "日志", witnesses: "见证者", nobody: "除日志自身外无人签名", none: "无", absent: "没有这条记录。",
    csid: "中心系统", class: "适配器类", address: "数据系统", origin: "名称", size: "条目数", root: "根哈希", key: "日志公钥",
    remembered: "上次见到", never: "从未：这是第一次", signed: "已签名", unsigned: "未签名此检查点", quorum: "所需数量",
    stepCheckpoint: "检查点由日志签名。", stepContinues: "它延续了此浏览器上次见到的日志。",
    stepFirst: "此浏览器第一次见到该日志：请把公钥与从别处得到的相比较。",
    stepEntry: "证明所依据的条目在日志中。", stepEmpty: "日志没有条目。", notVerified: "由目录所述，此处未验证（mesh verify 可验证整个日志）", stepRecord: "该记录正是该条目所得的状态。", stepAbsent: "在该条目之后没有这条记录。",
    otherKey: "日志的名称或公钥与此浏览器所知的不同", busy: "检查点尚未包含该条目：请重新查询",
    history_directory: "由目录签名", history_owner: "由中心系统签名", history_recovery: "由恢复密钥签名",
  },
};

// Entries of a bundle (c2sp.org/tlog-tiles).
const BUNDLE = 256;
const TRIES = 20;

const at = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
let language = localStorage.getItem("language") ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const say = (name) => TEXTS[language][name] ?? name;

function element(name, content, className = "") {
  const made = document.createElement(name);
  made.className = className;
  made.append(...[content].flat());
  return made;
}

async function get(path, read = "json") {
  const token = at("token").value.trim();
  const answer = await fetch(`v1/${path}`, token ? { headers: { authorization: `Bearer ${token}` } } : {});
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.message ?? `HTTP ${answer.status}`);
  }
  return read === "bytes" ? new Uint8Array(await answer.arrayBuffer()) : answer[read]();
}

async function post(path, body) {
  const token = at("token").value.trim();
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const message = JSON.stringify({ header: { version: "datanet 1.0" }, body });
  const said = await (await fetch(`v1/${path}`, { method: "POST", headers, body: message })).json();
  if (said.code !== 200) throw Object.assign(new Error(said.message), { code: said.code });
  return said;
}

// The log's head: its checkpoint, signed, and continuing what was seen before.
async function head() {
  const about = await get("");
  // One for this place: a directory that calls itself otherwise is not seen for the first time.
  const memory = "log";
  const known = JSON.parse(localStorage.getItem(memory) ?? "null");
  if (known && (known.key !== about.logKey || known.origin !== about.origin)) throw new Error(say("otherKey"));
  const shown = verify.checkpoint(await get("log/checkpoint", "text"));
  const log = await verify.key(about.logKey);
  if (shown.origin !== about.origin || (await verify.signed(shown, log)) === undefined) throw new Error("the log did not sign its checkpoint");
  if (known) {
    // A checkpoint that was asked for at the same time may be older.
    const [first, second] = known.size <= shown.size ? [known, shown] : [shown, known];
    const roots = [first, second].map(({ root }) => (typeof root === "string" ? verify.bytes(root) : root));
    const proof = first.size < second.size && first.size > 0 ? (await get(`proof/consistency?first=${first.size}&second=${second.size}`)).hashes : [];
    await verify.consistency(first.size, roots[0], second.size, roots[1], proof.map(verify.bytes));
  }
  if (!known || known.size <= shown.size) {
    const root = verify.base64(shown.root);
    localStorage.setItem(memory, JSON.stringify({ origin: about.origin, key: about.logKey, size: shown.size, root, time: Date.now() }));
  }
  return { about, shown, known };
}

// The root of the state after the entry that made this revision, from an entry that is in the signed log.
async function stateRoot(revision, shown) {
  const [index, number] = [revision - 1, Math.floor((revision - 1) / BUNDLE)];
  const width = Math.min(shown.size - number * BUNDLE, BUNDLE);
  const digits = String(number).padStart(Math.ceil(String(number).length / 3) * 3, "0").match(/\d{3}/g);
  const path = digits.map((part, place) => (place < digits.length - 1 ? `x${part}` : part)).join("/");
  const bundle = await get(`log/tile/entries/${path}${width < BUNDLE ? `.p/${width}` : ""}`, "bytes");
  const leaf = verify.entries(bundle)[index % BUNDLE] ?? new Uint8Array();
  const { hashes } = await get(`proof/inclusion?index=${index}&size=${shown.size}`);
  await verify.inclusion(await verify.leafHash(leaf), index, shown.size, hashes.map(verify.bytes), shown.root);
  return verify.stateRoot(leaf);
}

// A record, or that there is none, with each step that shows it.
async function proven(kind, key, steps) {
  // Asked once: where others go on writing, another would be of a later entry each time.
  const proof = await get(`proof/state?kind=${kind}&key=${encodeURIComponent(key)}`);
  for (let tries = 0; tries < TRIES; tries++, await sleep(500)) {
    const seen = await head();
    // Where witnesses sign, the checkpoint comes a little later.
    if (seen.shown.size < proof.revision) continue;
    steps.length = 0;
    steps.push("stepCheckpoint", seen.known ? "stepContinues" : "stepFirst");
    const empty = new Uint8Array(32);
    const root = proof.revision === 0 ? empty : await stateRoot(proof.revision, seen.shown);
    steps.push(proof.revision === 0 ? "stepEmpty" : "stepEntry");
    const folded = key.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    const record = await verify.state(proof, kind, folded, root);
    steps.push(record ? "stepRecord" : "stepAbsent");
    return record;
  }
  throw new Error(say("busy"));
}

function rows(table, members) {
  table.replaceChildren(...members.map(([name, value]) => {
    const shown = value instanceof Node ? value : typeof value === "object" ? JSON.stringify(value, null, 1) : String(value);
    return element("tr", [element("th", name), element("td", shown)]);
  }));
}

function link(kind, name) {
  const button = element("button", name, "link");
  button.type = "button";
  button.onclick = () => { at("query").value = name; location.hash = `${kind}=${encodeURIComponent(name)}`; };
  return button;
}

// What the address asks for: a name, and of which kind where a link says so. A name has its own `=` escaped.
function wanted() {
  const [, kind, name] = location.hash.match(/^#?(?:(csid|class|address)=)?(.*)$/);
  return { kind, name: decodeURIComponent(name).trim() };
}

// The class that a label stands for. One of several is for the reader to choose: the refusal names them.
async function labelled(label) {
  try {
    return (await post("adapter-classes/retrieve", { className: label })).adapterClass.className;
  } catch (error) {
    if (error.code === 7101) return undefined;
    throw error;
  }
}

// What may be called so, one after the other: a class may have a dot in its name, or the name of a central system.
async function* candidates({ kind, name }) {
  if (kind && kind !== "class") return yield [kind, name];
  if (!kind) yield [name.includes(".") ? "address" : "csid", name];
  yield ["class", name];
  const named = await labelled(name);
  if (named !== undefined) yield ["class", named];
}

// What became of a central system: its entries, as many as its record counts.
async function history(csid, count) {
  at("past").hidden = !count;
  at("history").replaceChildren(element("li", say("notVerified"), "quiet"));
  if (!count) return;
  const token = at("token").value.trim();
  const stop = new AbortController();
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(`v1/watch?from=1&csid=${encodeURIComponent(csid)}`, { headers, signal: stop.signal });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let [rest, heard] = ["", 0];
  while (heard < count) {
    const { value, done } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((one) => one.startsWith("data: ")).slice(0, count - heard)) {
      const entry = JSON.parse(line.slice(6));
      heard += 1;
      const time = new Date(entry.time).toLocaleString(language);
      at("history").firstChild.after(element("li", [`${entry.operation} `, element("span", `${time}, ${say(`history_${entry.signer}`)}`, "quiet")]));
    }
  }
  stop.abort();
}

function showSteps(steps, error) {
  const good = steps.map((step) => element("li", say(step), "good"));
  at("steps").replaceChildren(...good, ...(error ? [element("li", error.message, "bad")] : []));
}

let turn = 0;

async function search(wanted) {
  const mine = ++turn;
  const steps = [];
  let [record, kind, asked, failed] = [null, "", wanted.name, undefined];
  try {
    for await ([kind, asked] of candidates(wanted)) {
      record = await proven(kind, asked, steps);
      if (record) break;
    }
  } catch (error) {
    failed = error;
  }
  if (mine !== turn) return;
  at("found").hidden = false;
  at("name").textContent = record && !failed ? `${say(kind)} ${asked}` : asked;
  rows(at("record"), failed ? [] : Object.entries(record ?? {}).map(([name, value]) => [name, offered(name, value)]));
  showSteps(steps, failed);
  at("past").hidden = true;
  if (failed) return;
  if (!record) rows(at("record"), [["", say("absent")]]);
  const csid = kind === "address" ? asked.split(".")[0] : asked;
  const system = kind === "csid" ? record : kind === "address" && record ? await proven("csid", csid, []) : null;
  if (mine === turn) await history(csid, system?.sequence ?? 0);
}

// What a record names may be looked at.
function offered(name, value) {
  if (name === "classes") return element("span", value.flatMap((one) => [link("class", one), " "]));
  if (name === "adapterClass") return link("class", value);
  if (name === "offers") return element("span", Object.keys(value).flatMap((one) => [link("csid", one), " "]));
  return value;
}

async function classes() {
  const all = [];
  for (let cursor; ;) {
    const page = await post("adapter-classes/search", { limit: 1000, ...(cursor && { cursor }) });
    all.push(...page.adapterClassNames);
    cursor = page.cursor;
    if (!cursor) break;
  }
  at("classes").replaceChildren(...(all.length ? all.map((name) => element("li", link("class", name))) : [element("li", say("none"), "quiet")]));
}

async function log() {
  const { about, shown, known } = await head();
  at("origin").textContent = about.origin;
  const before = known ? `${known.size} (${new Date(known.time).toLocaleString(language)})` : say("never");
  rows(at("head"), [["origin", about.origin], ["size", shown.size], ["root", verify.base64(shown.root)], ["key", about.logKey], ["remembered", before]]
    .map(([name, value]) => [say(name), value]));
  const witnesses = await Promise.all((about.witnesses?.keys ?? []).map(async (written) => {
    const witness = await verify.key(written);
    const time = await verify.signed(shown, witness);
    const when = time === undefined ? say("unsigned") : `${say("signed")} ${new Date(time * 1000).toLocaleString(language)}`;
    return element("li", `${witness.name}: ${when}`, time === undefined ? "quiet" : "good");
  }));
  if (about.witnesses) witnesses.push(element("li", `${say("quorum")}: ${about.witnesses.quorum}`, "quiet"));
  at("witnesses").replaceChildren(...(witnesses.length ? witnesses : [element("li", say("nobody"), "quiet")]));
}

async function guarded(work) {
  try {
    at("problem").hidden = true;
    await work();
  } catch (error) {
    at("problem").hidden = false;
    at("problem").textContent = error.message;
  }
}

function texts() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  at("language").textContent = say("language");
  for (const one of document.querySelectorAll("[data-text]")) one.textContent = say(one.dataset.text);
  for (const one of document.querySelectorAll("[data-hint]")) {
    one.placeholder = say(one.dataset.hint);
    one.setAttribute("aria-label", say(one.dataset.hint));
  }
}

async function show() {
  texts();
  const asked = wanted();
  at("query").value = asked.name;
  at("found").hidden = true;
  at("steps").replaceChildren();
  await guarded(async () => {
    await log();
    // A refusal of one does not keep the others away.
    await Promise.all([classes(), asked.name && search(asked)]);
  });
}

at("search").onsubmit = (event) => {
  event.preventDefault();
  const asked = at("query").value.trim();
  const { kind, name } = wanted();
  if (!kind && name === asked) show();
  else location.hash = encodeURIComponent(asked);
};
at("language").onclick = () => {
  language = language === "zh" ? "en" : "zh";
  localStorage.setItem("language", language);
  show();
};
at("token").onchange = show;
addEventListener("hashchange", show);
show();
