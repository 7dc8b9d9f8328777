/**
 * The state pill: a dot and words for the state of the socket.
 *
 * The countdown ticks for the eye only; a screen reader hears each state once, not each second.
 */
import { closeMeaning } from "./close_codes.js";
import { countText } from "./formats.js";

export class StatePill {
  #timer = null;

  /**
   * @param {HTMLElement} pill the live region: holds `.pill-text` (seen) and `.pill-said` (heard).
   * @param {(state: object, now: number) => string} words a state in words.
   */
  constructor(pill, words = stateText) {
    this.pill = pill;
    this.words = words;
    this.seen = pill.querySelector(".pill-text");
    this.said = pill.querySelector(".pill-said");
  }

  /** Show a state, of `RoomSocket` or of one like it. */
  show(state) {
    clearInterval(this.#timer);
    this.pill.dataset.state = state.name;
    const text = this.words(state, Date.now());
    this.seen.textContent = text;
    this.said.textContent = text;
    if (state.name !== "waiting") return;
    this.#timer = setInterval(() => (this.seen.textContent = this.words(state, Date.now())), 250);
  }
}

/** A state in words. `now` is in milliseconds, as `Date.now()` says it. */
export function stateText(state, now) {
  switch (state.name) {
    case "idle":
      return "Not joined";
    case "connecting":
      return "Connecting";
    case "open":
      return state.node ? `Open · ${state.node}` : "Open";
    case "waiting": {
      const seconds = Math.max(1, Math.ceil((state.retryAt - now) / 1000));
      return `Reconnecting in ${countText(seconds)} s (try ${countText(state.attempt)})`;
    }
    case "stopped":
      return "Stopped";
    default:
      return `Closed ${state.code}: ${closeMeaning(state.code, state.reason)}`;
  }
}
