/**
 * One row of the live panel: time, direction, size, payload; opened, the payload as indented JSON with Copy. A label,
 * where there is one, stands after the direction.
 *
 * A payload is foreign text: it enters the page as a text node and in no other way.
 */
import { copyFrom } from "./copy.js";
import { byteLength } from "./frames.js";
import { countOf, sizeText, timeText } from "./formats.js";
import { jsonIndent } from "./json_text.js";

/** A closed row shows one line: more of a 64 KiB payload would only cost layout. */
const PREVIEW_CHARS = 400;

const ARROWS = { sent: "↑", received: "↓" };

/**
 * The row of a message.
 *
 * @param {{direction: "sent" | "received", text: string, at: Date, label?: string, bytes?: number}} message `bytes`: its
 *   size, where `text` is not the payload itself.
 */
export function messageRow({ direction, text, at, label, bytes = byteLength(text) }) {
  const line = element("button", "row-line", timeOf(at));
  line.type = "button";
  line.tabIndex = -1; // the panel has one tab stop; arrow keys move inside it
  line.setAttribute("aria-expanded", "false");
  const arrow = element("span", "row-arrow", ARROWS[direction]);
  arrow.setAttribute("role", "img");
  arrow.setAttribute("aria-label", direction);
  arrow.title = direction;
  const size = element("span", "row-size", sizeText(bytes));
  size.title = countOf(bytes, "byte");
  line.append(arrow, ...labelOf(label), size, element("span", "row-payload", preview(text)));
  const row = element("li", `row row-${direction}`, line);
  payloads.set(row, text);
  return row;
}

/** A row that says what happened to the connection. @param {{text: string, at: Date, label?: string}} note */
export function noteRow({ text, at, label }) {
  const words = element("span", "row-note-text", text);
  words.title = text; // a narrow window cuts it
  return element("li", "row row-note", timeOf(at), ...labelOf(label), words);
}

function labelOf(label) {
  return label ? [element("code", "row-label", label)] : [];
}

/** Open or close a row; the detail is built when it is first wanted and dropped when it is closed. */
export function rowToggle(row, isOpen = !rowIsOpen(row)) {
  if (isOpen === rowIsOpen(row)) return;
  row.querySelector(".row-line").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) row.append(detailOf(payloads.get(row)));
  else row.querySelector(".row-detail").remove();
}

export function rowIsOpen(row) {
  return row.querySelector(".row-detail") !== null;
}

const payloads = new WeakMap();

function detailOf(text) {
  const indented = jsonIndent(text);
  const copy = element("button", "button button-small", "Copy");
  copy.type = "button";
  copy.addEventListener("click", () => copyFrom(copy, indented));
  const code = element("pre", "row-json", indented);
  code.tabIndex = 0; // a long line scrolls sideways inside its own box: a keyboard must reach it
  return element("div", "row-detail", code, copy);
}

function timeOf(at) {
  const time = element("time", "row-time", timeText(at));
  time.dateTime = at.toISOString();
  time.title = at.toISOString();
  return time;
}

function preview(text) {
  return text.length > PREVIEW_CHARS ? `${text.slice(0, PREVIEW_CHARS)}…` : text;
}

function element(tag, className, ...children) {
  const node = document.createElement(tag);
  node.className = className;
  node.append(...children);
  return node;
}
