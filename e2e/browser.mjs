// Headless Chromium by its DevTools protocol: one connection, a session for each page. `start` runs a program and answers its child;
// `work` is a folder for what the browser keeps. What is answered sends a command.
import { once } from "node:events";
import { createInterface } from "node:readline";

const { CHROMIUM = "chromium" } = process.env;

export async function browser(start, work) {
  const words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"];
  const child = start(CHROMIUM, [...words, "--remote-debugging-port=0", `--user-data-dir=${work}/chromium`, "about:blank"]);
  let address;
  for await (const line of createInterface({ input: child.stderr })) {
    address = line.match(/DevTools listening on (ws:.*)/)?.[1];
    if (address) break;
  }
  if (!address) throw new Error("the browser does not start");
  child.stderr.resume();
  const socket = new WebSocket(address);
  await once(socket, "open");
  const waiting = new Map();
  let last = 0;
  socket.onmessage = ({ data }) => {
    const { id, result, error } = JSON.parse(data);
    const call = waiting.get(id);
    if (!call) return;
    waiting.delete(id);
    if (error) call.reject(new Error(error.message));
    else call.resolve(result);
  };
  return (method, params = {}, sessionId) =>
    new Promise((resolve, reject) => {
      waiting.set(++last, { resolve, reject });
      socket.send(JSON.stringify({ id: last, method, params, sessionId }));
    });
}
