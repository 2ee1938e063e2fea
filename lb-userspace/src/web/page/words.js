// Numbers and times in words.

const PREFIXES = ["", "k", "M", "G", "T", "P"];

/** 1234567 as "1,234,567". */
export function whole(number) {
  return number.toLocaleString("en-US");
}

/** With three digits and a prefix: 12300 as "12.3 k". */
export function short(number, unit = "") {
  let power = 0;
  let value = number;
  while (value >= 999.5 && power < PREFIXES.length - 1) {
    value /= 1000;
    power += 1;
  }
  const digits = value === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  const text = String(Number(value.toFixed(digits)));
  const tail = PREFIXES[power] + unit;
  return tail ? `${text} ${tail}` : text;
}

/** Of a rate that may not be known yet. */
export function rate(value, unit) {
  return value === null || value === undefined ? "–" : short(value, unit);
}

/** Bytes a second as bits, as links are sold. */
export function bits(bytes) {
  return bytes === null || bytes === undefined ? "–" : short(bytes * 8, "bit/s");
}

/** A duration by its two largest units. */
export function ago(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0s";
  const [size, unit] = units[first];
  const text = Math.floor(seconds / size) + unit;
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return rest ? `${text} ${rest}${next[1]}` : text;
}

/** The time of day, and the date unless it is today's. */
export function clock(time, now) {
  const date = new Date(time);
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const hours = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return new Date(now).toDateString() === date.toDateString() ? hours : `${day} ${hours}`;
}

/** "1 backend", "2 backends". */
export function counted(number, word) {
  return `${whole(number)} ${word}${number === 1 ? "" : "s"}`;
}
