// What the panels of "My data" share: doing something and saying how it went, confirming, forms, focus.
import { ApiError, asApiError } from "../api";
import { byId, make, say } from "../dom";
import type { MyData } from "./api";

/** What a panel may ask of the view that it is part of. */
export interface Owner {
  /** Load what is stored again and show it. */
  reload(): Promise<void>;
  signedOut(): void;
}

export const textOf = (problem: unknown) =>
  problem instanceof ApiError || !(problem instanceof Error) || problem instanceof TypeError
    ? asApiError(problem).text
    : problem.message;

/** One part of the view, with a line for what went well and one for what did not: `#<name>-done`, `#<name>-error`. */
export abstract class Panel {
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly name: string,
    protected readonly owner: Owner,
  ) {}

  /** What the panel needs besides the person's data, before it is first drawn. Does not throw. */
  prepare(): Promise<void> {
    return Promise.resolve();
  }

  abstract render(data: MyData): void;

  /** Do `work`, load anew, then say what `work` answered, or what went wrong. */
  protected act(work: () => Promise<string>): Promise<boolean> {
    const next = this.last.then(() => this.carryOut(work)); // one after the other: nothing that was pressed is lost
    this.last = next;
    return next;
  }

  private async carryOut(work: () => Promise<string>): Promise<boolean> {
    this.say("");
    try {
      const done = await work();
      await this.owner.reload();
      this.say(done);
      return true;
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 401) this.owner.signedOut();
      else this.fail(textOf(problem));
      return false;
    }
  }

  protected say(text: string): void {
    say(byId(`${this.name}-error`), "");
    say(byId(`${this.name}-done`), text);
  }

  protected fail(text: string): void {
    say(byId(`${this.name}-done`), "");
    say(byId(`${this.name}-error`), text);
  }
}

/** A button whose focus outlives a rendering: `key` must be the same before and after. */
export function button(text: string, key: string, then: () => void, options: { class?: string; label?: string } = {}): HTMLButtonElement {
  const made = make("button", { ...(options.class ? { class: options.class } : {}), attributes: { type: "button" } }, text);
  made.dataset["key"] = key;
  if (options.label) made.setAttribute("aria-label", options.label);
  made.addEventListener("click", then);
  return made;
}

/** Run `change`, which replaces elements, and give the focus back to the one that has the same key. */
export function keepingFocus(change: () => void): void {
  const key = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["key"] : undefined;
  change();
  if (key === undefined || document.activeElement?.isConnected === false) return;
  const again = [...document.querySelectorAll<HTMLElement>("[data-key]")].find((each) => each.dataset["key"] === key);
  again?.focus({ preventScroll: true });
}

/** Ask before something is lost; `lines` say exactly what. True when the person agreed. */
export function confirmed(title: string, lines: string[], kept: string, yes: string): Promise<boolean> {
  const dialog = byId<HTMLDialogElement>("confirm-dialog");
  byId("confirm-title").textContent = title;
  byId("confirm-lines").replaceChildren(...lines.map((line) => make("li", {}, line)));
  say(byId("confirm-kept"), kept);
  byId("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
    byId("confirm-no").focus();
  });
}

/** Wire the dialog's two buttons, once. */
export function wireConfirm(): void {
  const dialog = byId<HTMLDialogElement>("confirm-dialog");
  byId("confirm-yes").addEventListener("click", () => dialog.close("yes"));
  byId("confirm-no").addEventListener("click", () => dialog.close("no"));
}

/** A field's text without blanks around it; marks the field and gives "" where it is empty. */
export function required(id: string): string {
  const field = byId<HTMLInputElement>(id);
  const text = field.value.trim();
  field.setAttribute("aria-invalid", String(text === ""));
  if (text === "") field.focus();
  return text;
}

export const chip = (text: string, kind: string) => make("span", { class: `chip chip-${kind}` }, text);

export const none = (text: string) => make("li", { class: "none" }, text);
