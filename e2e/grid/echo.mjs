// Sends each message back to whom it came from.
const grid = new WebSocket(`ws://127.0.0.1:${process.env.BACKENDS}/ws/v1`);
const call = (m, p) => grid.send(JSON.stringify({ m, p, i: m }));
grid.onopen = () => call("queue.pop", { t: ["echo"], w: 1000 });
grid.onmessage = ({ data }) => {
  const { e, p, E, i, r } = JSON.parse(data);
  if (e === "queue.pop") call("mesh.send", { c: p.c, d: p.d.frame.data, t: p.d.frame.type });
  else if (i === "queue.pop" && r) console.log("ready");
  // A client of the suite leaves when it has seen enough.
  else if (E && E.k !== "gone") console.error(`${i}: ${E.c} ${E.m}`);
};
grid.onclose = () => process.exit(1);
