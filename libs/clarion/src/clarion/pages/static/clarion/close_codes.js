/**
 * What each close code of a plain room means to a person, and whether the page comes back after it.
 *
 * Source: clarion.codes.RoomCloseCode; docs/protocol.md, "Codes".
 */

/** The same call would be refused again: the page stops. After every other code it comes back. */
const FINAL = new Set([1009, 4400, 4401, 4403, 4404]);

const MEANING = {
  1006: "the connection was lost",
  1009: "a message was too big",
  1011: "the gateway failed",
  1012: "the gateway is restarting",
  4400: "bad channel name",
  4401: "not signed in",
  4403: "not allowed",
  4404: "no such namespace",
  4408: "this page was too slow",
  4410: "messages were lost: reload",
  4429: "this page sent too much",
};

/** Whether a close is final. */
export function closeIsFinal(code) {
  return FINAL.has(code);
}

/** A close in a few words: the product's own for a code it knows, else the peer's reason. */
export function closeMeaning(code, reason) {
  return MEANING[code] ?? (reason || "the connection was closed");
}
