/** What the lab's frames have in common. */

/** A text frame that is a JSON object, or null. */
export function frameObject(data) {
  if (typeof data !== "string") return null;
  try {
    const value = JSON.parse(data);
    return typeof value === "object" ? value : null;
  } catch {
    return null;
  }
}

/** An error frame's `{code, message}`, or null. */
export function frameError(frame) {
  return typeof frame?.error?.code === "string" ? frame.error : null;
}

/** The gateway that a consumer's first frame names, or "". A message names the gateway that it was sent to: not ours. */
export function frameNode(frame) {
  return typeof frame?.node === "string" && !("msg" in frame) ? frame.node : "";
}
