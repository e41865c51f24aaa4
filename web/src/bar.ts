// The slim bar over the desktop: hides itself, comes back at the top edge, by touch, or by Tab from its handle.
import { byId } from "./dom";

const HIDE_AFTER_MS = 2500;
const EDGE_PX = 3;

export class Bar {
  private readonly bar = byId("bar");
  private readonly panels: Record<string, HTMLElement> = {
    apps: byId("apps-panel"),
    mode: byId("mode-panel"),
    clipboard: byId("clipboard-panel"),
  };
  private timer = 0;
  private pinned = false;

  constructor(
    private readonly onPanel: (name: string) => void,
    private readonly backToDesktop: () => void,
  ) {
    // noVNC keeps mouse events to itself; pointer events in the capture phase come first.
    addEventListener("pointermove", (event) => event.clientY <= EDGE_PX && this.reveal(), { capture: true });
    // The keyboard belongs to the desktop; these three keys together lead out of it.
    addEventListener("keydown", (event) => this.shortcut(event), { capture: true });
    byId("bar-handle").addEventListener("click", () => this.reveal());
    byId("bar-handle").addEventListener("focus", () => this.reveal());
    this.bar.addEventListener("pointerenter", () => this.reveal());
    this.bar.addEventListener("pointerleave", () => this.later());
    this.bar.addEventListener("focusin", () => this.reveal());
    this.bar.addEventListener("focusout", () => this.later());
    this.bar.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.close();
      this.backToDesktop();
    });
    for (const name of Object.keys(this.panels)) {
      byId(`${name}-button`).addEventListener("click", () => this.toggle(name));
    }
    byId("layers").addEventListener("pointerdown", () => this.close(), { capture: true });
  }

  /** Stay visible while something is wrong. */
  pin(pinned: boolean): void {
    if (pinned === this.pinned) return;
    this.pinned = pinned;
    if (pinned) this.reveal();
    else this.later();
  }

  reveal(): void {
    this.bar.classList.add("open");
    this.later();
  }

  close(): void {
    for (const name of Object.keys(this.panels)) this.set(name, false);
    this.later();
  }

  get openPanel(): boolean {
    return Object.values(this.panels).some((panel) => !panel.hidden);
  }

  private shortcut(event: KeyboardEvent): void {
    const all = event.ctrlKey && event.altKey && event.shiftKey;
    if (!all || !["Control", "Alt", "Shift"].includes(event.key) || document.body.dataset["view"] !== "desktop") return;
    event.preventDefault();
    event.stopPropagation();
    this.reveal();
    byId("apps-button").focus();
  }

  private toggle(name: string): void {
    const open = this.panels[name]?.hidden === true;
    for (const other of Object.keys(this.panels)) this.set(other, other === name && open);
    if (open) this.onPanel(name);
    else this.backToDesktop();
  }

  private set(name: string, open: boolean): void {
    const panel = this.panels[name];
    if (panel) panel.hidden = !open;
    byId(`${name}-button`).setAttribute("aria-expanded", String(open));
  }

  private later(): void {
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      const busy = this.pinned || this.openPanel || this.bar.matches(":hover") || this.bar.matches(":focus-within");
      if (!busy) this.bar.classList.remove("open");
    }, HIDE_AFTER_MS);
  }
}
