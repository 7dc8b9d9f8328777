/** The notice above the rows: what happened, what to do, the code, in that order. A notice clears nothing else. */
import { namespaceOf } from "./names.js";

/** What to do after a final close, or null where the code is not one of ours. */
export function closeAdvice(state, channel, page) {
  const namespace = namespaceOf(channel);
  const known = page.namespaces.map((name) => `${name}:`).join(", ") || "a namespace: clarion.toml defines none yet";
  switch (state.code) {
    case 1009:
      return ["The gateway closed the connection: a message was too big.", "Shorten it, then reconnect."];
    case 4400:
      return [`The gateway refused the name ${channel}.`, "Choose another channel."];
    case 4401:
      return ["You are not signed in any more.", "Sign in again; the page then rejoins the channel."];
    case 4403:
      return channel.startsWith("#")
        ? [`${channel} belongs to another user.`, `Your own personal channel is #${page.user}.`]
        : [`You may not join ${channel}.`, "Choose another channel, or let its namespace allow it in clarion.toml."];
    case 4404:
      return [
        namespace === null ? `${channel} has no namespace.` : `No namespace is called ${namespace}.`,
        `Choose a channel in ${known}.`,
      ];
    default:
      return null;
  }
}

export class Notice {
  /** @param {Record<"box" | "what" | "advice" | "code" | "signIn", HTMLElement>} parts */
  constructor(parts) {
    this.parts = parts;
  }

  /** Show the notice that a state calls for, or none. */
  show(state, channel, page) {
    const advice = state.name === "closed" ? closeAdvice(state, channel, page) : null;
    this.parts.box.hidden = advice === null;
    if (advice === null) return;
    [this.parts.what.textContent, this.parts.advice.textContent] = advice;
    this.parts.code.textContent = state.reason ? `${state.code}: ${state.reason}` : String(state.code);
    this.parts.signIn.hidden = state.code !== 4401;
    this.parts.signIn.href = `/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
  }
}
