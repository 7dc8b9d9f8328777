/** The page's title: unread count, state, channel. What arrives while the page is hidden is unread. */
const STATE_WORD = { connecting: "Connecting", waiting: "Reconnecting", closed: "Closed", stopped: "Stopped" };

export class PageTitle {
  #unread = 0;
  #state = "idle";
  #channel = "";

  constructor() {
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#unread = 0;
      this.#write();
    });
  }

  show(state, channel) {
    this.#state = state;
    this.#channel = channel;
    this.#write();
  }

  arrived() {
    if (!document.hidden) return;
    this.#unread += 1;
    this.#write();
  }

  #write() {
    const unread = this.#unread > 0 ? `(${this.#unread > 999 ? "999+" : this.#unread}) ` : "";
    const words = [STATE_WORD[this.#state], this.#channel || "Console", "Clarion"];
    document.title = unread + words.filter(Boolean).join(" · ");
  }
}
