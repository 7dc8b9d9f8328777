/** A chat room whose name is in the URL: history first, then what is said. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

const LINES_SHOWN = 100;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** The room's name is part of the path; and of this page's address, so that a link or a reload leads back into it. */
export function address(path, card) {
  return `${path}${encodeURIComponent(nameField(card).value)}/`;
}

export function isLinked() {
  return new URLSearchParams(location.search).has("room");
}

export function ready(card) {
  const linked = new URLSearchParams(location.search).get("room");
  if (linked !== null) nameField(card).value = linked;
}

export function connect(url, card) {
  const list = card.querySelector(".chat");
  history.replaceState(null, "", `?room=${encodeURIComponent(nameField(card).value)}#room`);
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.history) list.replaceChildren(...frame.history.map(lineOf));
    else if (typeof frame.msg === "string") list.append(lineOf(frame));
    while (list.childElementCount > LINES_SHOWN) list.firstElementChild.remove();
    list.scrollTop = list.scrollHeight;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text }));
}

/** One message. Author and text are foreign: they go in as text, so that HTML in them is only characters. */
function lineOf({ author, msg, time }) {
  const when = new Date(time);
  const item = document.createElement("li");
  const stamp = document.createElement("time");
  stamp.dateTime = time;
  stamp.title = when.toLocaleString();
  stamp.textContent = clock.format(when);
  const who = document.createElement("b");
  who.textContent = author;
  item.append(stamp, " ", who, " ", msg);
  return item;
}

function nameField(card) {
  return card.querySelector('[name="room"]');
}
