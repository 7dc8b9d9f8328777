/** A lesson's connection in words, and `readyState` by its name. */
import { closeMeaning } from "../clarion/close_codes.js";
import { stateText } from "../clarion/state_pill.js";

/** What a close code of the lab means; other codes are those of every Clarion page. */
const MEANING = {
  1000: "done",
  4123: "refused by the consumer",
  4400: "bad room name",
  4429: "too many counters at a time",
};

/** A state of `LessonSocket` in words. `now` is in milliseconds, as `Date.now()` says it. */
export function stateWords(state, now) {
  switch (state.name) {
    case "idle":
      return "Not connected";
    case "closing":
      return "Closing";
    case "closed":
      return `Closed ${state.code}: ${closeWords(state)}`;
    default:
      return stateText(state, now);
  }
}

/** A close in a few words: the reason that was given, else what the code means. */
export function closeWords({ code, reason }) {
  return reason || MEANING[code] || closeMeaning(code, reason);
}

/** The name of a socket's `readyState`, with its number. */
export function readyStateName(socket) {
  if (!socket) return "none yet";
  return `${socket.readyState} ${["CONNECTING", "OPEN", "CLOSING", "CLOSED"][socket.readyState]}`;
}

const ADVICE = {
  4123: "That is this lesson's refusal; the code came over an open socket.",
  4400: "Choose a name of 1 to 64 letters, digits, _ and -.",
  4429: "Wait until the counters that run have ended, then reconnect.",
};

/** What to do in this state, and whether something is wrong. @returns {[string, boolean]} */
export function adviceFor(state) {
  if (state.name === "open") return ["Write a message and press Send.", false];
  if (state.name === "waiting") return [`Lost with ${state.code}: ${closeWords(state)}. It comes back by itself.`, true];
  if (state.name !== "closed" || state.isOurs) return ["", false];
  if (ADVICE[state.code]) return [ADVICE[state.code], true];
  if (state.code === 1006) return ["No close frame came: the server refused, or is away. Reconnect tries again.", true];
  return ["The server closed it. Reconnect opens a new socket.", true];
}
