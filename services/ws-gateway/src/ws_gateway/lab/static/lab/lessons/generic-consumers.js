/** Text and binary frames: a browser gives a string for one and, by binaryType, an ArrayBuffer or a Blob for the other. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

export function connect(url, card) {
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer"; // the default is "blob", whose content has to be awaited
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      said.textContent = `${data.byteLength} bytes: ${new TextDecoder().decode(data)}`;
      return;
    }
    const frame = JSON.parse(data);
    said.textContent = frame.error ? `${frame.error.code}: ${frame.error.message}` : `Text: ${frame.msg}`;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}

export function sendBinary(socket, text) {
  socket.send(new TextEncoder().encode(text)); // a Uint8Array; an ArrayBuffer or a Blob would do as well
}
