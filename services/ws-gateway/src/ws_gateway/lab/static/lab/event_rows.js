/** The rows of a lesson's panel: each event of its socket under the name that a script knows it by. */
import { byteLength } from "../clarion/frames.js";
import { countText } from "../clarion/formats.js";
import { hexDump } from "./binary.js";

const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1, minimumFractionDigits: 1 });

const NOTES = {
  new: ["new", ({ url }) => url],
  open: ["onopen", ({ target }) => `the handshake is done${target.protocol ? `, subprotocol ${target.protocol}` : ""}`],
  error: ["onerror", () => "no details: a browser keeps them from a page; onclose has the code"],
  closing: ["close", ({ detail }) => callText(detail)],
  close: ["onclose", ({ code, reason, wasClean }) => `code ${code}, reason "${reason}", wasClean ${wasClean}`],
  wait: ["wait", ({ waitMs, attempt }) => `${tenths.format(waitMs / 1000)} s, then try ${countText(attempt)}`],
};

/** Show one event of `LessonSocket`. @param {import("../clarion/live_panel.js").LivePanel} panel */
export function showEvent(panel, name, event) {
  if (name === "sent") panel.add("sent", ...frameRow(event.data, "send"));
  else if (name === "message") panel.add("received", ...frameRow(event.data, "onmessage"));
  else panel.note(NOTES[name][1](event), { label: NOTES[name][0] });
}

function frameRow(data, label) {
  if (typeof data === "string") return [data, { label, bytes: byteLength(data) }];
  return [`binary\n${hexDump(data)}`, { label, bytes: data.byteLength }];
}

function callText({ code, reason }) {
  return code === undefined ? "close()" : `close(${code}, "${reason ?? ""}")`;
}
