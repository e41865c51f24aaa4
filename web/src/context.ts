// The operator's view of the host: pressure and trends, whether warming is held back, and the lines to browsers.
import type { Context, Gauge, Link } from "./api";
import { byId, make, say } from "./dom";

const ARROWS: Record<string, string> = { rises: "↗", falls: "↘", steady: "→" };
const GATES: Record<string, string> = { open: "as usual", slow: "one at a time", paused: "paused" };

const percent = (share: number) => `${(100 * share).toFixed(share >= 0.1 || share === 0 ? 0 : 1)} %`;
const chip = (text: string, kind: string) => make("span", { class: `chip chip-${kind}` }, text);

function span(time_s: number): string {
  if (time_s < 90) return `${Math.round(time_s)} s`;
  return time_s < 5400 ? `${Math.round(time_s / 60)} min` : `${Math.round(time_s / 3600)} h`;
}

const rate = (bytes_per_s: number) =>
  bytes_per_s < 1e6 ? `${Math.round(bytes_per_s / 1e3)} kB/s` : `${(bytes_per_s / 1e6).toFixed(1)} MB/s`;
const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

function gaugeRow(gauge: Gauge): HTMLElement {
  const meter = make("meter", {
    attributes: { min: "0", max: "1", optimum: "0", "aria-label": `${gauge.name}: ${percent(gauge.level)}` },
  });
  [meter.low, meter.high, meter.value] = [Math.min(gauge.slow_at, 1), Math.min(gauge.pause_at, 1), gauge.level];
  let trend = ARROWS[gauge.trend] ?? "";
  if (gauge.trend !== "steady") trend += ` ${gauge.per_minute > 0 ? "+" : "−"}${percent(Math.abs(gauge.per_minute))} a minute`;
  if (gauge.short_in_s !== null) trend += `, short in ${span(gauge.short_in_s)}`;
  const limits = gauge.slow_at > 1 ? "never" : `slow from ${percent(gauge.slow_at)}, ${gauge.pause_at > 1 ? "never paused" : `paused from ${percent(gauge.pause_at)}`}`;
  return make(
    "tr",
    {},
    make("th", { attributes: { scope: "row" } }, gauge.name),
    make("td", {}, meter),
    make("td", { class: "figure" }, percent(gauge.level)),
    make("td", {}, trend),
    make("td", { class: "small" }, limits),
  );
}

function linkRow(link: Link): HTMLElement {
  const ping = `${Math.round(1000 * link.rtt_best_s)} ms (now ${Math.round(1000 * link.rtt_s)})`;
  const kind = link.quality === "slow" ? "bad" : link.quality === "far" ? "parked" : "good";
  const cells = [ping, link.bytes_per_s === null ? "not tried" : rate(link.bytes_per_s), percent(link.waiting_share)];
  return make("tr", {}, make("td", {}, link.user), make("td", {}, chip(link.quality, kind)), ...cells.map((cell) => make("td", {}, cell)));
}

function hostWords(context: Context): string {
  const host = context.conditions;
  if (!host) return "The host's conditions cannot be read.";
  const words = [
    `Load ${host.load.toFixed(2)}`,
    `processors ${percent(host.cpu_share)} in use`,
    `${gigabytes(host.memory_available_bytes)} of ${gigabytes(host.memory_bytes)} memory available`,
  ];
  if (host.swap_bytes > 0) words.push(`${gigabytes(host.swap_bytes - host.swap_free_bytes)} of ${gigabytes(host.swap_bytes)} swap in use`);
  words.push(`disk ${percent(host.disk_busy_share)} busy, ${gigabytes(host.disk_free_bytes)} free`);
  words.push(`network ${rate(host.network_in_bytes_per_s)} in, ${rate(host.network_out_bytes_per_s)} out`);
  return `${words.join(", ")}.`;
}

function rows(table: string, made: HTMLElement[]): void {
  byId<HTMLTableElement>(table).tBodies[0]?.replaceChildren(...made);
}

export function renderContext(context: Context): void {
  const held = context.gate !== "open";
  byId("gate").replaceChildren(chip(GATES[context.gate] ?? context.gate, context.gate === "paused" ? "bad" : held ? "warm" : "good"));
  const told = context.notes.find((note) => note.startsWith(context.gate_text)); // the plan may add how much waits
  byId("gate-text").textContent = told ?? context.gate_text;
  const faults = context.conditions?.faults.map((fault) => fault.text) ?? [];
  say(byId("context-faults"), faults.length ? `This host needs looking after: ${faults.join("; ")}.` : "");
  const notes = context.notes.filter((note) => note !== told);
  byId("context-notes").replaceChildren(...notes.map((note) => make("li", {}, note)));
  byId("context-changes").replaceChildren(
    ...context.changes.slice(0, 3).map((change) => make("li", {}, `${new Date(1000 * change.time_s).toLocaleTimeString()} ${change.text}`)),
  );
  rows("gauges-table", context.gauges.map(gaugeRow));
  byId("host-words").textContent = hostWords(context);
  say(byId("host-problems"), (context.conditions?.problems ?? []).join("; "));
  byId("links").hidden = context.links.length === 0;
  rows("links-table", context.links.map(linkRow));
}
