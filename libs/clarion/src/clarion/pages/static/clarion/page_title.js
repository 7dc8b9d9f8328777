/** The page's title: unread count, state, subject. What arrives while the page is hidden is unread. */
const STATE_WORD = {
  connecting: "Connecting",
  closing: "Closing",
  waiting: "Reconnecting",
  closed: "Closed",
  stopped: "Stopped",
};

export class PageTitle {
  #unread = 0;
  #state = "idle";
  #subject = "";

  /** @param {string} fallback the subject where there is none. */
  constructor(fallback) {
    this.fallback = fallback;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#unread = 0;
      this.#write();
    });
  }

  /** @param {string} state a state's name. @param {string} subject what the page shows, e.g. a channel. */
  show(state, subject) {
    this.#state = state;
    this.#subject = subject;
    this.#write();
  }

  arrived() {
    if (!document.hidden) return;
    this.#unread += 1;
    this.#write();
  }

  #write() {
    const unread = this.#unread > 0 ? `(${this.#unread > 999 ? "999+" : this.#unread}) ` : "";
    const words = [STATE_WORD[this.#state], this.#subject || this.fallback, "Clarion"];
    document.title = unread + words.filter(Boolean).join(" · ");
  }
}
