/**
 * Channel names: the same rules, in the same words, as `clarion.names`. A browser test compares the two.
 */
const CHANNEL_MAX_CHARS = 200;
const USER_ID_MAX_CHARS = 128;
const FORBIDDEN = '/\\"%?*';

/** Say which rule a channel's name breaks, or return null. */
export function channelProblem(channel) {
  const problem = brokenRule("a channel's name", channel, CHANNEL_MAX_CHARS);
  if (problem || !channel.startsWith("#")) return problem ?? unreachable(channel);
  const user = channel.slice(1);
  const userProblem = brokenRule("a user id", user, USER_ID_MAX_CHARS);
  if (userProblem) return userProblem;
  return /[,#]/.test(user) ? "a user id holds neither ',' nor '#'" : null;
}

/** A name the gateway would take but no URL can carry: a browser resolves these as path steps, encoded or not. */
function unreachable(channel) {
  return channel === "." || channel === ".." ? "a browser cannot put '.' or '..' into an address" : null;
}

function brokenRule(what, name, maxChars) {
  const chars = [...name]; // by code point, as Python counts
  if (chars.length < 1 || chars.length > maxChars) {
    return `${what} has 1 to ${maxChars} characters, not ${chars.length}`;
  }
  const position = chars.findIndex((char) => char <= " " || char > "~" || FORBIDDEN.includes(char));
  if (position < 0) return null;
  return (
    `${what} holds printable ASCII without a space and without any of ${FORBIDDEN}: ` +
    `${pythonAscii(chars[position])} at position ${position} is not allowed`
  );
}

/** One character as Python's `ascii()` writes it. */
function pythonAscii(char) {
  const named = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
  if (named) return `'${named}'`;
  const code = char.codePointAt(0);
  if (code >= 0x20 && code < 0x7f) return `'${char}'`;
  if (code <= 0xff) return `'\\x${code.toString(16).padStart(2, "0")}'`;
  if (code <= 0xffff) return `'\\u${code.toString(16).padStart(4, "0")}'`;
  return `'\\U${code.toString(16).padStart(8, "0")}'`;
}

/** The part before the first colon, or null (no colon, or a personal channel). */
export function namespaceOf(channel) {
  const colon = channel.startsWith("#") ? -1 : channel.indexOf(":");
  return colon < 0 ? null : channel.slice(0, colon);
}

/** The name as one path segment: `#` and all else that a URL or a shell would read is encoded, the colon stays. */
export function channelSegment(channel) {
  return encodeURIComponent(channel)
    .replaceAll("%3A", ":")
    .replace(/['()!*~]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
