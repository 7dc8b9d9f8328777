/** A task that another process runs, with progress; and a question that another service asks our consumer. */
import { WatchedSocket as WebSocket } from "../watched_socket.js"; // or the browser's own

let channelName = ""; // our consumer's name: whoever knows it can send to it

export function connect(url, card) {
  const progress = card.querySelector("progress");
  const said = card.querySelector(".said");
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const { channel_name, task, error, question, answer } = JSON.parse(data);
    if (channel_name) channelName = channel_name;
    if (task) {
      progress.max = task.of;
      progress.value = task.done;
      said.textContent = task.worker ? `${task.worker} did ${task.done} of ${task.of} steps` : "Sent: who takes it?";
    }
    if (question) said.textContent = `Asked: ${question} It answered: ${answer}`;
    if (error) said.textContent = `${error.code}: ${error.message}`;
  };
  return socket;
}

export function send(socket, text) {
  socket.send(JSON.stringify({ msg: text, steps: 20 }));
}

export function ready(card, socketNow) {
  card.querySelector('[name="start"]').addEventListener("click", () => send(socketNow(), "start"));
  card.querySelector('[name="ask"]').addEventListener("click", () => ask(card.querySelector(".asked")));
}

/** Over HTTP this time: http-api asks our consumer over the channel layer, and answers us with what it said. */
async function ask(asked) {
  asked.textContent = "http-api asks …";
  try {
    const response = await fetch("/api/v1/lab/questions", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ channel_name: channelName, question: "How long have you been open?" }),
    });
    const body = await response.json();
    asked.textContent = response.ok ? `http-api says: ${body.answer} (from ${body.node})` : `${body.detail} (${body.code})`;
  } catch (error) {
    asked.textContent = `http-api did not answer: ${error.message}`;
  }
}
