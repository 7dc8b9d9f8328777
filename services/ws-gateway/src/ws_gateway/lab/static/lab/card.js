/**
 * A lesson's card: binds its connection to what is on the page.
 *
 * The lesson's own module makes the socket and reads its frames. It exports
 *
 *     connect(url, card)        make the WebSocket; `card` is the card's element
 *     send(socket, text)        send what was typed as a text frame
 *     sendBinary(socket, text)  optional: the same as a binary frame
 *     address(path, card)       optional: what to connect to, where the path is not all of it
 *     isLinked(card)            optional: whether the page's own address asks to connect at once
 *     ready(card, socketNow)    optional: bind controls of its own; socketNow() answers the present socket or null
 *     leave(card)               optional: the reader goes to another lesson
 */
import { Backoff } from "../clarion/backoff.js";
import { Composer } from "../clarion/composer.js";
import { LivePanel } from "../clarion/live_panel.js";
import { PageTitle } from "../clarion/page_title.js";
import { StatePill } from "../clarion/state_pill.js";
import { handshakeCurl } from "./curl.js";
import { showEvent } from "./event_rows.js";
import { frameError, frameObject } from "./frames.js";
import { HangUp } from "./hang_up.js";
import { LessonSocket } from "./lesson_socket.js";
import { adviceFor, readyStateName, stateWords } from "./state_words.js";

/** A message has at most 4,096 characters, and a binary frame 65,536 bytes: what is far over is not even sent. */
const MAX_BYTES = 65_536;

/** Focus is moved for people with a pointer and a keyboard; on a phone it would open the keyboard over the page. */
const mayMoveFocus = matchMedia("(pointer: fine)").matches;

const title = new PageTitle("Lab");
const encoder = new TextEncoder();

export class Card {
  #lesson;
  #parts;
  #pill;
  #panel;
  #composer;
  #hangUp;
  #connection;
  #isByHand = false;

  /** @param {HTMLElement} element @param {object} lesson the lesson's module. */
  constructor(element, lesson) {
    this.element = element;
    this.#lesson = lesson;
    const parts = Object.fromEntries([...element.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
    this.#parts = parts;
    this.#pill = new StatePill(parts.state, stateWords);
    this.#panel = new LivePanel({ ...parts, scroller: parts.rows, list: parts["row-list"] });
    this.#composer = new Composer(
      { form: parts.composer, field: parts.message, hint: parts.hint },
      { send: (text) => this.#send(text), frameOf: (text) => text, maxBytes: MAX_BYTES },
    );
    this.#connection = new LessonSocket({
      connect: () => lesson.connect(this.#url(), element),
      backoff: new Backoff(),
      onState: (state) => this.#show(state),
      onEvent: (name, event) => this.#happened(name, event),
    });
    this.#hangUp = new HangUp(parts, this.#connection);
    this.#bind();
    lesson.ready?.(element, () => this.#connection.socket);
  }

  /** The reader opened this lesson. */
  enter() {
    this.#showAddress();
    this.#titled();
    if (this.#connection.state.name === "idle" && this.#lesson.isLinked?.(this.element)) this.#connect();
  }

  /** The reader went to another lesson: only the open one is connected. */
  leave() {
    this.#connection.leave();
    this.#lesson.leave?.(this.element);
  }

  /** The network or the reader came back: do not sit out a wait. */
  wake() {
    if (this.#connection.state.name === "waiting") this.#connection.open();
  }

  focusComposer() {
    this.#composer.focus();
  }

  closeRows() {
    this.#panel.closeRows();
  }

  // ---- what the reader does ----------------------------------------------------------------------------------------

  #bind() {
    const { dial, "hang-up": hangUp } = this.#parts;
    dial.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#isByHand = true;
      this.#connect();
    });
    dial.addEventListener("change", ({ target }) => target.name.endsWith("-variant") && this.#connection.leave());
    dial.addEventListener("input", () => this.#showAddress());
    hangUp.addEventListener("submit", () => (this.#isByHand = true));
  }

  #connect() {
    try {
      this.#connection.open();
    } catch (error) {
      this.#advise(`The browser refused: ${error.message}`, true); // e.g. a subprotocol's name with a space
    }
  }

  /** Send what was typed; answer why it could not be sent, or null. */
  #send(text) {
    const { socket } = this.#connection;
    if (socket?.readyState !== WebSocket.OPEN) return "Not sent: the socket is not open. Press Connect first.";
    const isBinary = this.element.querySelector('[data-part="kind"] input:checked').value === "binary";
    if (!isBinary) this.#lesson.send(socket, text);
    else if (this.#lesson.sendBinary) this.#lesson.sendBinary(socket, text);
    else socket.send(encoder.encode(text));
    return null;
  }

  #url() {
    const { path } = this.element.querySelector('[name$="-variant"]:is(:checked, [type="hidden"])').dataset;
    const address = this.#lesson.address?.(path, this.element) ?? path;
    return `${location.origin.replace(/^http/, "ws")}${address}`;
  }

  #showAddress() {
    const url = this.#url();
    this.#parts.address.textContent = url;
    this.#parts.curl.textContent = handshakeCurl(url);
  }

  // ---- what happens to the socket ----------------------------------------------------------------------------------

  #happened(name, event) {
    this.#parts.empty.hidden = true;
    showEvent(this.#panel, name, event);
    this.#parts.ready.textContent = readyStateName(this.#connection.socket);
    if (name !== "message") return;
    title.arrived();
    const error = frameError(frameObject(event.data));
    if (error) this.#composer.giveBack(`Refused: ${error.message} (${error.code})`);
    else this.#composer.answered();
  }

  #show(state) {
    this.#pill.show(state);
    this.#titled();
    this.#hangUp.show(state);
    this.#parts.ready.textContent = readyStateName(this.#connection.socket);
    this.#showButtons(state.name);
    this.#advise(...adviceFor(state));
    if (state.name === "open" && state.node === "") this.#opened();
    if (state.name === "closed") this.#closed(state);
    if (state.name === "waiting") this.#composer.closed("The connection was lost: this may not have gone through.");
  }

  /** Who pressed Connect wants to write next; the button that had the focus is now disabled. */
  #opened() {
    this.#composer.opened();
    if (this.#isByHand && mayMoveFocus) this.#composer.focus();
    this.#isByHand = false;
  }

  #closed(state) {
    if (!state.isOurs) this.#composer.closed("The connection closed: this may not have gone through.");
    if (this.#isByHand && mayMoveFocus) this.#parts.connect.focus();
    this.#isByHand = false;
  }

  #showButtons(name) {
    const { connect, send } = this.#parts;
    const isUp = ["connecting", "open", "closing"].includes(name);
    const label = { idle: "Connect", connecting: "Connecting…", open: "Connected", closing: "Closing…" }[name];
    connect.textContent = label ?? "Reconnect";
    connect.disabled = isUp;
    connect.classList.toggle("is-primary", !isUp);
    send.classList.toggle("is-primary", name === "open");
    for (const button of this.element.querySelectorAll("[data-needs-open]")) button.disabled = name !== "open";
  }

  #advise(text, isBad) {
    const { advice } = this.#parts;
    advice.textContent = text;
    advice.classList.toggle("is-bad", isBad);
  }

  #titled() {
    title.show(this.#connection.state.name, `${this.element.dataset.title} · Lab`);
  }
}
