// The listener that there is without any: port 6790, path `/`, text ping, everything to the topic `default` (the Grid contract).
const open = (url) =>
  new Promise((resolve, reject) => {
    const socket = new WebSocket(url);
    socket.heard = [];
    socket.onmessage = ({ data }) => (socket.heard.push(data), socket.wake?.());
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error(`no WebSocket at ${url}`));
  });
const next = async (socket) => {
  while (socket.heard.length === 0) await new Promise((resolve) => (socket.wake = resolve));
  return socket.heard.shift();
};
const check = (isSo, what) => {
  if (!isSo) throw new Error(what);
};

const backend = await open("ws://127.0.0.1:6789/ws/v1");
backend.send('{"m":"queue.pop","p":{"t":["default"]},"i":1}');
check((await next(backend)) === '{"E":null,"r":{"s":true},"i":1}', "queue.pop");
const user = await open("ws://127.0.0.1:6790/");
user.send("ping");
check((await next(user)) === "pong", "the text ping");
user.send("hello");
const { p } = JSON.parse(await next(backend));
check(p.t === "default" && p.d.frame.data === "hello", JSON.stringify(p));
const answer = await fetch("http://127.0.0.1:6789/v1/mesh/send", {
  method: "POST",
  body: JSON.stringify({ c: p.c, d: "hi" }),
});
check((await answer.text()).includes('"s":true'), "mesh.send");
check((await next(user)) === "hi", "what was sent");
const elsewhere = await open("ws://127.0.0.1:6790/chat").then(() => "taken", () => "refused");
check(elsewhere === "refused", "a path that no listener has");
console.log("bare: port 6790, path /, topic default");
process.exit();
