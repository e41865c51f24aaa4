// Calendars: files that the person uploads; accounts that are read are shown too.
import { byId, make } from "../dom";
import { my, type Calendar, type MyData } from "./api";
import { button, chip, confirmed, none, Panel, required } from "./panel";
import { count, moment } from "./units";

export const MAX_FILE_BYTES = 5 * 1024 * 1024;
const KINDS: Record<string, string> = { file: "File", caldav: "CalDAV account", holidays: "Public holidays", terms: "Terms" };

export class Calendars extends Panel {
  wire(): void {
    const file = byId<HTMLInputElement>("calendar-file");
    file.addEventListener("change", () => {
      const name = byId<HTMLInputElement>("calendar-name");
      const chosen = file.files?.[0];
      if (chosen && !name.value.trim()) name.value = chosen.name.replace(/\.(ics|ical|ifb)$/i, "").replaceAll("/", " ").trim().slice(0, 40);
    });
    byId("calendar-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.add(file.files?.[0]);
    });
    byId("calendars-on").addEventListener("click", () => void this.switchOn());
  }

  render(data: MyData): void {
    const consent = data.consents.find((each) => each.source === "calendar");
    const on = consent !== undefined && consent.allowed && consent.operator_allows;
    byId("calendars-off").hidden = on;
    byId("calendars-off-text").textContent =
      consent?.operator_allows === false
        ? "Your operator does not record calendars."
        : "Off. No calendar is read until you switch it on.";
    byId("calendars-on").hidden = consent?.operator_allows === false;
    byId("calendar-form").hidden = !on;
    const rows = data.calendars.map((calendar) => this.row(calendar));
    byId("calendars-list").replaceChildren(...(rows.length ? rows : [none("You have no calendar here.")]));
    byId("calendars-list").hidden = !on && rows.length === 0;
  }

  private row(calendar: Calendar): HTMLElement {
    const read = calendar.synced_s === null ? "not read yet" : `read ${moment(calendar.synced_s)}`;
    const text = make(
      "span",
      { class: "grow" },
      make("strong", {}, calendar.name),
      " ",
      chip(KINDS[calendar.kind] ?? calendar.kind, "idle"),
      make("span", { class: "small block" }, `${count(calendar.entries, "entry", "entries")}, ${read}`),
    );
    if (calendar.problem) text.append(make("span", { class: "small block bad" }, calendar.problem));
    const remove = button("Remove…", `calendar-delete-${calendar.name}`, () => void this.remove(calendar), {
      label: `Remove the calendar ${calendar.name}`,
    });
    return make("li", { class: "item" }, text, remove);
  }

  private async switchOn(): Promise<void> {
    const done = await this.act(async () => {
      await my.consent("calendar", true);
      return "Calendars are on. Choose a file to begin.";
    });
    if (done) byId("calendar-file").focus();
  }

  private async add(file: File | undefined): Promise<void> {
    if (!file) {
      this.fail("No file is chosen. Choose the .ics file that your calendar program exports.");
      byId("calendar-file").focus();
      return;
    }
    if (file.size > MAX_FILE_BYTES) {
      const size = (file.size / 1024 / 1024).toFixed(1);
      this.fail(`${file.name} has ${size} MiB, and 5 MiB is the most. Export a shorter time from your calendar program.`);
      return;
    }
    const name = required("calendar-name");
    if (!name) return;
    const done = await this.act(async () => {
      await my.putCalendar(name, await file.text());
      return `${name} was read. Only when its entries begin and end is kept, never a title, a place or a guest.`;
    });
    if (done) byId<HTMLFormElement>("calendar-form").reset();
  }

  private async remove(calendar: Calendar): Promise<void> {
    const lines = [`${count(calendar.entries, "entry", "entries")}: when they begin and end`, "the way to read it again"];
    const kept = "The calendar itself, where it comes from, stays as it is.";
    if (!(await confirmed(`Remove “${calendar.name}”?`, lines, kept, "Remove"))) return;
    await this.act(async () => {
      await my.deleteCalendar(calendar.name);
      return `${calendar.name} is removed.`;
    });
  }
}
