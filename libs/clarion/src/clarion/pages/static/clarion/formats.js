/** Times, sizes and counts in the reader's locale. */

const clock = new Intl.DateTimeFormat(undefined, {
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  fractionalSecondDigits: 3,
  hourCycle: "h23",
});
const whole = new Intl.NumberFormat();
const tenth = new Intl.NumberFormat(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** The time of day to the millisecond. */
export function timeText(date) {
  return clock.format(date);
}

export function countText(count) {
  return whole.format(count);
}

/** A count with its noun: "1 message", "1,204 messages". */
export function countOf(count, noun) {
  return `${whole.format(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** A size as a reader takes it in: bytes to 1,023, then KiB. The exact value belongs in a title. */
export function sizeText(bytes) {
  return bytes < 1024 ? `${whole.format(bytes)} B` : `${tenth.format(bytes / 1024)} KiB`;
}
