/**
 * The live panel: a row a message, the last 500 of them.
 *
 * Whatever the rate, rows are drawn once per animation frame, and only those that can still be seen. The panel keeps
 * to the bottom while the reader is there and has no row open; else it counts what is new. Pause holds the picture,
 * not the socket.
 */
import { countOf, countText } from "./formats.js";
import { messageRow, noteRow, rowIsOpen, rowToggle } from "./message_row.js";

export const MAX_ROWS = 500;

/** This near to the end counts as at the end: a fraction of a row is lost to zoom and rounding. */
const BOTTOM_PX = 16;

export class LivePanel {
  #pending = [];
  #frame = null;
  #isAtBottom = true;
  #isPaused = false;
  #unseen = 0;
  #received = 0;
  #receivedBefore = 0;

  /** @param {Record<"scroller" | "list" | "empty" | "unseen" | "pause" | "count" | "rate", HTMLElement>} parts */
  constructor(parts) {
    this.parts = parts;
    parts.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    parts.list.addEventListener("click", (event) => this.#clicked(event));
    parts.list.addEventListener("keydown", (event) => this.#key(event));
    parts.list.addEventListener("focusin", ({ target }) => this.#tabStop(target.closest(".row-line")));
    parts.unseen.addEventListener("click", () => this.toBottom());
    parts.pause.addEventListener("click", () => this.pause(!this.#isPaused));
    // A window made smaller must not push the newest rows out of sight.
    new ResizeObserver(() => this.#isFollowing() && this.#scrollDown()).observe(parts.scroller);
    setInterval(() => this.#rate(), 1000);
  }

  /** Show a message that went out or came in. `more` may hold a label and the size in bytes: see `messageRow`. */
  add(direction, text, more = {}) {
    if (direction === "received") this.#received += 1;
    this.#queue({ direction, text, at: new Date(), ...more });
  }

  /** Show what happened to the connection. */
  note(text, more = {}) {
    this.#queue({ text, at: new Date(), ...more });
  }

  /** Hold the picture, or catch up. */
  pause(isPaused) {
    this.#isPaused = isPaused;
    this.parts.pause.textContent = isPaused ? "Resume" : "Pause";
    this.parts.pause.setAttribute("aria-pressed", String(isPaused));
    if (isPaused) this.#sayUnseen();
    else this.#drawSoon();
  }

  /** Go to the newest row and stay there. */
  toBottom() {
    for (const row of this.#openRows()) rowToggle(row, false);
    this.#isAtBottom = true;
    if (this.#isPaused) this.pause(false);
    this.#scrollDown();
  }

  /** Close the open rows; false if there was none. */
  closeRows() {
    const rows = this.#openRows();
    for (const row of rows) rowToggle(row, false);
    this.#scrolled();
    return rows.length > 0;
  }

  #queue(item) {
    this.#pending.push(item);
    // A hidden page gets no animation frames: what waits is bounded here, in lumps so that it is not shifted each time.
    if (this.#pending.length > 2 * MAX_ROWS) this.#unseen += this.#pending.splice(0, MAX_ROWS).length;
    this.#drawSoon();
  }

  #drawSoon() {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = null;
      this.#draw();
    });
  }

  #draw() {
    const { scroller, list, empty } = this.parts;
    this.parts.count.textContent = countOf(this.#received, "message");
    if (this.#isPaused) return this.#sayUnseen();
    const isFollowing = this.#isFollowing();
    const items = this.#pending;
    this.#pending = [];
    const messages = items.filter((item) => item.direction).length;
    this.#unseen += messages;
    if (messages > 0) empty.hidden = true;
    list.append(...items.slice(-MAX_ROWS).map((item) => (item.direction ? messageRow(item) : noteRow(item))));
    const height = scroller.scrollHeight;
    while (list.childElementCount > MAX_ROWS) list.firstElementChild.remove();
    // Tab reaches the newest row, until the reader is in the list.
    if (!list.contains(document.activeElement)) this.#tabStop([...list.getElementsByClassName("row-line")].at(-1));
    if (isFollowing) this.#scrollDown();
    else {
      scroller.scrollTop -= height - scroller.scrollHeight; // what is being read stays where it is
      this.#scrolled();
    }
  }

  #isFollowing() {
    // The empty state is read from its top; the first message takes its place.
    return (this.#isAtBottom || !this.parts.empty.hidden) && this.#openRows().length === 0;
  }

  #scrollDown() {
    const { scroller, empty } = this.parts;
    if (empty.hidden) scroller.scrollTop = scroller.scrollHeight;
    this.#unseen = 0;
    this.#sayUnseen();
  }

  #scrolled() {
    const { scroller } = this.parts;
    this.#isAtBottom = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= BOTTOM_PX;
    if (this.#isAtBottom) this.#unseen = 0; // all that was drawn is in sight
    this.#sayUnseen();
  }

  #sayUnseen() {
    const { unseen } = this.parts;
    const held = this.#isPaused ? this.#pending.filter((item) => item.direction).length : 0;
    const words = `${countText(this.#unseen + held)} new`;
    unseen.hidden = this.#unseen === 0 && !this.#isPaused;
    unseen.textContent = this.#isPaused ? `Paused · ${words}` : `${words} ↓`;
  }

  #rate() {
    const perSecond = this.#received - this.#receivedBefore;
    this.#receivedBefore = this.#received;
    this.parts.rate.textContent = `${countText(perSecond)}/s`;
  }

  #openRows() {
    return [...this.parts.list.getElementsByClassName("row-detail")].map((detail) => detail.parentElement);
  }

  #clicked(event) {
    const line = event.target.closest(".row-line");
    if (!line) return;
    const row = line.parentElement;
    rowToggle(row);
    if (rowIsOpen(row)) row.scrollIntoView({ block: "nearest" });
    this.#scrolled();
  }

  /** Arrow keys, Home and End move between rows; Enter and Space open one, being a button's own keys. */
  #key(event) {
    const line = event.target.closest(".row-line");
    const lines = line ? [...this.parts.list.querySelectorAll(".row-line")] : [];
    const here = lines.indexOf(line);
    const there = { ArrowUp: here - 1, ArrowDown: here + 1, Home: 0, End: lines.length - 1 }[event.key];
    if (!line || !lines[there]) return;
    event.preventDefault();
    lines[there].focus();
  }

  /** Make this row the one that Tab reaches. */
  #tabStop(line) {
    if (!line || line.tabIndex === 0) return;
    for (const other of this.parts.list.querySelectorAll('.row-line[tabindex="0"]')) other.tabIndex = -1;
    line.tabIndex = 0;
  }
}
