// Pieces of the page that know nothing of where their data comes from.

import { ago, bits, clock, counted, rate, short, whole } from "./words.js";

/** Samples of a small chart; one a second. */
export const SAMPLES = 60;
const STATES = ["up", "down", "drain", "maint"];
/** What a state looks like where colours cannot be told apart. */
const SIGNS = { up: "●", down: "▼", drain: "◑", maint: "■" };

/** An element with classes, text or children. */
export function make(tag, classes, ...children) {
  const element = document.createElement(tag);
  if (classes) element.className = classes;
  element.append(...children);
  return element;
}

/** Puts text in, unless it is there. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function badge(state, count) {
  const sign = make("span", "sign", SIGNS[state] ?? "?");
  sign.setAttribute("aria-hidden", "true");
  const words = count === undefined ? state : `${whole(count)} ${state}`;
  return make("span", `badge ${state}`, sign, words);
}

/** Badges of the states that some backend is in. */
export function badges(states) {
  const present = STATES.map((state, n) => [state, states[n]]).filter(([, count]) => count > 0);
  if (present.length === 0) return [make("span", "quiet", "no backends")];
  return present.map(([state, count]) => badge(state, count));
}

const SVG = "http://www.w3.org/2000/svg";

/** A small chart of one value, the newest at the right. */
export class Chart {
  constructor(label) {
    this.samples = [];
    this.element = document.createElementNS(SVG, "svg");
    this.element.setAttribute("class", "chart");
    this.element.setAttribute("viewBox", `0 0 ${SAMPLES - 1} 20`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("role", "img");
    this.label = label;
    this.area = document.createElementNS(SVG, "path");
    this.area.setAttribute("class", "area");
    this.line = document.createElementNS(SVG, "path");
    this.line.setAttribute("class", "line");
    this.element.append(this.area, this.line);
  }

  add(value) {
    this.samples.push(value ?? 0);
    if (this.samples.length > SAMPLES) this.samples.shift();
  }

  draw() {
    const most = Math.max(...this.samples, 1e-9);
    const first = SAMPLES - this.samples.length;
    const points = this.samples.map((value, n) => `${first + n} ${(19 - (value / most) * 17).toFixed(1)}`);
    const line = points.length > 1 ? `M${points.join("L")}` : "";
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", line ? `${line}V20H${first}Z` : "");
    const words = `${this.label} over the last minute, at most ${short(most < 1e-6 ? 0 : most)}`;
    if (this.words !== words) {
      this.words = words;
      this.element.setAttribute("aria-label", words);
    }
  }
}

/** A number beside its chart. */
export function charted(chart) {
  const text = make("span", "value");
  return { text, cell: make("span", "charted", chart.element, text) };
}

/** A time, shown as how long ago it was. */
export function since(element, time, now) {
  if (element.dateTime !== time) {
    element.dateTime = time;
    element.title = clock(time, now);
  }
  say(element, ago(now - Date.parse(time)));
}

function cell(row, label, classes, ...children) {
  const element = make("td", classes, ...children);
  element.dataset.label = label;
  row.append(element);
  return element;
}

/** One backend's row. */
export class BackendRow {
  constructor() {
    this.element = make("tr");
    const name = make("th", "name");
    name.scope = "row";
    this.name = make("strong");
    this.address = make("span", "address");
    name.append(this.name, " ", this.address);
    this.element.append(name);
    this.state = cell(this.element, "State", "state");
    this.why = make("span");
    this.error = make("span", "error");
    cell(this.element, "Why", "why", this.why, this.error);
    this.since = make("time");
    cell(this.element, "Since", "number", this.since);
    this.weight = cell(this.element, "Weight", "number");
    this.active = cell(this.element, "Active flows", "number");
    this.chart = new Chart("New flows a second");
    const flows = charted(this.chart);
    this.flows = flows.text;
    cell(this.element, "New flows", "number", flows.cell);
    this.traffic = cell(this.element, "Traffic", "number");
  }

  update(backend, now) {
    say(this.name, backend.name);
    say(this.address, backend.address);
    this.element.className = backend.state;
    this.element.title = `next hop: ${backend.next_hop}; ${whole(backend.totals[0])} flows, ` +
      `${whole(backend.totals[1])} packets, ${short(backend.totals[2], "B")} in all`;
    const tags = overrides(backend);
    const shown = [backend.state, ...tags].join();
    if (this.shown !== shown) {
      this.shown = shown;
      this.state.replaceChildren(badge(backend.state), ...tags.map((tag) => make("span", "tag", tag)));
    }
    say(this.why, backend.reason);
    const error = lastError(backend, now);
    say(this.error, error);
    this.error.hidden = error === "";
    this.sinceTime = backend.since;
    say(this.weight, String(backend.weight));
    this.weight.title = backend.weight === backend.weight_configured ? "" : `${backend.weight_configured} in the file`;
    say(this.active, whole(backend.active));
    say(this.flows, rate(backend.rates?.[0], "/s"));
    say(this.traffic, bits(backend.rates?.[2]));
  }

  tick(now, backend) {
    this.chart.add(backend.rates?.[0]);
    this.chart.draw();
    since(this.since, backend.since, now);
  }
}

/** What the operator decided, and what the file says. */
function overrides(backend) {
  const tags = [];
  const override = backend.override;
  if (override?.weight !== null && override?.weight !== undefined) {
    tags.push(`weight ${override.weight} for ${backend.weight_configured}`);
  }
  if (override?.state) {
    tags.push(override.uid === null ? "by the operator" : `by uid ${override.uid}`);
  }
  if (backend.backup) tags.push("backup");
  return tags;
}

/** The last failed probe of a backend that is not down for it. */
function lastError(backend, now) {
  if (!backend.last_error || backend.reason.includes(backend.last_error)) return "";
  return `last failed probe ${ago(now - Date.parse(backend.last_error_at))} ago: ${backend.last_error}`;
}

/** The table of a service's backends. */
export function backendTable(service) {
  const head = make("tr");
  const columns = ["Backend", "State", "Why", "Since", "Weight", "Active flows", "New flows", "Traffic"];
  for (const [n, title] of columns.entries()) {
    const column = make("th", n > 2 ? "number" : "", title);
    column.scope = "col";
    head.append(column);
  }
  const body = make("tbody");
  const caption = make("caption", "unseen", `Backends of ${service}`);
  return { table: make("table", "backends", caption, make("thead", "", head), body), body };
}

/** One change of the list. */
export function changeItem(change, now) {
  const time = make("time", "", clock(change.at, now));
  time.dateTime = change.at;
  const words = make("span", "words", change.words);
  return make("li", change.kind, time, make("span", `kind ${change.kind}`, change.kind), words);
}

/** Rows of counted reasons, the most frequent first. */
export function reasonTable(reasons, kind, none) {
  const rows = reasons.filter((reason) => reason.kind === kind)
    .sort((a, b) => (b.rate ?? 0) - (a.rate ?? 0) || b.count - a.count);
  if (rows.length === 0) return make("p", "none", none);
  const body = make("tbody");
  for (const reason of rows) {
    const name = make("th", "", make("code", "", reason.reason), make("span", "meaning", reason.meaning));
    name.scope = "row";
    const count = make("td", "number", whole(reason.count));
    body.append(make("tr", "", name, count, make("td", "number", rate(reason.rate, "/s"))));
  }
  const titles = ["Reason", "Packets", "Rate"].map((title, n) => {
    const column = make("th", n ? "number" : "", title);
    column.scope = "col";
    return column;
  });
  return make("table", "reasons", make("thead", "", make("tr", "", ...titles)), body);
}

/** How the program is attached. */
export function interfaceTable(interfaces) {
  const body = make("tbody");
  for (const { name, xdp } of interfaces) {
    const row = make("th", "", name);
    row.scope = "row";
    const mode = make("span", `badge ${xdp === "native" ? "up" : xdp === "generic" ? "drain" : "down"}`, `XDP ${xdp}`);
    body.append(make("tr", "", row, make("td", "number", mode)));
  }
  return make("table", "interfaces", body);
}

/** What is to be said of the configuration: its text and whether it is bad news. */
export function configNotice(config, now) {
  const loaded = `${config.path}, loaded ${ago(now - Date.parse(config.loaded))} ago`;
  if (!config.last_error) {
    return { bad: false, children: [make("strong", "", "Configuration in force"), ` ${loaded}`] };
  }
  const head = make("p", "", make("strong", "", "The last reload failed and changed nothing."), ` In force: ${loaded}`);
  return { bad: true, children: [head, make("pre", "", config.last_error)] };
}

/** Words of how full the flow tables are. */
export function fullest(tables) {
  const confirmed = tables.filter((table) => table.table === "confirmed");
  const [most] = confirmed.sort((a, b) => b.flows / b.max - a.flows / a.max);
  if (!most) return "";
  const percent = (most.flows / most.max) * 100;
  const shown = percent > 0 && percent < 0.1 ? "<0.1" : String(Number(percent.toFixed(1)));
  return `${shown} % of ${whole(most.max)}`;
}

export { counted };
