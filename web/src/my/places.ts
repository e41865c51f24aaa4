// Places: off until switched on; named by the person; coarse.
import { byId, make } from "../dom";
import { my, type Coordinates, type MyData, type Place } from "./api";
import { button, chip, confirmed, none, Panel, required } from "./panel";
import { whereAmI } from "./place_here";
import { percent } from "./units";

const KINDS: Record<string, string> = { office: "Office", home: "Home", travel: "On the way", other: "Other" };
const at = ({ latitude, longitude }: Coordinates) => `${latitude.toFixed(2)}, ${longitude.toFixed(2)}`;

export class Places extends Panel {
  private names = new Set<string>();

  wire(): void {
    byId("place-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.add();
    });
    byId("place-find").addEventListener("click", () => void this.find());
    byId("places-on").addEventListener("click", () => void this.switchOn());
  }

  render(data: MyData): void {
    const consent = data.consents.find((each) => each.source === "place");
    const on = consent !== undefined && consent.allowed && consent.operator_allows;
    byId("places-off").hidden = on;
    byId("places-off-text").textContent =
      consent?.operator_allows === false
        ? "Your operator does not record places."
        : "Off. Nothing about where you are is asked of the browser, sent or stored until you switch it on.";
    byId("places-on").hidden = consent?.operator_allows === false;
    byId("places-use").hidden = !on;
    this.names = new Set(data.places.map((place) => place.name));
    const rows = data.places.map((place) => this.row(place, on));
    byId("places-list").replaceChildren(...(rows.length ? rows : [none("You have named no place.")]));
    byId("places-list").hidden = !on && rows.length === 0;
  }

  private row(place: Place, on: boolean): HTMLElement {
    const text = make("span", { class: "grow" }, make("strong", {}, place.name), " ", chip(KINDS[place.kind] ?? place.kind, "idle"));
    if (place.here) text.append(" ", chip("You are here", "good"));
    else if (on && place.probability > 0) text.append(" ", chip(`${percent(place.probability)} likely at this hour`, "idle"));
    const row = make("li", { class: "item" }, text);
    if (on && !place.here) {
      row.append(button("I am here", `here-${place.name}`, () => void this.choose(place), { label: `I am at ${place.name}` }));
    }
    row.append(button("Delete…", `place-delete-${place.name}`, () => void this.remove(place), { label: `Delete the place ${place.name}` }));
    return row;
  }

  private async switchOn(): Promise<void> {
    const done = await this.act(async () => {
      await my.consent("place", true);
      return "Places are on. Name a place to begin.";
    });
    if (done) byId("place-name").focus();
  }

  private async choose(place: Place): Promise<void> {
    await this.act(async () => {
      await my.choosePlace({ name: place.name });
      return `You are at ${place.name}.`;
    });
  }

  private async find(): Promise<void> {
    await this.act(async () => {
      this.say("Asking the browser…");
      const here = await whereAmI();
      const { place } = await my.choosePlace(here);
      const sent = `Sent: ${at(here)}, rounded to about two kilometres.`;
      if (place === null) return `You have named no place yet. ${sent}`;
      return this.names.has(place) ? `You are at ${place}. ${sent}` : `None of your places is near: you count as on the way. ${sent}`;
    });
  }

  private async add(): Promise<void> {
    const name = required("place-name");
    if (!name) return;
    const done = await this.act(async () => {
      const locate = byId<HTMLInputElement>("place-locate").checked;
      if (locate) this.say("Asking the browser…");
      const here = locate ? await whereAmI() : null;
      await my.putPlace(name, byId<HTMLSelectElement>("place-kind").value, here);
      return here
        ? `${name} is kept, near ${at(here)} (rounded to about two kilometres).`
        : `${name} is kept, without a position: say “I am here” yourself.`;
    });
    if (done) byId<HTMLFormElement>("place-form").reset();
  }

  private async remove(place: Place): Promise<void> {
    const lines = ["the place, with its rounded position", "its name in what is stored about when you were there"];
    if (!(await confirmed(`Delete “${place.name}”?`, lines, "This cannot be undone.", "Delete"))) return;
    await this.act(async () => {
      await my.deletePlace(place.name);
      return `${place.name} is deleted.`;
    });
  }
}
