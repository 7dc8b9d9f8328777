/**
 * The browser's WebSocket, and an event "sent" for each frame and "closing" for each close(): the panel draws both.
 *
 * A lesson's module runs the same with the browser's own class: leave its import line out.
 */
export class WatchedSocket extends WebSocket {
  send(data) {
    super.send(data);
    this.dispatchEvent(new MessageEvent("sent", { data }));
  }

  close(code, reason) {
    super.close(code, reason);
    this.dispatchEvent(new CustomEvent("closing", { detail: { code, reason } }));
  }
}
