/** A counter, one socket at a time; and five at once, to see whom a blocking one keeps waiting. */
import { ArrivalChart } from "../arrival_chart.js";
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

const SOCKETS = 5;
const COUNTS = 30;
const INTERVAL_MS = 100; // a count a second would take two and a half minutes

export function connect(url, card) {
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    said.textContent = frame.error ? `${frame.error.code}: ${frame.error.message}` : `${frame.count} of ${COUNTS}`;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}

/** The three kinds of the chart. In stock Channels all sync consumers of a process share one thread: so does the first. */
const KINDS = {
  shared: () => `/ws/lab/counter/sync/?interval_ms=${INTERVAL_MS}&thread=${crypto.getRandomValues(new Uint32Array(2)).join("-")}`,
  own: () => `/ws/lab/counter/sync/?interval_ms=${INTERVAL_MS}`,
  async: () => `/ws/lab/counter/async/?interval_ms=${INTERVAL_MS}`,
};

/** Open all five, then start all five at once; note when each number arrives, in seconds after the start. */
async function race(path, arrived) {
  const url = location.origin.replace(/^http/, "ws") + path;
  const sockets = Array.from({ length: SOCKETS }, () => new WebSocket(url));
  running.push(...sockets);
  try {
    await Promise.all(sockets.map(opened));
    const start = performance.now();
    const finished = sockets.map(
      (socket, index) =>
        new Promise((resolve, reject) => {
          socket.onclose = ({ code, reason }) => reject(new Error(`socket ${index + 1} closed with ${code} ${reason}`));
          socket.onmessage = ({ data }) => {
            const { count, error } = JSON.parse(data);
            if (error) return reject(new Error(`${error.code}: ${error.message}`));
            arrived(index, count, (performance.now() - start) / 1000);
            if (count === COUNTS) resolve();
          };
        }),
    );
    for (const socket of sockets) socket.send(JSON.stringify({ msg: "start" }));
    await Promise.all(finished);
  } finally {
    for (const socket of sockets) {
      socket.onclose = null;
      socket.close();
    }
  }
}

let running = [];

function opened(socket) {
  return new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onclose = ({ code }) => reject(new Error(`not opened: ${code}`));
  });
}

/** The buttons of the chart: one for each kind, one run at a time. */
export function ready(card) {
  const chart = new ArrivalChart(card, { sockets: SOCKETS, counts: COUNTS });
  const buttons = [...card.querySelectorAll("[data-kind]")];
  for (const button of buttons) {
    button.addEventListener("click", async () => {
      for (const other of buttons) other.disabled = true;
      const { kind } = button.dataset;
      chart.start(kind);
      try {
        await race(KINDS[kind](), (index, count, seconds) => chart.add(kind, index, count, seconds));
        chart.finish(kind);
      } catch (error) {
        chart.finish(kind, error.message);
      }
      running = [];
      for (const other of buttons) other.disabled = false;
    });
  }
}

/** The reader goes to another lesson: the counters stop. */
export function leave() {
  for (const socket of running) socket.close();
}
