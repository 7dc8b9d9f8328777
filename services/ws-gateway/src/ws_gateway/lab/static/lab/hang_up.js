/** The form that closes a connection with a code and a reason, and the choice to come back. */
import { byteLength } from "../clarion/frames.js";

/** RFC 6455, section 5.5: what a close frame holds beside its code. */
const REASON_MAX_BYTES = 123;

export class HangUp {
  #helpText;

  /**
   * @param {Record<string, HTMLElement>} parts of the card: hang-up, close-code, close-reason, close, close-help,
   *   reconnects.
   * @param {import("./lesson_socket.js").LessonSocket} connection
   */
  constructor(parts, connection) {
    this.parts = parts;
    this.connection = connection;
    this.#helpText = parts["close-help"].textContent;
    parts["hang-up"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#close();
    });
    parts["hang-up"].addEventListener("input", () => this.#check());
    parts.reconnects.addEventListener("change", () => this.#choose());
    this.#choose(); // a reload keeps the box as it was
  }

  /** Show what may be pressed in this state. */
  show({ name }) {
    this.parts.close.disabled = !["connecting", "open", "waiting"].includes(name);
    this.#check(name);
  }

  #close() {
    if (!this.#check()) return this.parts["close-code"].focus();
    this.connection.close(Number(this.parts["close-code"].value), this.parts["close-reason"].value);
  }

  #choose() {
    this.connection.comesBack = this.parts.reconnects.checked;
    if (!this.connection.comesBack && this.connection.state.name === "waiting") this.connection.close();
  }

  /** Name the code on the button, and say what a browser would refuse; true if it would not. */
  #check(name = this.connection.state.name) {
    const code = this.parts["close-code"].value.trim();
    const problem = closeProblem(code, this.parts["close-reason"].value);
    this.parts.close.textContent = name === "waiting" ? "Stop trying" : `Close with ${code}`;
    this.parts["close-help"].textContent = problem ?? this.#helpText;
    this.parts["close-help"].classList.toggle("is-bad", problem !== null);
    this.parts["close-code"].setAttribute("aria-invalid", String(problem !== null));
    return problem === null;
  }
}

/** Why `close(code, reason)` would throw, or null. */
export function closeProblem(code, reason) {
  const number = Number(code);
  if (!/^\d+$/.test(code) || !(number === 1000 || (number >= 3000 && number <= 4999))) {
    return "A page may close with 1000, or with a code from 3000 to 4999.";
  }
  const bytes = byteLength(reason);
  return bytes > REASON_MAX_BYTES ? `A reason has at most ${REASON_MAX_BYTES} bytes, not ${bytes}.` : null;
}
