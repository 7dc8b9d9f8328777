/**
 * A lesson's connection over its life: connect, close, and, if the reader wants it, come back. No DOM.
 *
 *     idle → connecting → open → closing → closed
 *                any loss, while `comesBack` → waiting → connecting → …
 *
 * One state object a change, handed to `onState`:
 *
 *     {name: "idle"}
 *     {name: "connecting", attempt}
 *     {name: "open", node}                       node: the gateway's name, "" until a frame says it
 *     {name: "closing"}
 *     {name: "waiting", attempt, retryAt, code, reason}
 *     {name: "closed", code, reason, isOurs}     isOurs: closed from this page
 *
 * What happens on the socket goes to `onEvent(name, event)`, with the socket's own names: new, open, sent, message,
 * error, closing, close; and "wait" before each reconnect.
 */
import { frameNode, frameObject } from "./frames.js";

/** The same call would be refused again, or both sides were done (1000): no reconnect after these. */
const FINAL = new Set([1000, 4123, 4400, 4401, 4403, 4404, 4429]);

/** An open connection this old resets the back-off: a gateway that drops everyone at once must not be hammered. */
const STABLE_AFTER_MS = 5_000;

const EVENTS = ["open", "sent", "message", "error", "closing", "close"];

export class LessonSocket {
  comesBack = false;
  #state = { name: "idle" };
  #socket = null;
  #timer = null;
  #isOurs = false;
  #seams;

  /**
   * @param {{
   *   connect: () => WebSocket, backoff: import("../clarion/backoff.js").Backoff,
   *   onState: (state: object) => void, onEvent: (name: string, event: object) => void,
   * }} seams `connect` makes the socket: it is the lesson's own code.
   */
  constructor(seams) {
    this.#seams = seams;
  }

  get state() {
    return this.#state;
  }

  /** The present socket, or null before the first. */
  get socket() {
    return this.#socket;
  }

  /** Connect now, leaving whatever was there. */
  open() {
    if (this.#state.name !== "waiting") this.#seams.backoff.reset();
    this.#connect();
  }

  /** Close with this code, or give up a wait. Throws what the browser throws for a code that it does not allow. */
  close(code, reason) {
    clearTimeout(this.#timer);
    if (this.#state.name === "waiting") {
      return this.#set({ name: "closed", code: this.#state.code, reason: this.#state.reason, isOurs: true });
    }
    this.#socket?.close(code, reason);
    this.#isOurs = true;
  }

  /** Leave the connection for good: the reader went to another lesson. */
  leave() {
    this.#drop();
    if (!["idle", "closed"].includes(this.#state.name)) {
      this.#set({ name: "closed", code: 1000, reason: "you went to another lesson", isOurs: true });
    }
  }

  #connect() {
    this.#drop();
    const attempt = this.#seams.backoff.attempt;
    const socket = this.#seams.connect();
    this.#socket = socket;
    this.#isOurs = false;
    this.#seams.onEvent("new", { url: socket.url });
    this.#set({ name: "connecting", attempt });
    // A socket that was left may still call: only the present one is listened to.
    for (const name of EVENTS) socket.addEventListener(name, (event) => socket === this.#socket && this.#on(name, event));
  }

  #on(name, event) {
    this.#seams.onEvent(name, event);
    if (name === "open") {
      this.#after(STABLE_AFTER_MS, () => this.#seams.backoff.reset());
      this.#set({ name: "open", node: "" });
    } else if (name === "message") {
      this.#named(event.data);
    } else if (name === "closing") {
      this.#set({ name: "closing" });
    } else if (name === "close") {
      this.#closed(event);
    }
  }

  /** A first frame may say which gateway this is. */
  #named(data) {
    if (this.#state.name !== "open" || this.#state.node !== "") return;
    const node = frameNode(frameObject(data));
    if (node) this.#set({ name: "open", node });
  }

  #closed({ code, reason }) {
    clearTimeout(this.#timer);
    if (!this.comesBack || FINAL.has(code)) return this.#set({ name: "closed", code, reason, isOurs: this.#isOurs });
    const { backoff } = this.#seams;
    const waitMs = backoff.next();
    this.#after(waitMs, () => this.#connect());
    this.#seams.onEvent("wait", { waitMs, attempt: backoff.attempt });
    this.#set({ name: "waiting", attempt: backoff.attempt, retryAt: Date.now() + waitMs, code, reason });
  }

  #drop() {
    clearTimeout(this.#timer);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** One timer at a time: each state has at most one thing that ends it by itself. */
  #after(ms, run) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(run, ms);
  }

  #set(state) {
    this.#state = Object.freeze(state);
    this.#seams.onState(this.#state);
  }
}
