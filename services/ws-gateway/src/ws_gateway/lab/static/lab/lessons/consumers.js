/**
 * One socket: open it, send, read the answer, notice its end.
 *
 * The page calls connect() when you press Connect, send() when you press Send, and socket.close(code, reason) for Close.
 */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

export function connect(url, card) {
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";

  socket.onopen = () => {
    said.textContent = "Open: the consumer called accept.";
  };
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    said.textContent = frame.error ? `It refuses: ${frame.error.message}` : `It answers: ${frame.msg}`;
  };
  socket.onerror = () => {
    said.textContent = "The connection failed.";
  };
  socket.onclose = ({ code, reason }) => {
    said.textContent = `Closed with ${code} ${reason}`;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}

export function sendBinary(socket, text) {
  socket.send(new TextEncoder().encode(text));
}
