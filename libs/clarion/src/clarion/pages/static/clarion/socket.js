/**
 * A plain room's socket that comes back: a state machine without a DOM.
 *
 *     idle → connecting → open → waiting → connecting → …
 *                 any state → stopped (by the reader) or closed (a final code)
 *
 * One state object a change, handed to `onState`:
 *
 *     {name: "idle"} · {name: "stopped"}
 *     {name: "connecting", attempt}            attempt: 0 at first, then the number of the try
 *     {name: "open", node, channel, user}      node is "" where the gateway does not say
 *     {name: "waiting", attempt, retryAt, code, reason}
 *     {name: "closed", code, reason}
 *
 * Delivery is at most once: what is published while the socket is away is not repeated to it.
 */
import { closeIsFinal } from "./close_codes.js";
import { helloOf } from "./frames.js";

/** A gateway that accepts says hello at once; one that does not within this time counts as lost. */
export const HELLO_TIMEOUT_MS = 10_000;

/** An open connection this old resets the back-off: a gateway that drops everyone at once must not be hammered. */
export const STABLE_AFTER_MS = 5_000;

const systemClock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class RoomSocket {
  #state = { name: "idle" };
  #socket = null;
  #url = "";
  #timer = null;
  #seams;

  /**
   * @param {{
   *   onState: (state: object) => void, onMessage: (text: string) => void,
   *   backoff: import("./backoff.js").Backoff, WebSocket?: typeof WebSocket, clock?: typeof systemClock,
   * }} seams
   */
  constructor(seams) {
    this.#seams = { WebSocket: globalThis.WebSocket, clock: systemClock, ...seams };
  }

  get state() {
    return this.#state;
  }

  /** Connect to this URL, leaving whatever was there. */
  join(url) {
    this.#url = url;
    this.#seams.backoff.reset();
    this.#connect(0);
  }

  /** Close and stay closed. */
  stop() {
    if (this.#state.name === "idle") return;
    this.#drop();
    this.#set({ name: "stopped" });
  }

  /** Connect again now: from a wait, a final close or a stop, or to leave a socket that may be dead. */
  reconnect() {
    if (this.#url) this.#connect(this.#seams.backoff.attempt);
  }

  /** The network or the reader came back: do not sit out a wait. */
  wake() {
    if (this.#state.name === "waiting") this.reconnect();
  }

  /** Send one text frame; false if there is no open socket, and then nothing was sent. */
  send(text) {
    if (this.#state.name !== "open" || this.#socket.readyState !== 1) return false;
    this.#socket.send(text);
    return true;
  }

  #connect(attempt) {
    this.#drop();
    const socket = new this.#seams.WebSocket(this.#url);
    this.#socket = socket;
    // A socket that was dropped may still call: only the present one is listened to.
    socket.onmessage = ({ data }) => socket === this.#socket && this.#received(data);
    socket.onclose = ({ code, reason }) => socket === this.#socket && this.#lost(code, reason);
    this.#after(HELLO_TIMEOUT_MS, () => this.#lost(1006, "no answer"));
    this.#set({ name: "connecting", attempt });
  }

  #received(text) {
    if (this.#state.name !== "connecting") return this.#seams.onMessage(text);
    const hello = helloOf(text);
    this.#after(STABLE_AFTER_MS, () => this.#seams.backoff.reset());
    this.#set({ name: "open", node: hello?.node ?? "", channel: hello?.channel ?? "", user: hello?.user ?? "" });
    if (!hello) this.#seams.onMessage(text);
  }

  #lost(code, reason) {
    this.#drop();
    if (closeIsFinal(code)) return this.#set({ name: "closed", code, reason });
    const { backoff, clock } = this.#seams;
    const waitMs = backoff.next();
    this.#after(waitMs, () => this.#connect(backoff.attempt));
    this.#set({ name: "waiting", attempt: backoff.attempt, retryAt: clock.now() + waitMs, code, reason });
  }

  #drop() {
    this.#seams.clock.clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** One timer at a time: each state has at most one thing that ends it by itself. */
  #after(ms, run) {
    this.#seams.clock.clearTimeout(this.#timer);
    this.#timer = this.#seams.clock.setTimeout(run, ms);
  }

  #set(state) {
    this.#state = Object.freeze(state);
    this.#seams.onState(this.#state);
  }
}
