/** JSON both ways: JSON.stringify and JSON.parse here, json.loads and json.dumps in the consumer. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

export function connect(url, card) {
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    said.textContent = frame.error
      ? `${frame.error.code}: ${frame.error.message}`
      : `msg is ${JSON.stringify(frame.msg)}, ${frame.characters} characters`;
  };
  return socket;
}

/** As it was typed: a script would write JSON.stringify({ msg: text }), and could not get it wrong. */
export function send(socket, text) {
  socket.send(text);
}

/** Messages to try, each on a button. */
export function ready(card) {
  const field = card.querySelector("textarea");
  for (const button of card.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => {
      field.value = button.dataset.example;
      field.focus();
    });
  }
}
