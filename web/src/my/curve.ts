// The usage curve's panel: how far ahead, the picture, reading it by pointer or keys, and the same as a table.
import { ApiError } from "../api";
import { byId, make, say } from "../dom";
import { my, type Curve } from "./api";
import { draw, isNumber, quantile, slotCount, type Picture } from "./chart";
import { textOf } from "./panel";
import { amount, clock, LABELS, percent, sentence, weekday } from "./units";

const AGAIN_MS = 60_000;

export class CurvePanel {
  private hours = 2;
  private curve: Curve | null = null;
  private picture: Picture | null = null;
  private slot = 0;
  private reading = false;
  private request = 0;
  private timer = 0;
  private width = 0;
  private readonly root: SVGSVGElement;

  constructor(private readonly signedOut: () => void) {
    this.root = byId("curve-picture") as unknown as SVGSVGElement;
  }

  wire(): void {
    for (const input of byId("curve-hours").querySelectorAll("input")) {
      input.addEventListener("change", () => {
        this.hours = Number(input.value);
        this.slot = 0;
        void this.load();
      });
    }
    new ResizeObserver(() => this.redraw()).observe(byId("curve-frame"));
    this.root.addEventListener("pointermove", (event) => this.point(event));
    this.root.addEventListener("pointerdown", (event) => this.point(event));
    this.root.addEventListener("focus", () => this.read(true));
    this.root.addEventListener("keydown", (event) => this.key(event));
    byId("curve-details").addEventListener("toggle", () => this.table());
  }

  show(showing: boolean): void {
    clearTimeout(this.timer);
    if (showing) void this.load();
    else this.forget();
  }

  /** The next to sign in here must not see it. */
  private forget(): void {
    this.request += 1;
    this.curve = this.picture = null;
    this.reading = false;
    this.slot = 0;
    this.root.replaceChildren();
    for (const id of ["curve-next", "curve-reasons", "curve-table", "curve-reading"]) byId(id).replaceChildren();
    for (const id of ["curve-frame", "curve-keys", "curve-details", "curve-next-part", "curve-why"]) byId(id).hidden = true;
  }

  async load(): Promise<void> {
    clearTimeout(this.timer);
    const request = ++this.request;
    if (!document.hidden) {
      byId("curve-frame").setAttribute("aria-busy", "true");
      try {
        const curve = await my.curve(this.hours);
        if (request !== this.request) return; // another window was chosen meanwhile
        this.set(curve);
        say(byId("curve-error"), "");
      } catch (problem) {
        if (request !== this.request) return;
        if (problem instanceof ApiError && problem.status === 401) this.signedOut();
        say(byId("curve-error"), textOf(problem));
      }
      byId("curve-frame").removeAttribute("aria-busy");
    }
    if (document.body.dataset["view"] === "my-data") this.timer = window.setTimeout(() => void this.load(), AGAIN_MS);
  }

  private set(curve: Curve): void {
    this.curve = curve;
    const slots = slotCount(curve);
    this.slot = Math.min(this.slot, Math.max(0, slots - 1));
    byId("curve-frame").hidden = slots === 0;
    byId("curve-keys").hidden = slots === 0;
    byId("curve-details").hidden = slots === 0;
    say(byId("curve-none"), slots === 0 ? "There is no forecast yet: it begins once you have used your desktop." : "");
    byId("curve-band-keys").hidden = Object.keys(curve.resources).length === 0;
    const next = curve.apps.slice(0, 5).map((app) => make("li", {}, `${app.name}: ${percent(app.probability)}`));
    byId("curve-next").replaceChildren(...next);
    byId("curve-next-part").hidden = next.length === 0;
    byId("curve-why").hidden = curve.reasons.length === 0;
    byId("curve-reasons").replaceChildren(...curve.reasons.map((reason) => make("li", {}, sentence(reason))));
    this.width = 0;
    this.redraw();
    this.table();
  }

  private redraw(): void {
    const width = Math.floor(byId("curve-frame").clientWidth);
    if (!this.curve || width === 0 || width === this.width || slotCount(this.curve) === 0) return;
    this.width = width;
    this.picture = draw(this.root, this.curve, width);
    this.root.setAttribute("aria-valuemax", String(slotCount(this.curve) - 1));
    this.read(this.reading);
  }

  private point(event: PointerEvent): void {
    if (!this.picture) return;
    this.slot = this.picture.slotAt(event.clientX - this.root.getBoundingClientRect().left);
    this.read(true);
  }

  private key(event: KeyboardEvent): void {
    const last = this.curve ? slotCount(this.curve) - 1 : 0;
    const page = Math.max(1, Math.round(last / 8));
    const moves: Record<string, number> = {
      ArrowLeft: this.slot - 1,
      ArrowDown: this.slot - 1,
      ArrowRight: this.slot + 1,
      ArrowUp: this.slot + 1,
      PageDown: this.slot - page,
      PageUp: this.slot + page,
      Home: 0,
      End: last,
    };
    const to = moves[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.slot = Math.min(last, Math.max(0, to));
    this.read(true);
  }

  /** Say what stands at the slot, or how to read. A reading stays when the focus leaves: nothing below may jump then. */
  private read(reading: boolean): void {
    this.reading = reading;
    this.picture?.mark(reading ? this.slot : null);
    const line = byId("curve-reading");
    if (!this.curve) return;
    const [when, ...parts] = words(this.curve, this.slot);
    this.root.setAttribute("aria-valuenow", String(this.slot));
    this.root.setAttribute("aria-valuetext", [when, ...parts].join("; "));
    line.replaceChildren(
      ...(reading
        ? [make("strong", {}, when ?? ""), ...parts.map((part) => make("span", {}, part))]
        : [make("span", {}, "Point at the picture, or use the arrow keys on it, to read its values.")]),
    );
  }

  private table(): void {
    const details = byId<HTMLDetailsElement>("curve-details");
    if (!details.open || !this.curve) return;
    const { curve } = this;
    const columns: [string, (slot: number) => string][] = [];
    const chance = (values: (number | null)[]) => (slot: number) => {
      const value = values[slot];
      return isNumber(value) ? percent(value) : "–";
    };
    if (curve.presence.length) columns.push(["There", chance(curve.presence)]);
    if (curve.arrival.length) columns.push(["Signs in", chance(curve.arrival)]);
    for (const app of curve.apps) if (app.in_use.length) columns.push([app.name, chance(app.in_use)]);
    for (const [name, of] of Object.entries(curve.resources)) {
      columns.push([LABELS[name] ?? name, (slot) => resource(name, of, slot) || "–"]);
    }
    const head = make("tr", {}, ...["Time", ...columns.map(([name]) => name)].map((name) => make("th", { attributes: { scope: "col" } }, name)));
    const rows = Array.from({ length: slotCount(curve) }, (_, slot) =>
      make(
        "tr",
        {},
        make("th", { attributes: { scope: "row" } }, timeOf(curve, slot)),
        ...columns.map(([, value]) => make("td", {}, value(slot))),
      ),
    );
    byId("curve-table").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  }
}

function timeOf(curve: Curve, slot: number): string {
  const from_s = curve.start_s + slot * curve.slot_s;
  return `${weekday(from_s)} ${clock(from_s)}–${clock(from_s + curve.slot_s)}`;
}

/** The median and the range that eight of ten times holds, as far as they were sent. */
function resource(name: string, of: Curve["resources"][string], slot: number): string {
  const [low, middle, high] = [quantile(of, slot, 0.1), quantile(of, slot, 0.5), quantile(of, slot, 0.9)];
  const range = low !== null && high !== null ? `80 %: ${amount(name, low)} to ${amount(name, high)}` : "";
  if (middle === null) return range;
  return range ? `${amount(name, middle)} (${range})` : amount(name, middle);
}

/** What stands at a slot: its time first. */
function words(curve: Curve, slot: number): string[] {
  const parts = [timeOf(curve, slot)];
  const [there, signs] = [curve.presence[slot], curve.arrival[slot]];
  if (isNumber(there)) parts.push(`there ${percent(there)}`);
  if (isNumber(signs)) parts.push(`sign-in ${percent(signs)}`);
  for (const app of curve.apps) {
    const value = app.in_use[slot];
    if (isNumber(value) && value >= 0.01) parts.push(`${app.name} ${percent(value)}`);
  }
  for (const [name, of] of Object.entries(curve.resources)) {
    const text = resource(name, of, slot);
    if (text) parts.push(`${(LABELS[name] ?? name).toLocaleLowerCase()} ${text}`);
  }
  return parts;
}
