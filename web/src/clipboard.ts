// The clipboard, both ways: by the browser's own where it lets us, and always by the panel.
import { byId, say } from "./dom";

const MOST_CHARS = 512 * 1024;

export class Clipboard {
  private readonly text = byId<HTMLTextAreaElement>("clipboard-text");
  private readonly state = byId("clipboard-state");
  /** The last text that went either way: it is not sent back to where it came from. */
  private last = "";

  constructor(private readonly send: (text: string) => boolean) {
    this.text.addEventListener("input", () => this.toDesktop(this.text.value));
    byId("clipboard-share").addEventListener("click", () => void this.share());
    addEventListener("focus", () => void this.fromBrowser());
  }

  /** The desktop copied something. */
  fromDesktop(text: string): void {
    if (text === this.last || text.length > MOST_CHARS) return;
    this.last = text;
    this.text.value = text;
    navigator.clipboard?.writeText(text).then(
      () => say(this.state, "Copied from the desktop to this computer."),
      () => say(this.state, "The desktop copied this text. Your browser asks you to copy it from here yourself."),
    );
  }

  /** Hand over what this computer's clipboard holds, if the browser may read it without asking. */
  async fromBrowser(): Promise<void> {
    try {
      const asked = await navigator.permissions.query({ name: "clipboard-read" as PermissionName });
      if (asked.state === "granted") await this.read();
    } catch {
      // This browser has no such permission: the panel is there.
    }
  }

  private async share(): Promise<void> {
    try {
      await this.read();
      say(this.state, "This computer's clipboard is on the desktop.");
    } catch {
      say(this.state, "Your browser does not let the page read the clipboard. Paste the text above instead.");
      this.text.focus();
      this.text.select();
    }
  }

  private async read(): Promise<void> {
    const text = await navigator.clipboard.readText();
    if (text && text !== this.last) {
      this.text.value = text;
      this.toDesktop(text);
    }
  }

  private toDesktop(text: string): void {
    if (text.length > MOST_CHARS) {
      say(this.state, "This text is too long for the clipboard.");
      return;
    }
    if (!this.send(text)) return;
    this.last = text;
    say(this.state, "On the desktop's clipboard.");
  }
}
