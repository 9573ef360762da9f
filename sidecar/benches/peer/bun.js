// What ours is compared with: the same endpoints on Bun's own server and its own publish.
//   bun run bun.js PORT [JWK]
const [port, jwk] = Bun.argv.slice(2);
const key = jwk && (await crypto.subtle.importKey("jwk", JSON.parse(jwk), { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]));
const clients = new Map();
const ok = JSON.stringify({ E: null, r: { s: true } });
const json = { "content-type": "application/json" };
let last = 0;

async function holds(token) {
  const [head, claims, tag] = token.split(".");
  if (JSON.parse(Buffer.from(head, "base64url")).alg !== "ES256") return false;
  const signed = Buffer.from(`${head}.${claims}`);
  const how = { name: "ECDSA", hash: "SHA-256" };
  if (!(await crypto.subtle.verify(how, key, Buffer.from(tag, "base64url"), signed))) return false;
  return JSON.parse(Buffer.from(claims, "base64url")).exp * 1000 > Date.now();
}

const server = Bun.serve({
  port: Number(port),
  hostname: "127.0.0.1",
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/stats") return new Response("ready");
    if (pathname === "/v1/mesh/send") {
      const { c, d } = await request.json();
      const client = clients.get(c);
      if (!client) return new Response(JSON.stringify({ E: { c: 401, m: "gone" } }), { headers: json });
      client.send(d);
      return new Response(ok, { headers: json });
    }
    if (pathname === "/login" && !(await holds((request.headers.get("authorization") ?? "").slice(7)))) {
      return new Response("no", { status: 401 });
    }
    if (server.upgrade(request, { data: { id: String(++last), path: pathname } })) return;
    return new Response("no", { status: 400 });
  },
  websocket: {
    idleTimeout: 960,
    sendPings: false,
    open(socket) {
      clients.set(socket.data.id, socket);
      if (socket.data.path === "/room") socket.subscribe("room");
      if (socket.data.path === "/named") socket.send(socket.data.id);
    },
    message(_, message) {
      server.publish("room", message);
    },
    close(socket) {
      clients.delete(socket.data.id);
    },
  },
});
