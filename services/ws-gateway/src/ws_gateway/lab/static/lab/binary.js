/** Binary frames for the eye: bytes in hexadecimal beside the characters that they are in ASCII. */

const BYTES_A_LINE = 16;

/** More of a frame than this is not drawn. */
const SHOWN_BYTES = 4_096;

/** A dump as `xxd` prints it: offset, bytes, characters. */
export function hexDump(buffer) {
  const bytes = new Uint8Array(buffer).subarray(0, SHOWN_BYTES);
  const lines = [];
  for (let at = 0; at < bytes.length; at += BYTES_A_LINE) {
    const part = [...bytes.subarray(at, at + BYTES_A_LINE)];
    const hex = part.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = part.map((byte) => (byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : ".")).join("");
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex.padEnd(BYTES_A_LINE * 3 - 1)}  ${text}`);
  }
  if (buffer.byteLength > bytes.length) lines.push(`… ${buffer.byteLength} bytes in all`);
  return lines.join("\n") || "(no bytes)";
}
