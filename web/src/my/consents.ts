// What is recorded: a switch for each source, what lies stored of it, and its deletion.
import { byId, make } from "../dom";
import { my, type Consent, type MyData } from "./api";
import { button, chip, confirmed, Panel } from "./panel";
import { count, sentence, span } from "./units";

const WHY: Record<string, string> = {
  applications: "So that what you will want next is started beforehand.",
  focus: "So that the right windows are ready when you turn to them.",
  resources: "So that your desktop gets enough before you need it, and no more.",
  microphone: "A call often tells which application comes next.",
  camera: "A call often tells which application comes next.",
  files: "So that the applications for such files are ready.",
  place: "You may work otherwise at home than at the office.",
  mode: "So that choosing a mode prepares its applications, and likely modes are prepared unasked.",
  calendar: "So that your desktop is ready before an appointment, and not on a holiday.",
};

/** What the deletion of one source takes along besides its events. */
const ALONG: Record<string, (data: MyData) => string[]> = {
  place: (data) => (data.places.length ? [`your places: ${data.places.map((p) => p.name).join(", ")}`] : []),
  mode: (data) => (data.modes.length ? [`your modes: ${data.modes.map((m) => m.name).join(", ")}`] : []),
  calendar: (data) => (data.calendars.length ? [`your calendars: ${data.calendars.map((c) => c.name).join(", ")}`] : []),
};

export const stored = (consent: Consent) =>
  consent.events === 0
    ? "Nothing is stored."
    : `${[`${count(consent.events, "event")} stored`, span(consent.first_s, consent.last_s)].filter(Boolean).join(", ")}.`;

export class Consents extends Panel {
  render(data: MyData): void {
    byId("consents-list").replaceChildren(...data.consents.map((consent) => this.row(consent, data)));
  }

  private row(consent: Consent, data: MyData): HTMLElement {
    const id = `consent-${consent.source}`;
    const on = consent.allowed && consent.operator_allows;
    const toggle = make("input", { class: "switch", attributes: { type: "checkbox", role: "switch", id } });
    toggle.checked = on;
    toggle.disabled = !consent.operator_allows;
    toggle.dataset["key"] = id;
    toggle.setAttribute("aria-describedby", `${id}-what`);
    toggle.addEventListener("change", () => void this.set(consent, toggle));
    const what = make("p", { class: "small", attributes: { id: `${id}-what` } });
    what.append(`${sentence(consent.what)} ${WHY[consent.source] ?? ""}`);
    const label = make("label", { attributes: { for: id } }, consent.label);
    const state = consent.operator_allows
      ? chip(on ? "On" : "Off", on ? "good" : "idle")
      : chip("Off: your operator does not record this", "idle");
    const text = make("div", {}, make("div", { class: "consent-name" }, label, state), what);
    const line = make("p", { class: "small" }, stored(consent));
    const along = ALONG[consent.source]?.(data) ?? [];
    if (consent.events > 0 || along.length > 0) {
      const remove = button("Delete…", `${id}-delete`, () => void this.remove(consent, along), {
        class: "link",
        label: `Delete what is stored of ${consent.label}`,
      });
      line.append(" ", remove);
    }
    text.append(line);
    return make("li", { class: "consent" }, toggle, text);
  }

  private async set(consent: Consent, toggle: HTMLInputElement): Promise<void> {
    const allowed = toggle.checked;
    const done = await this.act(async () => {
      await my.consent(consent.source, allowed);
      if (allowed) return `${consent.label}: on. It is recorded from now on.`;
      const rest = consent.events > 0 ? " What is stored already stays until you delete it." : "";
      return `${consent.label}: off. Nothing of it is recorded any more.${rest}`;
    });
    if (!done) toggle.checked = !allowed;
  }

  private async remove(consent: Consent, along: string[]): Promise<void> {
    const events = consent.events > 0 ? [`${count(consent.events, "event")}, ${span(consent.first_s, consent.last_s)}`] : [];
    const launches = consent.source === "applications" ? ["how each start of an application was served"] : [];
    const learnt = ["why desktops were prepared for you", "what the forecast learnt of you: it learns anew from what is left"];
    const lines = [...events, ...along, ...launches, ...learnt];
    const kept = "The switch stays as it is, and so do all other sources. This cannot be undone.";
    if (!(await confirmed(`Delete “${consent.label}”?`, lines, kept, "Delete"))) return;
    await this.act(async () => {
      const { deleted_events } = await my.delete(consent.source);
      return `${consent.label}: ${count(deleted_events, "event was", "events were")} deleted.`;
    });
  }
}
