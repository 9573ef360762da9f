// Node.js' `ws` at a listener that compresses: what it says comes back, and less of it goes over the wire.
const { default: WebSocket } = await import(process.env.WS);
const url = process.argv[2];
const words = "the same words again and again ".repeat(2000);
const messages = ["", "short", words, Buffer.alloc(0), Buffer.from([...Array(300_000).keys()].map((n) => n % 251))];
const offers = [
  ["default", {}, true],
  ["everything", { clientNoContextTakeover: true, serverNoContextTakeover: true, clientMaxWindowBits: 12 }, true],
  ["every message", { threshold: 0 }, true],
  ["a window of 9 bits", { serverMaxWindowBits: 9 }, false],
  ["none", false, false],
];
const check = (isSo, what) => {
  if (!isSo) throw new Error(what);
};

for (const [name, perMessageDeflate, isAgreed] of offers) {
  const socket = new WebSocket(url, { perMessageDeflate });
  const heard = [];
  let wake = () => {};
  socket.on("message", (data, isBinary) => {
    heard.push(isBinary ? data : data.toString());
    wake();
  });
  const next = async () => {
    while (heard.length === 0) await new Promise((resolve) => (wake = resolve));
    return heard.shift();
  };
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  check(socket.extensions.includes("permessage-deflate") === isAgreed, `${name}: ${socket.extensions}`);
  for (const message of messages) {
    socket.send(message);
    const back = await next();
    check(Buffer.from(back).equals(Buffer.from(message)), `${name}: ${back.length} of ${message.length}`);
  }
  // In fragments.
  for (let n = 0; n < words.length; n += 1000) socket.send(words.slice(n, n + 1000), { fin: n + 1000 >= words.length });
  check((await next()) === words, `${name}: fragments`);
  const before = socket._socket.bytesRead;
  socket.send(words);
  await next();
  const read = socket._socket.bytesRead - before;
  check(read < words.length / 20 === isAgreed, `${name}: ${read} bytes for ${words.length}`);
  socket.close();
  await new Promise((resolve) => socket.on("close", resolve));
  console.log(`ws: ${name}: ${isAgreed ? "compressed" : "as it is"}`);
}
