/** Addresses of a channel: its plain room's socket, its publications, and a shell line that publishes to it. */
import { channelSegment } from "./names.js";

/** The plain room's URL; with `hello` its first frame names the gateway. */
export function roomUrl(origin, channel) {
  return `${origin.replace(/^http/, "ws")}/ws/${channelSegment(channel)}/?hello=1`;
}

/** A `curl` call that publishes to the channel, as a POSIX shell takes it. */
export function curlText(origin, channel) {
  return [
    `curl '${origin}/api/v1/channels/${channelSegment(channel)}/publications' \\`,
    '  -H "Authorization: Bearer $CLARION_KEY" \\',
    "  -H 'Content-Type: application/json' \\",
    `  -d '{"data": {"text": "Hello from curl"}}'`,
  ].join("\n");
}
