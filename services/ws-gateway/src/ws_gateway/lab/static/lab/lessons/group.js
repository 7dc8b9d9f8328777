/** A group: what one sends, every member hears, the sender too. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

const LINES_SHOWN = 50;

export function connect(url, card) {
  const list = card.querySelector(".chat");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (typeof frame.msg === "string") line(list, frame.msg);
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}

/** A message is foreign text: textContent shows it, and never runs it. */
function line(list, text) {
  const item = document.createElement("li");
  item.textContent = text;
  list.append(item);
  if (list.childElementCount > LINES_SHOWN) list.firstElementChild.remove();
  list.scrollTop = list.scrollHeight;
}
