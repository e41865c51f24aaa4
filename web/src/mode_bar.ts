// The chosen mode of work on the desktop's bar: shown, chosen and left there.
import { ApiError, asApiError } from "./api";
import { byId, make, say } from "./dom";
import { my, type Mode } from "./my/api";

export class ModeBar {
  private modes: Mode[] = [];

  constructor(private readonly signedOut: () => void) {}

  /** Ask the server; a server without modes shows none. */
  async load(): Promise<void> {
    try {
      this.set((await my.data()).modes);
      say(byId("mode-problem"), "");
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 401) this.signedOut();
      say(byId("mode-problem"), asApiError(problem).text);
    }
  }

  set(modes: Mode[]): void {
    this.modes = modes;
    const chosen = modes.find((mode) => mode.chosen);
    byId("mode-button").hidden = modes.length === 0;
    byId("mode-button").textContent = chosen ? `Mode: ${chosen.name}` : "Mode";
    say(byId("home-mode"), chosen ? `Mode: ${chosen.name}` : "");
    const rows = [...modes.map((mode) => this.row(mode.name, mode.name, mode.chosen)), this.row("No mode", null, !chosen)];
    byId("mode-list").replaceChildren(...rows);
  }

  private row(text: string, name: string | null, chosen: boolean): HTMLElement {
    const button = make("button", { class: "row", attributes: { type: "button", "aria-pressed": String(chosen) } });
    button.append(make("span", { class: "app-name" }, text));
    if (chosen) button.append(make("span", { class: "badge" }, "chosen"));
    button.addEventListener("click", () => void this.choose(name));
    return make("li", {}, button);
  }

  private async choose(name: string | null): Promise<void> {
    try {
      await my.chooseMode(name);
    } catch (problem) {
      say(byId("mode-problem"), asApiError(problem).text);
      return;
    }
    say(byId("mode-problem"), "");
    this.set(this.modes.map((mode) => ({ ...mode, chosen: mode.name === name })));
    byId("mode-list").querySelector<HTMLElement>('[aria-pressed="true"]')?.focus();
  }
}
