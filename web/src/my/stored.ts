// Why desktops were prepared, what was learnt, and taking everything along or away.
import { byId, make } from "../dom";
import { my, type MyData } from "./api";
import { confirmed, none, Panel } from "./panel";
import { count, moment, sentence, span } from "./units";

export class Stored extends Panel {
  private data: MyData | null = null;

  wire(): void {
    byId("export").addEventListener("click", () => void this.save());
    byId("delete-all").addEventListener("click", () => void this.removeAll());
  }

  render(data: MyData): void {
    this.data = data;
    byId("stored-summary").textContent = summary(data);
    const habits = data.habits.map((habit) => make("li", {}, sentence(habit)));
    byId("habits").replaceChildren(...(habits.length ? habits : [none("Nothing has been learnt of you yet.")]));
    const rows = data.prepared.map(({ time_s, what, reason }) =>
      make("li", {}, make("span", { class: "small" }, moment(time_s)), make("strong", {}, what), make("span", {}, sentence(reason))),
    );
    byId("prepared").replaceChildren(...(rows.length ? rows : [none("No desktop has been prepared for you yet.")]));
  }

  private async save(): Promise<void> {
    await this.act(async () => {
      const { file, name } = await my.export();
      const address = URL.createObjectURL(file);
      const link = make("a", { attributes: { href: address, download: name } });
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000); // the download must have begun
      return `Everything that is stored about you is in ${name}.`;
    });
  }

  private async removeAll(): Promise<void> {
    if (!this.data) return;
    const kept =
      "Your account, your files, an open desktop, your switches and the operator's log of sign-ins stay. This cannot be undone.";
    if (!(await confirmed("Delete everything about you?", everything(this.data), kept, "Delete everything"))) return;
    await this.act(async () => {
      const { deleted_events } = await my.delete("all");
      return `Deleted: ${count(deleted_events, "event")}, and all that was learnt from ${deleted_events === 1 ? "it" : "them"}.`;
    });
  }
}

function bounds(data: MyData): [number | null, number | null] {
  const first = data.consents.flatMap((c) => (c.first_s === null ? [] : [c.first_s]));
  const last = data.consents.flatMap((c) => (c.last_s === null ? [] : [c.last_s]));
  return [first.length ? Math.min(...first) : null, last.length ? Math.max(...last) : null];
}

const total = (data: MyData) => data.consents.reduce((sum, consent) => sum + consent.events, 0);

function summary(data: MyData): string {
  const events = total(data);
  if (events === 0) return "No events are stored about you.";
  return `${[count(events, "event"), span(...bounds(data))].filter(Boolean).join(", ")}. Facts of use only: never a name of a file, a text, a sound or a picture.`;
}

/** What goes when everything goes, each in its own line. */
function everything(data: MyData): string[] {
  const sources = data.consents.filter((c) => c.events > 0).map((c) => `${c.label} ${c.events.toLocaleString()}`);
  const names = (things: { name: string }[]) => things.map((thing) => thing.name).join(", ");
  const events = sources.length ? `${count(total(data), "event")}, ${span(...bounds(data))}: ${sources.join(", ")}` : "";
  return [
    events,
    "when you signed in and out, and how each start of an application was served",
    data.places.length ? `${count(data.places.length, "place")}: ${names(data.places)}` : "",
    data.modes.length ? `${count(data.modes.length, "mode")}: ${names(data.modes)}` : "",
    data.calendars.length ? `${count(data.calendars.length, "calendar")}, with what was read from them: ${names(data.calendars)}` : "",
    data.prepared.length ? `why ${count(data.prepared.length, "desktop was", "desktops were")} prepared for you` : "",
    "what the forecast has learnt of you, and a desktop that waits for you unopened",
  ].filter(Boolean);
}
