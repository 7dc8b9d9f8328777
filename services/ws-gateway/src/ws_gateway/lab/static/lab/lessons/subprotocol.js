/** Subprotocols: offered in the handshake, chosen by the consumer; and two ways to be refused. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

/** `?refuse=1` is refused after accept, with a code that we can read; `?refuse=handshake` before, and we see 1006. */
export function address(path, card) {
  const { value } = card.querySelector('[name="refuse"]:checked');
  return value ? `${path}?refuse=${value}` : path;
}

export function connect(url, card) {
  const offered = [...card.querySelectorAll('[name="offer"]:checked')].map((box) => box.value);
  const chosen = card.querySelector(".chosen");
  const scope = card.querySelector(".scope");
  const socket = new WebSocket(url, offered);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => {
    chosen.textContent = socket.protocol || "none"; // an empty string if the consumer chose none
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.scope) scope.textContent = JSON.stringify(frame.scope, null, 2);
  };
  socket.onclose = ({ code }) => {
    chosen.textContent = code === 4123 ? "refused with 4123" : `closed with ${code}`;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}
