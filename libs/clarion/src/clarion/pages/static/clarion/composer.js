/**
 * The composer: one field. Enter sends, Shift+Enter breaks the line, ↑ brings back the last ten messages.
 *
 * What could not be sent, or was refused, is in the field with the reason beside it.
 */
import { byteLength, frameOf, isJson } from "./frames.js";
import { countText } from "./formats.js";

const HISTORY_SIZE = 10;

/** A message not seen back within this time is taken for delivered: a later close says nothing about it. */
const DOUBT_MS = 5_000;

export class Composer {
  #history = [];
  #historyAt = null;
  #draft = "";
  #last = null;
  #hintNodes;

  /**
   * @param {{form: HTMLFormElement, field: HTMLTextAreaElement, hint: HTMLElement, kind?: HTMLElement}} parts
   * @param {{
   *   send: (frame: string) => string | null, maxBytes: number,
   *   frameOf?: (text: string) => string, refusal?: (frame: string) => string | null,
   * }} seams `send` answers why it could not, or null; `frameOf` makes the frame of what was typed; `refusal` says why a
   *   frame is not to be sent at all.
   */
  constructor(parts, seams) {
    this.parts = parts;
    this.seams = { frameOf, refusal: () => null, ...seams };
    this.#hintNodes = [...parts.hint.childNodes];
    parts.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    parts.field.addEventListener("keydown", (event) => this.#key(event));
    parts.field.addEventListener("input", () => this.#edited());
  }

  focus() {
    this.parts.field.focus();
  }

  /** A frame arrived: if it is the answer to the last message, that one is through. */
  arrived(frame) {
    if (this.#last && sameJson(this.#last.frame, frame)) this.#last = null;
  }

  /** The peer answered: the last message is through, whatever the answer says. */
  answered() {
    this.#last = null;
  }

  /** The last message was refused, or is in doubt: give it back, unless something else is being written. */
  giveBack(reason) {
    if (this.#last && this.parts.field.value === "") this.#write(this.#last.text);
    this.#last = null;
    this.#problem(reason);
  }

  /** The connection closed: what was sent just before may not have gone through. */
  closed(reason) {
    if (this.#last && Date.now() - this.#last.at < DOUBT_MS) this.giveBack(reason);
  }

  /** The connection stands again: a reason not to send is gone. */
  opened() {
    this.#problem(null);
  }

  #submit() {
    const text = this.parts.field.value;
    if (text.trim() === "") return this.#problem("Write a message first.");
    const frame = this.seams.frameOf(text);
    const reason = this.#refusal(frame) ?? this.seams.send(frame);
    if (reason) return this.#problem(reason);
    this.#last = { text, frame, at: Date.now() };
    this.#history = [...this.#history.filter((earlier) => earlier !== text), text].slice(-HISTORY_SIZE);
    this.#write("");
    this.#problem(null);
  }

  /** Refuse here what would cost the connection (1009), and what the page does not send. */
  #refusal(frame) {
    const bytes = byteLength(frame);
    const most = this.seams.maxBytes;
    if (bytes > most) {
      return `This is ${countText(bytes)} bytes; a message holds at most ${countText(most)}. Shorten it.`;
    }
    return this.seams.refusal(frame);
  }

  #key(event) {
    if (event.isComposing) return; // Enter and arrows belong to the input method
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && this.#isAtStart()) {
      this.#browse(-1, event);
    } else if (event.key === "ArrowDown" && this.#historyAt !== null) {
      this.#browse(1, event);
    }
  }

  /** Whether ↑ would leave the text: the caret is before its first character, or the text is one from the history. */
  #isAtStart() {
    const { selectionStart, selectionEnd } = this.parts.field;
    return this.#historyAt !== null || (selectionStart === 0 && selectionEnd === 0);
  }

  #browse(step, event) {
    const at = (this.#historyAt ?? this.#history.length) + step;
    if (at < 0 || at > this.#history.length) return;
    event.preventDefault();
    if (this.#historyAt === null) this.#draft = this.parts.field.value;
    this.#write(this.#history[at] ?? this.#draft);
    this.#historyAt = at === this.#history.length ? null : at;
  }

  #write(text) {
    this.parts.field.value = text;
    this.#historyAt = null;
    this.#sayKind();
  }

  #edited() {
    this.#historyAt = null;
    this.#problem(null);
    this.#sayKind();
  }

  #sayKind() {
    if (!this.parts.kind) return;
    const text = this.parts.field.value.trim();
    this.parts.kind.textContent = text === "" ? "" : isJson(text) ? "JSON" : "text";
  }

  #problem(reason) {
    const { field, hint } = this.parts;
    if (reason === null) hint.replaceChildren(...this.#hintNodes);
    else hint.textContent = reason;
    hint.classList.toggle("is-bad", reason !== null);
    field.setAttribute("aria-invalid", String(reason !== null));
  }
}

/** Whether two texts hold the same JSON: the gateway sends compact JSON, a person types spaces. */
function sameJson(one, other) {
  if (one === other) return true;
  try {
    return JSON.stringify(JSON.parse(one)) === JSON.stringify(JSON.parse(other));
  } catch {
    return false;
  }
}
