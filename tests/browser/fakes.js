/** A clock that moves when told to, and sockets that do what a test tells them. */

export class FakeClock {
  #now = 1_000_000;
  #timers = new Map();
  #nextId = 1;

  now = () => this.#now;

  setTimeout = (run, ms) => {
    this.#timers.set(this.#nextId, { run, at: this.#now + ms });
    return this.#nextId++;
  };

  clearTimeout = (id) => this.#timers.delete(id);

  get pending() {
    return this.#timers.size;
  }

  /** Let this much time pass, running what falls due, in order. */
  pass(ms) {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = due[1].at;
      due[1].run();
    }
    this.#now = end;
  }
}

/** A WebSocket class whose instances are listed in `made`. */
export function fakeSockets() {
  const made = [];
  class FakeSocket {
    readyState = 0;
    sent = [];
    constructor(url) {
      this.url = url;
      made.push(this);
    }
    send(text) {
      this.sent.push(text);
    }
    close() {
      this.readyState = 2;
    }
    /** As the gateway does it after joining. */
    hello(node = "gateway-1") {
      this.readyState = 1;
      this.onmessage({ data: JSON.stringify({ hello: { node, channel: "chat:lobby", user: "1" } }) });
    }
    lose(code, reason = "") {
      this.readyState = 3;
      this.onclose({ code, reason });
    }
  }
  return { made, WebSocket: FakeSocket };
}

/** A RoomSocket on fakes: every wait is the whole of its ceiling. */
export async function room() {
  const { RoomSocket } = await import("/clarion/socket.js");
  const { Backoff } = await import("/clarion/backoff.js");
  const clock = new FakeClock();
  const { made, WebSocket } = fakeSockets();
  const states = [];
  const messages = [];
  const socket = new RoomSocket({
    WebSocket,
    clock,
    backoff: new Backoff({ random: () => 0.999999 }),
    onState: (state) => states.push(state),
    onMessage: (text) => messages.push(text),
  });
  socket.join("ws://clarion.test/ws/chat:lobby/?hello=1");
  return { socket, clock, made, states, messages, names: () => states.map((state) => state.name) };
}
