/**
 * Waits between reconnects: exponential with full jitter.
 *
 * Each wait is drawn evenly from 0 to a ceiling that doubles, so that ten thousand pages that lost the same gateway
 * come back spread out, not in one wave.
 *
 * Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 */
export class Backoff {
  #attempt = 0;

  /** @param {{baseMs?: number, capMs?: number, random?: () => number}} options `random` answers from [0, 1). */
  constructor({ baseMs = 1000, capMs = 20_000, random = Math.random } = {}) {
    this.baseMs = baseMs;
    this.capMs = capMs;
    this.random = random;
  }

  /** How many waits were drawn since the last reset. */
  get attempt() {
    return this.#attempt;
  }

  /** Draw the next wait, in milliseconds. */
  next() {
    // 2 ** 30 is past any cap: the exponent must not grow without end on a page left open for a week.
    const ceiling = Math.min(this.capMs, this.baseMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return Math.floor(this.random() * ceiling);
  }

  reset() {
    this.#attempt = 0;
  }
}
