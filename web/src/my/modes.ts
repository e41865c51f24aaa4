// Modes of work: define, choose, leave, change, delete.
import { api, type App } from "../api";
import { byId, make } from "../dom";
import { my, type Amounts, type Mode, type MyData } from "./api";
import { button, chip, confirmed, none, Panel, required } from "./panel";
import { amount, LABELS, percent } from "./units";

/** Kinds of files in words, as the MIME types that are recorded. */
const FILE_KINDS: [string, string[]][] = [
  ["Texts", ["text/plain", "application/vnd.oasis.opendocument.text", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"]],
  ["Tables", ["text/csv", "application/vnd.oasis.opendocument.spreadsheet", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"]],
  ["Slides", ["application/vnd.oasis.opendocument.presentation", "application/vnd.openxmlformats-officedocument.presentationml.presentation"]],
  ["PDF", ["application/pdf"]],
  ["Pictures", ["image/png", "image/jpeg", "image/svg+xml", "image/webp"]],
  ["Video", ["video/mp4", "video/webm", "video/x-matroska", "video/quicktime"]],
  ["Sound", ["audio/mpeg", "audio/ogg", "audio/flac", "audio/x-wav"]],
  ["Web pages", ["text/html"]],
];
/** Input fields with what one of their units is. */
const AMOUNTS: [keyof Amounts, string, number][] = [
  ["cpu_cores", "mode-cpu", 1],
  ["memory_bytes", "mode-memory", 1024 ** 3],
  ["gpu_share", "mode-gpu", 0.01],
  ["network_bytes_per_s", "mode-network", 1e6],
  ["storage_bytes_per_s", "mode-storage", 1e6],
];

export class Modes extends Panel {
  private names = new Map<string, string>();
  private editing: string | null = null;
  /** MIME types of the mode being changed that none of the check boxes stands for: kept as they are. */
  private otherTypes: string[] = [];

  constructor(
    owner: ConstructorParameters<typeof Panel>[1],
    private readonly apps: () => Promise<App[]> = api.apps,
  ) {
    super("modes", owner);
  }

  wire(): void {
    byId("mode-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.save();
    });
    byId("mode-new").addEventListener("click", () => void this.edit(null));
    byId("mode-cancel").addEventListener("click", () => this.close());
    byId("mode-files").replaceChildren(...FILE_KINDS.map(([name], index) => box(name, String(index))));
  }

  /** Learn the applications' names, for the list and the form. */
  private async known(): Promise<App[]> {
    let apps: App[] = [];
    try {
      apps = await this.apps();
    } catch {
      // their ids do as well, and those that a mode has already can still be kept or dropped
    }
    this.names = new Map(apps.map((app) => [app.app, app.name]));
    return apps;
  }

  override async prepare(): Promise<void> {
    await this.known();
  }

  render(data: MyData): void {
    const rows = data.modes.map((mode) => this.row(mode));
    byId("modes-list").replaceChildren(...(rows.length ? rows : [none("You have defined no mode.")]));
    const consent = data.consents.find((each) => each.source === "mode");
    byId("modes-off").hidden = consent === undefined || (consent.allowed && consent.operator_allows);
  }

  private row(mode: Mode): HTMLElement {
    const text = make("span", { class: "grow" }, make("strong", {}, mode.name), " ");
    if (mode.chosen) text.append(chip("Chosen", "good"));
    else if (mode.probability !== null && mode.reason) text.append(chip(`${percent(mode.probability)} likely at this hour`, "idle"));
    const asks = Object.entries(mode.resources).flatMap(([name, value]) =>
      typeof value === "number" && value > 0 ? [`${(LABELS[name] ?? name).toLocaleLowerCase()} ${amount(name, value)}`] : [],
    );
    if (mode.reason && !mode.chosen) {
      const prepared = (mode.probability ?? 0) >= 0.5 ? ": its applications are prepared ahead." : ".";
      text.append(make("span", { class: "small block" }, `${mode.reason}${prepared}`));
    }
    const parts = [mode.apps.map((app) => this.names.get(app) ?? app), inWords(mode.file_types), asks].map((p) => p.join(", "));
    text.append(make("span", { class: "small block" }, parts.filter(Boolean).join(" · ")));
    const { name } = mode;
    return make(
      "li",
      { class: "item" },
      text,
      button(mode.chosen ? "Leave" : "Choose", `mode-pick-${name}`, () => void this.pick(mode), {
        label: `${mode.chosen ? "Leave" : "Choose"} the mode ${name}`,
      }),
      button("Change", `mode-edit-${name}`, () => void this.edit(mode), { label: `Change the mode ${name}` }),
      button("Delete…", `mode-delete-${name}`, () => void this.remove(mode), { label: `Delete the mode ${name}` }),
    );
  }

  private async pick(mode: Mode): Promise<void> {
    await this.act(async () => {
      await my.chooseMode(mode.chosen ? null : mode.name);
      return mode.chosen ? `You left ${mode.name}.` : `${mode.name} is chosen: its applications are prepared.`;
    });
  }

  /** Open the form: for a new mode, or with what one has now. */
  private async edit(mode: Mode | null): Promise<void> {
    const apps = await this.known();
    this.editing = mode?.name ?? null;
    byId<HTMLFormElement>("mode-form").reset();
    byId("mode-form-title").textContent = mode ? `Change “${mode.name}”` : "A new mode";
    const name = byId<HTMLInputElement>("mode-name");
    name.value = mode?.name ?? "";
    name.readOnly = mode !== null;
    const lost = (mode?.apps ?? []).filter((app) => !this.names.has(app)).map((app) => ({ app, name: app }));
    const boxes = [...apps, ...lost].map((app) => box(app.name, app.app, mode?.apps.includes(app.app)));
    byId("mode-apps").replaceChildren(...(boxes.length ? boxes : [make("span", { class: "none" }, "No application is known.")]));
    this.showTypes(mode?.file_types ?? []);
    for (const [key, id, unit] of AMOUNTS) {
      const value = mode?.resources[key] ?? 0;
      byId<HTMLInputElement>(id).value = value > 0 ? String(Number((value / unit).toPrecision(6))) : "";
    }
    byId("mode-form").hidden = false;
    byId("mode-new").hidden = true;
    (mode ? boxes[0]?.querySelector("input") : name)?.focus();
  }

  private showTypes(types: string[]): void {
    const boxes = byId("mode-files").querySelectorAll("input");
    const covered = new Set<string>();
    FILE_KINDS.forEach(([, of], index) => {
      const has = of.every((type) => types.includes(type));
      const input = boxes[index];
      if (input) input.checked = has;
      if (has) of.forEach((type) => covered.add(type));
    });
    this.otherTypes = types.filter((type) => !covered.has(type));
  }

  private close(): void {
    byId("mode-form").hidden = true;
    byId("mode-new").hidden = false;
    byId("mode-new").focus();
  }

  private async save(): Promise<void> {
    const name = this.editing ?? required("mode-name");
    if (!name) return;
    const types = checked("mode-files").flatMap((index) => FILE_KINDS[Number(index)]?.[1] ?? []);
    const resources: Amounts = {};
    for (const [key, id, unit] of AMOUNTS) {
      const field = byId<HTMLInputElement>(id);
      if (!field.checkValidity()) {
        this.fail(`${field.labels?.[0]?.textContent ?? "A number"}: ${field.validationMessage}`);
        field.focus();
        return;
      }
      if (field.valueAsNumber > 0) resources[key] = field.valueAsNumber * unit;
    }
    const mode = { apps: checked("mode-apps"), file_types: [...new Set([...types, ...this.otherTypes])], resources };
    const done = await this.act(async () => {
      await my.putMode(name, mode);
      return `${name} is kept.`;
    });
    if (done) this.close();
  }

  private async remove(mode: Mode): Promise<void> {
    const lines = ["the mode: its applications, file types and resources", "its name in what is stored about when you chose it"];
    if (!(await confirmed(`Delete “${mode.name}”?`, lines, "This cannot be undone.", "Delete"))) return;
    await this.act(async () => {
      await my.deleteMode(mode.name);
      return `${mode.name} is deleted.`;
    });
  }
}

function box(text: string, value: string, on = false): HTMLElement {
  const input = make("input", { attributes: { type: "checkbox", value } });
  input.checked = on;
  return make("label", { class: "check" }, input, make("span", {}, text));
}

const checked = (id: string) => [...byId(id).querySelectorAll("input")].filter((each) => each.checked).map((each) => each.value);

/** MIME types as the words on the check boxes; what has no word is shown as it is. */
function inWords(types: string[]): string[] {
  const words = FILE_KINDS.filter(([, of]) => of.every((type) => types.includes(type)));
  const covered = new Set(words.flatMap(([, of]) => of));
  return [...words.map(([word]) => word.toLocaleLowerCase()), ...types.filter((type) => !covered.has(type))];
}
