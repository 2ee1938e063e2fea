// Keeps what the daemon tells and shows it. Everything comes by one stream of server-sent events: each holds the pieces
// that changed, by key ("head", "sum", "s/SERVICE", "b/SERVICE/BACKEND", "r/REASON", "c/NUMBER"), and those that are gone.

import {
  BackendRow, Chart, backendTable, badges, changeItem, charted, configNotice, fullest, interfaceTable, make, reasonTable, say,
} from "./parts.js";
import { ago, bits, clock, counted, rate, whole } from "./words.js";

/** Services that are shown before one asks for more. */
const SHOWN = 100;
/** Services that one may look into at a time; the daemon has the same limit. */
const OPEN = 20;
const AGAIN_MS = 5000;

const narrow = window.matchMedia("(max-width: 860px)");
const byId = (id) => document.getElementById(id);
const pieces = new Map();
const services = new Map();
const tiles = new Map();
/** What the user opened and closed, by name of the service. */
const chosen = new Map();
let limit = SHOWN;
let source;
let now = Date.now();
let version;

// Services.

class ServiceRows {
  constructor(name) {
    this.name = name;
    this.backends = new Map();
    this.element = make("tbody", "service");
    this.toggle = make("button", "toggle");
    this.toggle.type = "button";
    this.toggle.addEventListener("click", () => toggle(this));
    this.title = make("strong", "", name);
    this.about = make("span", "about");
    this.toggle.append(make("span", "chevron"), this.title);
    const head = make("th", "name", this.toggle, this.about);
    head.scope = "rowgroup";
    this.vips = make("td", "vips");
    this.states = make("td", "states");
    this.active = make("td", "number");
    this.flowChart = new Chart("New flows a second");
    this.byteChart = new Chart("Bytes a second");
    const flows = charted(this.flowChart);
    const traffic = charted(this.byteChart);
    this.flows = flows.text;
    this.traffic = traffic.text;
    this.row = make("tr", "summary", head, this.vips, this.states, this.active,
      make("td", "number", flows.cell), make("td", "number", traffic.cell));
    for (const [n, label] of ["", "Vips", "Backends", "Active flows", "New flows", "Traffic"].entries()) {
      this.row.children[n].dataset.label = label;
    }
    const { table, body } = backendTable(name);
    this.body = body;
    this.rest = make("p", "rest");
    const inside = make("td", "inside", table, this.rest);
    inside.colSpan = 6;
    this.detail = make("tr", "detail", inside);
    this.element.append(this.row);
  }

  update(service) {
    this.data = service;
    say(this.about, `${service.protocol} · ${service.mode} · ${service.scheduler}${service.announced ? " · announced" : ""}`);
    const vips = service.vips.join("\n") + (service.more_vips ? `\nand ${service.more_vips} more` : "");
    if (this.vips.dataset.text !== vips) {
      this.vips.dataset.text = vips;
      this.vips.replaceChildren(...vips.split("\n").map((vip) => make("span", "", vip)));
    }
    const states = `${service.states.join()} ${service.panic}`;
    if (this.states.dataset.text !== states) {
      this.states.dataset.text = states;
      this.states.replaceChildren(...badges(service.states));
      if (service.panic) this.states.append(make("span", "tag bad", "all used: too few up"));
    }
    this.element.classList.toggle("bad", badness(service) === 0);
    say(this.active, whole(service.active));
    say(this.flows, rate(service.rates?.[0], "/s"));
    say(this.traffic, bits(service.rates?.[2]));
  }

  /** Shows the backends that are known and wanted. */
  arrange() {
    const open = isOpen(this.name);
    const known = [...this.backends.values()].sort((a, b) => a.data.place - b.data.place);
    const closed = chosen.get(this.name) === false;
    const wanted = open ? known : closed ? [] : known.filter((row) => row.data.state !== "up");
    const text = `${open} ${wanted.map((row) => row.data.name).join()}`;
    if (this.arranged === text) return;
    this.arranged = text;
    this.toggle.setAttribute("aria-expanded", String(open));
    this.body.replaceChildren(...wanted.map((row) => row.element));
    const total = this.data.states.reduce((sum, count) => sum + count, 0);
    this.rest.hidden = open || wanted.length === 0 || wanted.length === total;
    say(this.rest, `and ${counted(total - wanted.length, "more backend")}, not shown`);
    if (wanted.length > 0) this.element.append(this.detail);
    else this.detail.remove();
  }

  tick(visible) {
    this.flowChart.add(this.data.rates?.[0]);
    this.byteChart.add(this.data.rates?.[2]);
    if (!visible) return;
    this.flowChart.draw();
    this.byteChart.draw();
    for (const row of this.backends.values()) row.tick(now, row.data);
  }
}

/** Without a choice: where all fits. Elsewhere only backends that are not up show. */
function isOpen(name) {
  return chosen.get(name) ?? Boolean(pieces.get("head")?.few && !narrow.matches);
}

function toggle(rows) {
  const open = !isOpen(rows.name);
  chosen.delete(rows.name);
  chosen.set(rows.name, open);
  rows.arrange();
  if (!pieces.get("head")?.few) listen();
}

/** The services to look into, the last opened ones. */
function looked() {
  const open = [...chosen].filter(([, is]) => is).map(([name]) => name);
  for (const name of open.slice(0, -OPEN)) chosen.set(name, false);
  return open.slice(-OPEN);
}

/** 0 where something is down, 1 where the operator holds something back, 2 where all is well. */
function badness(service) {
  const [, down, drain, maint] = service.states;
  if (down > 0 || service.panic) return 0;
  return drain > 0 || maint > 0 ? 1 : 2;
}

function matches(rows, words) {
  const { data } = rows;
  if (byId("problems").checked && badness(data) === 2) return false;
  const text = [data.name, ...data.vips].concat([...rows.backends.values()].flatMap(({ data: b }) => [b.name, b.address]));
  return words.every((word) => text.some((part) => part.toLowerCase().includes(word)));
}

/** Puts services in order, as many as are wanted, and returns those that are shown. */
function arrange() {
  const words = byId("find").value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [...services.values()].filter((rows) => matches(rows, words));
  found.sort((a, b) => badness(a.data) - badness(b.data) || a.data.place - b.data.place);
  const shown = found.slice(0, limit);
  const table = byId("services");
  let before = table.tHead;
  for (const rows of shown) {
    rows.arrange();
    if (before.nextElementSibling !== rows.element) before.after(rows.element);
    before = rows.element;
  }
  while (before.nextElementSibling) before.nextElementSibling.remove();
  byId("more").hidden = shown.length === found.length;
  say(byId("more"), `Show ${Math.min(SHOWN, found.length - shown.length)} more of ${whole(found.length)}`);
  byId("services-none").hidden = found.length > 0 || services.size === 0;
  const all = found.length === services.size;
  say(byId("services-count"), all ? whole(services.size) : `${whole(found.length)} of ${whole(services.size)}`);
  return new Set(shown);
}

// Everything together.

function tile(name, chart) {
  let tile = tiles.get(name);
  if (!tile) {
    const value = make("dd", "value");
    const more = make("dd", "more");
    tile = { value, more, chart: chart ? new Chart(name) : null };
    const box = make("div", "tile", make("dt", "", name), value, more);
    if (tile.chart) box.append(make("dd", "plot", tile.chart.element));
    byId("tiles").append(box);
    tiles.set(name, tile);
  }
  return tile;
}

function showSum(sum) {
  const states = tile("Backends");
  if (states.text !== sum.states.join()) {
    states.text = sum.states.join();
    states.value.replaceChildren(...badges(sum.states));
  }
  say(states.more, `of ${counted(sum.services, "service")}`);
  const flows = tile("Active flows");
  say(flows.value, whole(sum.active));
  say(flows.more, `${fullest(sum.flows)} tracked`);
  for (const [name, value, text] of [
    ["New flows", sum.rates?.[0], rate(sum.rates?.[0], "/s")],
    ["Packets", sum.rates?.[1], rate(sum.rates?.[1], "/s")],
    ["Traffic", sum.rates?.[2], bits(sum.rates?.[2])],
    ["Dropped packets", sum.drops_rate, rate(sum.drops_rate, "/s")],
  ]) {
    const shown = tile(name, true);
    say(shown.value, text);
    shown.chart.add(value);
    shown.chart.draw();
  }
}

function showHead(head) {
  document.title = `divvy on ${head.host}`;
  say(byId("host"), `on ${head.host}`);
  say(byId("version"), `version ${head.version}, up ${ago(now - Date.parse(head.started))}`);
  const notice = byId("config");
  const { bad, children } = configNotice(head.config, now);
  notice.hidden = false;
  notice.className = bad ? "notice bad" : "notice";
  const text = children.map((child) => child.textContent ?? child).join("");
  if (notice.textContent !== text) notice.replaceChildren(...children);
  const interfaces = JSON.stringify(head.interfaces);
  if (byId("interfaces").dataset.text !== interfaces) {
    byId("interfaces").dataset.text = interfaces;
    byId("interfaces").replaceChildren(interfaceTable(head.interfaces));
  }
}

function showChanges() {
  const changes = [...pieces].filter(([key]) => key.startsWith("c/")).map(([, change]) => change);
  changes.sort((a, b) => b.number - a.number);
  byId("changes").replaceChildren(...changes.map((change) => changeItem(change, now)));
  byId("changes").hidden = changes.length === 0;
  byId("changes-none").hidden = changes.length > 0;
}

function showReasons() {
  const reasons = [...pieces].filter(([key]) => key.startsWith("r/")).map(([, reason]) => reason);
  for (const [id, kind, none] of [
    ["drops", "drop", "None since the tables were made."],
    ["passes", "pass", "None."],
    ["answers", "answer", "None."],
    ["events", "event", "None."],
  ]) {
    byId(id).replaceChildren(reasonTable(reasons, kind, none));
  }
}

// The stream.

function put(key, piece) {
  pieces.set(key, piece);
  if (key.startsWith("s/")) {
    let rows = services.get(piece.name);
    if (!rows) services.set(piece.name, rows = new ServiceRows(piece.name));
    rows.update(piece);
  }
}

function putBackend(key, piece) {
  pieces.set(key, piece);
  const { backends } = services.get(piece.service);
  let row = backends.get(piece.name);
  if (!row) backends.set(piece.name, row = new BackendRow());
  row.data = piece;
  row.update(piece, now);
}

function drop(key) {
  const piece = pieces.get(key);
  pieces.delete(key);
  if (key.startsWith("s/")) services.delete(piece?.name);
  if (key.startsWith("b/")) services.get(piece?.service)?.backends.delete(piece.name);
}

function take(update) {
  now = update.at;
  const entries = Object.entries(update.set);
  if (update.first) {
    const come = new Set(entries.map(([key]) => key));
    for (const key of [...pieces.keys()].filter((key) => !come.has(key))) drop(key);
  }
  for (const key of update.gone) drop(key);
  const isBackend = ([key]) => key.startsWith("b/");
  for (const [key, piece] of entries.filter((entry) => !isBackend(entry))) put(key, piece);
  for (const [key, piece] of entries.filter(isBackend)) putBackend(key, piece);
  const head = pieces.get("head");
  // After an upgrade the page is another one.
  if (version !== undefined && head.version !== version) window.location.reload();
  version = head.version;
  showHead(head);
  showSum(pieces.get("sum"));
  const shown = arrange();
  for (const rows of services.values()) rows.tick(shown.has(rows));
  const changed = (prefix) => update.first || entries.some(([key]) => key.startsWith(prefix)) ||
    update.gone.some((key) => key.startsWith(prefix));
  if (changed("c/")) showChanges();
  if (changed("r/")) showReasons();
}

function listen() {
  source?.close();
  const open = looked();
  const mine = new EventSource(open.length ? `events?open=${open.join()}` : "events");
  source = mine;
  mine.addEventListener("message", (event) => {
    take(JSON.parse(event.data));
    document.body.className = "";
    say(byId("link"), "live");
  });
  mine.addEventListener("error", () => {
    document.body.className = "lost";
    say(byId("link"), pieces.size ? `no answer, trying again; as of ${clock(now, now)}` : "no answer, trying again");
    // A refusal ends it for good.
    if (mine.readyState === EventSource.CLOSED) setTimeout(() => { if (source === mine) listen(); }, AGAIN_MS);
  });
}

byId("find").addEventListener("input", () => { limit = SHOWN; arrange(); });
byId("problems").addEventListener("change", () => { limit = SHOWN; arrange(); });
narrow.addEventListener("change", () => arrange());
byId("more").addEventListener("click", () => { limit += SHOWN; arrange(); });
listen();
