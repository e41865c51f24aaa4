// The usage curve as pictures: small multiples over one time axis, made of SVG elements. Draws what was sent, nothing else.
import type { Curve, Quantiles } from "./api";
import { amount, clock, LABELS, percent, weekday } from "./units";

const NS = "http://www.w3.org/2000/svg";
const LEFT = 8;
const RIGHT = 8;
const TITLE = 20;
const GAP = 14;
const AXIS = 34;
const PLOT = 72;
const LANE = 22;
const BANDS: [number, number, string][] = [
  [0.025, 0.975, "95"],
  [0.1, 0.9, "80"],
  [0.25, 0.75, "50"],
];

type Values = readonly (number | null | undefined)[];
type Attributes = Record<string, string | number>;

function svg(tag: string, attributes: Attributes, text = ""): SVGElement {
  const element = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) {
    element.setAttribute(name, typeof value === "number" ? String(Math.round(value * 100) / 100) : value);
  }
  if (text) element.textContent = text;
  return element;
}

export const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** Number of slots: of the longest series that was sent. */
export function slotCount(curve: Curve): number {
  const quantiles = Object.values(curve.resources).map((each) => each.slots.length);
  const lengths = [curve.arrival.length, curve.presence.length, ...curve.apps.map((app) => app.in_use.length), ...quantiles];
  return Math.max(0, ...lengths);
}

export function quantile(of: Quantiles, slot: number, level: number): number | null {
  const index = of.levels.findIndex((each) => Math.abs(each - level) < 1e-9);
  const value = index < 0 ? null : of.slots[slot]?.[index];
  return isNumber(value) ? value : null;
}

const any = (values: Values) => values.some(isNumber);

/** The smallest of 1, 2, 2.5, 5 times a power of ten that is at least `value`. */
function nice(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 2.5, 5, 10].find((step) => step * power >= value * 0.999) ?? 10);
}

/** Bytes are counted in powers of 2: a round number of bytes is none of MiB. */
function niceOf(resource: string, value: number): number {
  if (resource !== "memory_bytes") return nice(value);
  const power = 2 ** Math.floor(Math.log2(value));
  return power * ([1, 1.25, 1.5, 2].find((step) => step * power >= value) ?? 2);
}

/** Where things stand in a picture of one curve. */
export interface Picture {
  height: number;
  slotAt: (x: number) => number;
  /** Move the line that marks the slot being read; null takes it away. */
  mark: (slot: number | null) => void;
}

class Drawing {
  private y = 0;
  private readonly slots: number;
  private readonly plotWidth: number;

  constructor(
    private readonly root: SVGSVGElement,
    private readonly curve: Curve,
    width: number,
  ) {
    this.slots = slotCount(curve);
    this.plotWidth = width - LEFT - RIGHT;
  }

  draw(width: number): Picture {
    this.root.replaceChildren();
    const { presence, arrival, apps, resources } = this.curve;
    if (any(presence)) this.probabilities("You are there", presence, "presence", 1);
    if (any(arrival)) {
      const most = Math.max(...arrival.filter(isNumber));
      this.probabilities("You sign in, if not in yet", arrival, "arrival", most > 0 ? Math.min(1, nice(most)) : 1);
    }
    const lanes = apps.filter((app) => any(app.in_use));
    if (lanes.length > 0) this.lanes(lanes);
    for (const [name, quantiles] of Object.entries(resources)) this.bands(name, quantiles);
    const bottom = this.y - GAP;
    const cursor = svg("rect", { class: "cursor", y: 0, height: Math.max(0, bottom), width: this.slotWidth, visibility: "hidden" });
    this.axis(bottom);
    this.root.append(cursor);
    const height = bottom + AXIS;
    this.root.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.root.setAttribute("height", String(height));
    return {
      height,
      slotAt: (x) => Math.min(this.slots - 1, Math.max(0, Math.floor((x - LEFT) / this.slotWidth))),
      mark: (slot) => {
        cursor.setAttribute("visibility", slot === null ? "hidden" : "visible");
        if (slot !== null) cursor.setAttribute("x", String(this.x(slot)));
      },
    };
  }

  private get slotWidth(): number {
    return this.plotWidth / this.slots;
  }

  private x(slot: number): number {
    return LEFT + slot * this.slotWidth;
  }

  /** A titled plot's frame; gives the y of its upper edge. */
  private frame(title: string, most: string, height: number): number {
    const top = this.y + TITLE;
    this.root.append(svg("text", { class: "plot-title", x: LEFT, y: this.y + 13 }, title));
    if (most) {
      this.root.append(svg("text", { class: "plot-scale", x: LEFT + this.plotWidth, y: this.y + 13, "text-anchor": "end" }, most));
    }
    this.root.append(svg("rect", { class: "plot", x: LEFT, y: top, width: this.plotWidth, height }));
    this.y = top + height + GAP;
    return top;
  }

  private probabilities(title: string, values: Values, kind: string, most: number): void {
    const top = this.frame(title, `top: ${percent(most)}`, PLOT);
    values.forEach((value, slot) => {
      if (!isNumber(value)) return;
      const height = Math.min(1, Math.max(0, value) / most) * PLOT;
      const gap = kind === "arrival" ? Math.min(2, this.slotWidth / 4) : 0;
      const width = this.slotWidth - gap + (gap ? 0 : 0.3); // an overlap, against hairlines between slots
      this.root.append(svg("rect", { class: kind, x: this.x(slot), y: top + PLOT - height, width, height }));
    });
  }

  private lanes(apps: Curve["apps"]): void {
    const top = this.frame("Applications in use", "stronger: likelier", apps.length * LANE * 1.6);
    apps.forEach((app, index) => {
      const y = top + index * LANE * 1.6;
      const best = Math.max(...app.in_use.filter(isNumber));
      this.root.append(svg("text", { class: "lane-name", x: LEFT + 6, y: y + 13 }, app.name.length > 44 ? `${app.name.slice(0, 43)}…` : app.name));
      const most = `at most ${percent(best)}`;
      this.root.append(svg("text", { class: "lane-name", x: LEFT + this.plotWidth - 6, y: y + 13, "text-anchor": "end" }, most));
      app.in_use.forEach((value, slot) => {
        if (!isNumber(value)) return;
        const opacity = Math.min(1, Math.max(0, value));
        this.root.append(
          svg("rect", { class: "lane", x: this.x(slot), y: y + 17, width: this.slotWidth + 0.3, height: LANE * 1.6 - 21, "fill-opacity": opacity }),
        );
      });
    });
  }

  private bands(name: string, quantiles: Quantiles): void {
    const all = quantiles.slots.flat().filter(isNumber);
    if (all.length === 0) return;
    const drawn = BANDS.filter(([low, high]) => quantiles.slots.some((_, s) => quantile(quantiles, s, low) !== null && quantile(quantiles, s, high) !== null));
    const most = Math.max(...all);
    const scale = most > 0 ? niceOf(name, most) : 1;
    const top = this.frame(LABELS[name] ?? name, `top: ${amount(name, scale)}`, PLOT);
    const y = (value: number) => top + PLOT - Math.min(1, Math.max(0, value) / scale) * PLOT;
    quantiles.slots.forEach((_, slot) => {
      for (const [low, high, word] of drawn) {
        const [from, to] = [quantile(quantiles, slot, low), quantile(quantiles, slot, high)];
        if (from === null || to === null) continue;
        const height = Math.max(0, y(from) - y(to));
        this.root.append(svg("rect", { class: `band band-${word}`, x: this.x(slot), y: y(to), width: this.slotWidth + 0.3, height }));
      }
      const middle = quantile(quantiles, slot, 0.5);
      if (middle === null) return;
      const [x1, x2] = [this.x(slot), this.x(slot + 1)];
      this.root.append(svg("line", { class: "median", x1, x2, y1: y(middle), y2: y(middle) }));
    });
  }

  /** Local clock times, at round hours; the day's name where a day begins. */
  private axis(bottom: number): void {
    const { start_s, slot_s } = this.curve;
    const hours = (this.slots * slot_s) / 3600;
    const fits = Math.max(2, Math.floor(this.plotWidth / 64));
    const step_min = [15, 30, 60, 120, 180, 240, 360, 720, 1440].find((step) => (hours * 60) / step <= fits) ?? 1440;
    const time = new Date(start_s * 1000);
    time.setSeconds(0, 0);
    const minutes = time.getHours() * 60 + time.getMinutes();
    time.setHours(0, Math.ceil(minutes / step_min) * step_min);
    let shownDay = "";
    for (let guard = 0; guard < 200; guard += 1) {
      const now_s = time.getTime() / 1000;
      const x = LEFT + ((now_s - start_s) / slot_s) * this.slotWidth;
      if (x > LEFT + this.plotWidth + 0.5) return;
      if (x >= LEFT - 0.5) {
        this.root.append(svg("line", { class: "tick", x1: x, x2: x, y1: 0, y2: bottom + 4 }));
        const edge = x < LEFT + 20 ? "start" : x > LEFT + this.plotWidth - 20 ? "end" : "middle";
        this.root.append(svg("text", { class: "axis", x, y: bottom + 17, "text-anchor": edge }, clock(now_s)));
        const day = weekday(now_s);
        if (day !== shownDay) this.root.append(svg("text", { class: "axis", x, y: bottom + 31, "text-anchor": edge }, day));
        shownDay = day;
      }
      time.setMinutes(time.getMinutes() + step_min);
    }
  }
}

/** Draw `curve` into `root`, `width` pixels wide. The curve must have a slot. */
export function draw(root: SVGSVGElement, curve: Curve, width: number): Picture {
  return new Drawing(root, curve, width).draw(width);
}
