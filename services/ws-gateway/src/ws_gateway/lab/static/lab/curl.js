/** A shell line that does a WebSocket's handshake by hand. */

/** Any sixteen bytes, in Base64; a browser draws them at random. */
const KEY = "Q2xhcmlvbiBsYWIhISEhIQ==";

/** A `curl` call that shows the handshake with this address, and three seconds of what follows. */
export function handshakeCurl(url) {
  return [
    "curl -i -N --http1.1 --max-time 3 --output - \\",
    "  -H 'Connection: Upgrade' -H 'Upgrade: websocket' \\",
    "  -H 'Sec-WebSocket-Version: 13' \\",
    `  -H 'Sec-WebSocket-Key: ${KEY}' \\`,
    `  '${url.replace(/^ws/, "http").replaceAll("'", "%27")}'`,
  ].join("\n");
}
