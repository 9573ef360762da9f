// The chat's backend: it serves the page, and tells everybody in a room what one of them says.
//
//   node --experimental-websocket backend.mjs     (Node 20; from 22 on without the option)
//
// A message is acknowledged when it was published. Kill this program at any moment: what it had not acknowledged comes again,
// and the pages pass over what they have seen.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const { GRID = "ws://127.0.0.1:6789/ws/v1", PAGE_PORT = "8080" } = process.env;

const page = readFileSync(new URL("index.html", import.meta.url));
createServer((request, response) => {
  response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
}).listen(Number(PAGE_PORT), "127.0.0.1");

function connect() {
  const grid = new WebSocket(GRID);
  const call = (m, p) => grid.send(JSON.stringify({ m, p, i: m }));
  const tell = (room, message) => call("mesh.publish", { c: `room:${room}`, d: message });

  grid.onopen = () => call("queue.pop", { t: ["chat"], a: true, w: 16 });
  grid.onmessage = ({ data }) => {
    const { e, p, E, i } = JSON.parse(data);
    if (E) console.error(`${i}: ${E.c} ${E.m}`);
    if (e === "queue.pop") {
      take(p.c, p.d);
      call("queue.ack", { k: p.k });
    }
  };
  // Node.js 20 says only that there was an error where nobody accepts the connection, and both where one breaks.
  let isOver = false;
  grid.onclose = grid.onerror = () => {
    if (!isOver) setTimeout(connect, 1000);
    isOver = true;
  };

  function take(client, { event, frame, context, seq }) {
    const id = `${client}/${seq}`;
    const { name, room } = context;
    if (event === "close") return room && tell(room, { id, note: `${name} has left` });
    const said = parse(frame.data);
    if (said.op === "join" && said.name && said.room) {
      call("conn.call", { c: client, f: "set_context", a: [{ name: said.name, room: said.room }] });
      call("conn.call", { c: client, f: "subscribe", a: [`room:${said.room}`] });
      tell(said.room, { id, note: `${said.name} has come` });
    } else if (said.op === "say" && room) {
      tell(room, { id, from: name, text: said.text });
    }
  }
}

// Pages are anybody's: what they send need be no JSON, and no text.
function parse(data) {
  try {
    const { op, name = "", room = "", text = "" } = JSON.parse(data) ?? {};
    return { op, name: String(name).slice(0, 40), room: String(room).replace(/\s/g, "-").slice(0, 40), text: String(text) };
  } catch {
    return {};
  }
}

connect();
