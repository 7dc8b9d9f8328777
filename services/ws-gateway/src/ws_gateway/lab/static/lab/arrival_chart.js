/**
 * When each number of each socket arrived: a lane a socket, a mark a number, the time below in seconds.
 *
 * Three bands, one a kind, share the time's axis, so that they can be compared. Colour repeats what the band's title
 * says; a table behind a toggle says it in numbers.
 */
import { countText } from "../clarion/formats.js";

const KINDS = {
  shared: "Sync, one thread: stock Channels",
  own: "Sync, a thread each",
  async: "Async, one event loop",
};

const LANE_PX = 12;
const TITLE_PX = 26;
const AXIS_PX = 44;
const LEFT_PX = 64;
const RIGHT_PX = 12;
const FIRST_SPAN_S = 16;
const TICKS = 4;

const seconds = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

export class ArrivalChart {
  #arrivals = {}; // kind → an array a socket of seconds
  #span = FIRST_SPAN_S;
  #parts;
  #shape;

  /** @param {HTMLElement} card holds `.chart` (an svg), `.chart-said` and `.chart-rows` (a tbody). */
  constructor(card, shape) {
    this.#parts = {
      svg: card.querySelector(".chart"),
      said: card.querySelector(".chart-said"),
      rows: card.querySelector(".chart-rows"),
    };
    this.#shape = shape;
    new ResizeObserver(() => this.#draw()).observe(this.#parts.svg);
  }

  /** A run begins: what its kind showed before goes. */
  start(kind) {
    this.#arrivals[kind] = Array.from({ length: this.#shape.sockets }, () => []);
    this.#parts.said.textContent = `${KINDS[kind]}: counting …`;
    this.#draw();
  }

  /** A number arrived at a socket, so many seconds after the start. */
  add(kind, socket, count, at) {
    this.#arrivals[kind][socket].push(at);
    if (at <= this.#span) return this.#mark(kind, socket, at);
    this.#span = Math.ceil(at / FIRST_SPAN_S) * FIRST_SPAN_S;
    this.#draw();
  }

  /** The run is over, or has failed with this reason. */
  finish(kind, problem = null) {
    const last = Math.max(0, ...this.#arrivals[kind].flat());
    const words = problem ? `stopped. ${problem}` : `the last number came after ${seconds.format(last)} s`;
    this.#parts.said.textContent = `${KINDS[kind]}: ${words}.`;
    this.#parts.said.classList.toggle("is-bad", problem !== null);
    this.#tabulate();
  }

  // ---- drawing -----------------------------------------------------------------------------------------------------

  #draw() {
    const { svg } = this.#parts;
    const kinds = Object.keys(KINDS);
    const height = kinds.length * this.#bandPx + AXIS_PX;
    svg.setAttribute("height", height);
    svg.replaceChildren(...this.#axis(height - AXIS_PX), ...kinds.flatMap((kind) => this.#band(kind)));
    for (const kind of kinds) {
      this.#arrivals[kind]?.forEach((times, socket) => times.forEach((at) => this.#mark(kind, socket, at)));
    }
  }

  #axis(bottom) {
    const parts = [];
    for (let tick = 0; tick <= TICKS; tick += 1) {
      const at = (this.#span * tick) / TICKS;
      const x = this.#x(at);
      const anchor = tick === TICKS ? "end" : "middle";
      parts.push(shape("line", { class: "chart-grid", x1: x, x2: x, y1: TITLE_PX, y2: bottom + 4 }));
      parts.push(text(tick === TICKS ? x + RIGHT_PX : x, bottom + 18, countText(at), { "text-anchor": anchor }));
    }
    const middle = (this.#x(0) + this.#x(this.#span)) / 2;
    parts.push(text(middle, bottom + 38, "seconds after the start", { "text-anchor": "middle" }));
    return parts;
  }

  #band(kind) {
    const top = this.#top(kind);
    const isEmpty = !this.#arrivals[kind];
    const parts = [text(0, top + 19, KINDS[kind] + (isEmpty ? " · not run" : ""), { class: "chart-title" })];
    for (let socket = 0; socket < this.#shape.sockets; socket += 1) {
      const y = this.#y(kind, socket);
      const isOuter = socket === 0 || socket === this.#shape.sockets - 1; // lanes are lower than their numbers
      if (isOuter) parts.push(text(LEFT_PX - 10, y + 5, `socket ${countText(socket + 1)}`, { "text-anchor": "end" }));
      parts.push(shape("line", { class: "chart-lane", x1: this.#x(0), x2: this.#x(this.#span), y1: y, y2: y }));
    }
    return parts;
  }

  #mark(kind, socket, at) {
    const y = this.#y(kind, socket);
    const x = this.#x(at);
    this.#parts.svg.append(shape("line", { class: `chart-mark is-${kind}`, x1: x, x2: x, y1: y - 4, y2: y + 4 }));
  }

  get #bandPx() {
    return TITLE_PX + this.#shape.sockets * LANE_PX + 4;
  }

  #top(kind) {
    return Object.keys(KINDS).indexOf(kind) * this.#bandPx;
  }

  #x(at) {
    const width = this.#parts.svg.clientWidth - LEFT_PX - RIGHT_PX;
    return LEFT_PX + (Math.max(width, 0) * at) / this.#span;
  }

  #y(kind, socket) {
    return this.#top(kind) + TITLE_PX + (socket + 0.5) * LANE_PX;
  }

  // ---- the table ---------------------------------------------------------------------------------------------------

  #tabulate() {
    const rows = Object.entries(this.#arrivals).flatMap(([kind, sockets]) =>
      sockets.map((times, socket) => {
        const row = document.createElement("tr");
        const cells = [KINDS[kind], countText(socket + 1), countText(times.length), timeOf(times[0]), timeOf(times.at(-1))];
        for (const cell of cells) row.insertCell().textContent = cell;
        return row;
      }),
    );
    this.#parts.rows.replaceChildren(...rows);
  }
}

function timeOf(at) {
  return at === undefined ? "never" : `${seconds.format(at)} s`;
}

function shape(tag, attributes) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function text(x, y, words, attributes) {
  const node = shape("text", { x, y, ...attributes });
  node.textContent = words;
  return node;
}
