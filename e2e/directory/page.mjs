// A directory's page in headless Chromium, as a person uses it: a record is found and its proof holds; what is altered on the way is
// said to be so. BASE is where the directory is, TOKEN one of its tokens, OTHER that of `other`, ENTRIES how many `yunqi` has.
import { spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { browser } from "../browser.mjs";

const { WORK, BASE, TOKEN, OTHER, ENTRIES, SCREENSHOT } = process.env;
const children = new Set();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function start(program, words) {
  const child = spawn(program, words, { stdio: ["ignore", "inherit", "pipe"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

class Page {
  static async open(send) {
    const { targetId } = await send("Target.createTarget", { url: `${BASE}/`, newWindow: true, width: 800, height: 900 });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    return Object.assign(new Page(), { send, sessionId });
  }

  async evaluate(expression) {
    const params = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", params, this.sessionId);
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  // Generous: the machine may be busy.
  async until(what, expression) {
    for (const begun = Date.now(); Date.now() - begun < 120_000; await sleep(50)) {
      if (await this.evaluate(`!!(${expression})`)) return;
    }
    throw new Error(`the page never shows: ${what}; it has ${await this.evaluate("document.body?.innerText")}`);
  }

  async type(id, text) {
    await this.evaluate(`(() => { const field = document.getElementById("${id}"); field.value = ""; field.focus(); })()`);
    await this.send("Input.insertText", { text }, this.sessionId);
  }

  async search(text) {
    await this.type("query", text);
    await this.evaluate(`document.querySelector("#search button").click()`);
  }

  // Has answers of `path` altered by `change`, the body of a function of what they say.
  alter(path, change) {
    return this.evaluate(`(() => {
      const real = (window.real ??= window.fetch);
      window.fetch = async (...asked) => {
        const answer = await real(...asked);
        if (!String(asked[0]).includes(${JSON.stringify(path)})) return answer;
        const said = await answer.json();
        (function (said) { ${change} })(said);
        return new Response(JSON.stringify(said), { status: answer.status });
      };
    })()`);
  }

  honest() {
    return this.evaluate("void (window.fetch = window.real)");
  }
}

// A write of another central system.
function post(path, body) {
  const message = JSON.stringify({ header: { version: "datanet 1.0" }, body });
  return fetch(`${BASE}/v1/${path}`, { method: "POST", headers: { authorization: `Bearer ${OTHER}` }, body: message });
}

const steps = (good, bad) =>
  `document.querySelectorAll("#steps .good").length === ${good} && document.querySelectorAll("#steps .bad").length === ${bad}`;
const shows = (id, text) => `document.getElementById("${id}").innerText.includes(${JSON.stringify(text)})`;

async function story() {
  const send = await browser(start, WORK);
  const page = await Page.open(send);
  await page.until("the files have come", `document.getElementById("language")?.textContent`);
  if ((await page.evaluate(`document.documentElement.lang`)) === "zh-CN") await page.evaluate(`document.getElementById("language").click()`);

  // Without a token the log's head is there, and records are not.
  await page.until("the log's head", shows("head", "log.example/datanet"));
  await page.until("a token is needed", `!document.getElementById("problem").hidden`);
  await page.evaluate(`document.getElementById("access").open = true`);
  await page.type("token", TOKEN);
  await page.evaluate(`document.getElementById("token").dispatchEvent(new Event("change"))`);
  await page.until("the classes", shows("classes", "odps-adapter"));
  await page.until("the witness has signed", `document.querySelector("#witnesses .good")`);

  await page.search("Yunqi");
  await page.until("a proof that holds", steps(4, 0));
  await page.until("the record", shows("record", "h299:1"));
  await page.until("its history", `document.querySelectorAll("#history li:not(.quiet)").length === ${ENTRIES}`);
  if (SCREENSHOT) await writeFile(SCREENSHOT, Buffer.from((await send("Page.captureScreenshot", { format: "png" }, page.sessionId)).data, "base64"));

  await page.search("yunqi.1F");
  await page.until("a data system", shows("record", "a name that is shown as it is: <b>&amp;</b>"));
  await page.until("its proof holds", steps(4, 0));
  await page.evaluate(`document.querySelector("#record button").click()`);
  await page.until("its class", shows("name", "odps-adapter"));
  await page.search("nobody");
  await page.until("that nobody is there is proven", `${shows("record", "There is no such record.")} && ${steps(4, 0)}`);

  // A class with a dot in its name, one that is called as the central system is, and a label for one.
  for (const [kind, name, found, words] of [
    ["", "odps-2.0", "Adapter class odps-2.0", "yunqi"],
    ["class", "yunqi", "Adapter class yunqi", "yunqi"],
    ["", "mysql-5.7", "Adapter class yunqi", "yunqi"],
    ["", "yunqi.2F", "Data system yunqi.2F", "mysql-5.7"],
  ]) {
    await page.evaluate(`location.hash = ${JSON.stringify(`${kind && `${kind}=`}${encodeURIComponent(name)}`)}`);
    await page.until(`${kind} ${name}`, `${shows("name", found)} && ${shows("record", words)} && ${steps(4, 0)}`);
  }
  await page.evaluate(`document.querySelector("#record button").click()`);
  await page.until("the class of a label that a data system has", `${shows("name", "Adapter class yunqi")} && ${steps(4, 0)}`);

  // What is found is proven while others write, with witnesses a second behind.
  const busy = setInterval(() => post("central-systems/connect", { id: "other", endpoint: `a:${1 + (Date.now() % 60_000)}` }).catch(() => {}), 100);
  await page.search("yunqi.1F");
  await page.until("a proof beside writers", `${shows("name", "yunqi.1F")} && ${steps(4, 0)}`);
  clearInterval(busy);

  // What is altered on the way is refused, each where it was altered.
  for (const [what, path, change, good, words] of [
    ["a record", "proof/state", `said.record.endpoint = "evil:1"`, 3, "the record is not the one"],
    ["a record that is kept back", "proof/state", `said.leaf = null`, 3, "another state"],
    ["a proof", "proof/state", `said.hashes = []; said.leaf.value = said.leaf.key`, 3, "another state"],
    ["a proof of the log", "proof/inclusion", `said.hashes[0] = said.hashes[1]`, 2, "not in the log"],
    ["a proof that it continues", "proof/consistency", `said.hashes.reverse()`, 0, ""],
    ["another log's key", "v1/", `said.logKey &&= said.witnesses.keys[0]`, 0, "another than the one"],
  ]) {
    if (path === "proof/consistency") {
      // As if the browser had been here when the log was shorter.
      const shorter = `const memory = "log", known = JSON.parse(localStorage.getItem(memory));
        localStorage.setItem(memory, JSON.stringify({ ...known, size: 100, root: "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" }))`;
      await page.evaluate(`window.kept = localStorage.getItem("log"); { ${shorter} }`);
      await page.evaluate(`document.querySelector("#search button").click()`);
      await page.until("another log than before", shows("problem", "does not continue"));
      await page.evaluate(`localStorage.setItem("log", window.kept)`);
      continue;
    }
    await page.alter(path, change);
    await page.search("yunqi");
    const said = good ? `${steps(good, 1)} && ${shows("steps", words)}` : shows("problem", words);
    await page.until(`${what} that was altered`, said);
    await page.honest();
  }
  await page.search("yunqi");
  await page.until("all is well again", `${steps(4, 0)} && document.getElementById("problem").hidden`);

  // Nothing that somebody puts into the page runs, and it is as wide as a phone.
  await page.evaluate(`(() => { const script = document.createElement("script"); script.textContent = "window.ran = 1"; document.body.append(script); })()`);
  if (await page.evaluate("window.ran")) throw new Error("a script within the page runs");
  await send("Emulation.setDeviceMetricsOverride", { width: 360, height: 640, deviceScaleFactor: 2, mobile: true }, page.sessionId);
  await page.until("the page on a phone", "document.documentElement.scrollWidth <= 360");
  await page.evaluate(`document.getElementById("language").click()`);
  await page.until("Chinese", `${shows("found", "证明")} && document.documentElement.lang === "zh-CN" && ${steps(4, 0)}`);
}

try {
  await story();
  console.log("page: records are found and proven, what is altered is refused, on a phone and in both languages");
} finally {
  children.forEach((child) => child.kill("SIGKILL"));
}
process.exit(0);
