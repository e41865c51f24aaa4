// Applications: tiles on the door, and the searchable menu on the desktop's bar.
import type { App } from "./api";
import { appIcon, byId, make } from "./dom";

const STATE_WORDS: Record<string, string> = { hidden: "ready", frozen: "ready", shown: "open" };
const TILES = 8;

export function renderTiles(list: HTMLElement, apps: App[], start: (app: App, time: number) => void): void {
  list.replaceChildren(
    ...apps.slice(0, TILES).map((app) => {
      const name = make("span", { class: "app-name" }, app.name);
      const button = make("button", { class: "tile", attributes: { type: "button" } }, appIcon(app.name, app.icon), name);
      button.dataset["app"] = app.app;
      const word = STATE_WORDS[app.state];
      if (word) {
        button.append(make("span", { class: "badge" }, word));
        button.title = word === "ready" ? `${app.name} has been started for you and waits` : `${app.name} is open`;
      }
      button.addEventListener("click", (event) => start(app, event.timeStamp));
      return make("li", {}, button);
    }),
  );
}

/** The menu: search, arrow keys, Enter. */
export class AppMenu {
  private apps: App[] = [];
  private readonly search = byId<HTMLInputElement>("app-search");
  private readonly list = byId("app-list");

  constructor(private readonly start: (app: App, time: number) => void) {
    this.search.addEventListener("input", () => this.render());
    byId("apps-panel").addEventListener("keydown", (event) => this.key(event));
  }

  set(apps: App[]): void {
    this.apps = apps;
    this.render();
  }

  opened(): void {
    this.search.value = "";
    this.render();
    this.search.focus();
  }

  private render(): void {
    const words = this.search.value.toLocaleLowerCase().split(/\s+/).filter(Boolean);
    const found = this.apps.filter((app) => {
      const text = `${app.name} ${app.app} ${app.categories.join(" ")}`.toLocaleLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.list.replaceChildren(...found.map((app) => this.row(app)));
    byId("app-none").hidden = found.length > 0;
  }

  private row(app: App): HTMLElement {
    const name = make("span", { class: "app-name" }, app.name);
    const button = make("button", { class: "row", attributes: { type: "button" } }, appIcon(app.name, app.icon), name);
    button.dataset["app"] = app.app;
    const word = STATE_WORDS[app.state];
    if (word) button.append(make("span", { class: "badge" }, word));
    button.addEventListener("click", (event) => this.start(app, event.timeStamp));
    return make("li", {}, button);
  }

  private key(event: KeyboardEvent): void {
    const buttons = [...this.list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    if (event.key === "ArrowDown") buttons[Math.min(at + 1, buttons.length - 1)]?.focus();
    else if (event.key === "ArrowUp") (at <= 0 ? this.search : buttons[at - 1])?.focus();
    else if (event.key === "Enter" && document.activeElement === this.search) buttons[0]?.click();
    else return;
    event.preventDefault();
  }
}
