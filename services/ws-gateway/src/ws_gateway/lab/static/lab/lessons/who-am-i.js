/** Who the consumer takes us for: the browser sent its session cookie along with the handshake. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

export function connect(url, card) {
  const who = card.querySelector(".who-is");
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.error) said.textContent = frame.error.message;
    else if (frame.msg) said.textContent = `${frame.user} wrote: ${frame.msg}`;
    else who.textContent = frame.user ?? "nobody: an anonymous user";
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}
