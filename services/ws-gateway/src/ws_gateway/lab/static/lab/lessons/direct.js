/** One consumer to one other, by the name of its layer channel. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

let to = ""; // the channel_name to send to; empty for our own

export function connect(url, card) {
  const name = card.querySelector(".channel-name");
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.channel_name) name.textContent = frame.channel_name;
    else said.textContent = told(frame);
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify(to ? { msg: text, to } : { msg: text }));
}

/** The field for another's name, and a button for each thing that may go wrong. */
export function ready(card, socketNow) {
  const field = card.querySelector('[name="to"]');
  field.addEventListener("input", () => (to = field.value.trim()));
  for (const button of card.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => {
      const { show } = button.dataset;
      socketNow().send(JSON.stringify({ msg: `show ${show}`, show }));
    });
  }
}

function told(frame) {
  if (frame.error) return `${frame.error.code}: ${frame.error.message}`;
  if (frame.from) return `Received from ${frame.from}: ${frame.msg}`;
  if (frame.to) return `Sent to ${frame.to}: nobody says whether it arrived.`;
  if (frame.still_member) return `Still a member? ${membersText(frame.still_member)} (${frame.note})`;
  return `Caught ${frame.caught}: ${frame.note}`;
}

function membersText(members) {
  return Object.entries(members)
    .map(([layer, isMember]) => `${layer}: ${isMember ? "yes" : "no"}`)
    .join(", ");
}
