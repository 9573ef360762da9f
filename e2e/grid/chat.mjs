// Two pages chat in headless Chromium; one is closed; the backend is killed while it has messages that it did not acknowledge.
// Nothing may be lost, and nobody may read anything twice.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { browser } from "../browser.mjs";

const { WORK, BACKENDS, CLIENTS, PAGE, SCREENSHOT } = process.env;
const example = new URL("../../docs/examples/chat/", import.meta.url).pathname;
const children = new Set();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function start(program, words, env = {}) {
  const child = spawn(program, words, { env: { ...process.env, ...env }, stdio: ["ignore", "inherit", "pipe"] });
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

function backend() {
  const words = ["--no-warnings", "--experimental-websocket", `${example}backend.mjs`];
  const child = start(process.execPath, words, { GRID: `ws://127.0.0.1:${BACKENDS}/ws/v1`, PAGE_PORT: PAGE });
  child.stderr.pipe(process.stderr);
  return child;
}

class Page {
  static async open(send, name) {
    const grid = encodeURIComponent(`ws://127.0.0.1:${CLIENTS}/chat`);
    const url = `http://127.0.0.1:${PAGE}/?name=${name}&room=hall&grid=${grid}`;
    const { targetId } = await send("Target.createTarget", { url, newWindow: true, width: 720, height: 560 });
    const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page();
    Object.assign(page, { send, name, targetId, sessionId });
    await page.until("connected", `document.getElementById("state")?.textContent === "connected"`);
    return page;
  }

  async evaluate(expression) {
    const params = { expression, returnByValue: true };
    const { result, exceptionDetails } = await this.send("Runtime.evaluate", params, this.sessionId);
    if (exceptionDetails) throw new Error(exceptionDetails.text);
    return result.value;
  }

  // Generous: the machine may be busy.
  async until(what, expression) {
    for (const begun = Date.now(); Date.now() - begun < 60_000; await sleep(50)) {
      if (await this.evaluate(expression)) return;
    }
    throw new Error(`${this.name} never sees: ${what}; it has ${JSON.stringify(await this.lines())}`);
  }

  lines() {
    return this.evaluate(`[...document.querySelectorAll("#messages li")].map((line) => line.innerText.trim())`);
  }

  async reads(...texts) {
    for (const text of texts) {
      const expression = `[...document.querySelectorAll("#messages li")].some((line) => line.innerText.includes(${JSON.stringify(text)}))`;
      await this.until(text, expression);
    }
  }

  // As a person does: the text is typed, and the button is pressed.
  async says(text) {
    await this.evaluate(`document.getElementById("text").focus()`);
    await this.send("Input.insertText", { text }, this.sessionId);
    await this.evaluate(`document.querySelector("button").click()`);
  }

  async picture() {
    const { data } = await this.send("Page.captureScreenshot", { format: "png" }, this.sessionId);
    return Buffer.from(data, "base64");
  }
}

async function story() {
  let serving = backend();
  for (;;) {
    const answer = await fetch(`http://127.0.0.1:${PAGE}/`).catch(() => undefined);
    if (answer?.ok) break;
    await sleep(50);
  }
  const send = await browser(start, WORK);
  const ann = await Page.open(send, "Ann");
  await ann.reads("Ann has come");
  const bob = await Page.open(send, "Bob");
  await ann.reads("Bob has come");
  await bob.reads("Bob has come");

  await ann.says("Hello Bob, is the train on time?");
  await bob.reads("Hello Bob, is the train on time?");
  await bob.says("It is: 17:04, platform 3. <b>&amp; no more</b>");
  await ann.reads("It is: 17:04, platform 3. <b>&amp; no more</b>");

  // Stopped, it gets messages and acknowledges none; killed, it never will.
  serving.kill("SIGSTOP");
  await ann.says("Said to a backend that stands still");
  await bob.says("Me too");
  await sleep(300);
  serving.kill("SIGKILL");
  await once(serving, "exit");
  await bob.says("Said while there is none");
  serving = backend();
  const missed = ["Said to a backend that stands still", "Me too", "Said while there is none"];
  await ann.reads(...missed);
  await bob.reads(...missed);

  const cleo = await Page.open(send, "Cleo");
  await cleo.says("Good morning both");
  await ann.reads("Good morning both");
  if (SCREENSHOT) await writeFile(SCREENSHOT, await ann.picture());
  await send("Target.closeTarget", { targetId: bob.targetId });
  await ann.reads("Bob has left");
  await cleo.says("Bye, Bob");
  await ann.reads("Bye, Bob");

  const lines = await ann.lines();
  const expected = [
    "Ann has come",
    "Bob has come",
    "Ann Hello Bob, is the train on time?",
    "Bob It is: 17:04, platform 3. <b>&amp; no more</b>",
    ...["Ann Said to a backend that stands still", "Bob Me too", "Bob Said while there is none"],
    "Cleo has come",
    "Cleo Good morning both",
    "Bob has left",
    "Cleo Bye, Bob",
  ];
  const sorted = (all) => JSON.stringify(all.map((line) => line.replace(/\s+/g, " ")).sort());
  if (sorted(lines) !== sorted(expected)) throw new Error(`Ann has read ${JSON.stringify(lines, null, 1)}`);
}

try {
  await story();
  console.log("chat: two pages, one closed, a killed backend: every line came, each once");
} finally {
  children.forEach((child) => child.kill("SIGKILL"));
}
process.exit(0);
