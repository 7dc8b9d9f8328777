/**
 * What goes over a plain room's socket, and what comes back.
 *
 * Source: docs/protocol.md, "Plain rooms".
 */

/**
 * The frame for a text that a person typed: as it stands if it is JSON, else as a JSON string.
 *
 * The typed characters are sent, not a re-encoding: a number beyond 2^53 keeps its digits.
 */
export function frameOf(text) {
  const trimmed = text.trim();
  return isJson(trimmed) ? trimmed : JSON.stringify(text);
}

/** Whether a text is one JSON value. */
export function isJson(text) {
  return parsed(text) !== undefined;
}

/** The gateway's first frame after `?hello=1`: `{node, channel, user}`, or null. */
export function helloOf(frame) {
  const value = only(frame, "hello");
  return typeof value?.node === "string" ? value : null;
}

/** An error frame's `{code, message}`, or null for a message. */
export function errorOf(frame) {
  const value = only(frame, "error");
  return typeof value?.code === "string" && typeof value.message === "string" ? value : null;
}

/** UTF-8 bytes of a text: what limits count. */
export function byteLength(text) {
  return encoder.encode(text).length;
}

const encoder = new TextEncoder();

/** The value of a frame that is an object with this one key. Cheap for all others: they are not parsed. */
function only(frame, key) {
  if (!frame.slice(0, 32).replace(/\s/g, "").startsWith(`{"${key}":`)) return undefined;
  const value = parsed(frame);
  return value && Object.keys(value).length === 1 ? value[key] : undefined;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // no JSON text parses to undefined
  }
}
