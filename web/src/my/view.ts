// "My data": what is foreseen, recorded, stored and learnt of the signed-in person, and their say in it.
import { ApiError } from "../api";
import { byId, say } from "../dom";
import { my, type MyData } from "./api";
import { Calendars } from "./calendars";
import { Consents } from "./consents";
import { CurvePanel } from "./curve";
import { Modes } from "./modes";
import { keepingFocus, textOf, wireConfirm, type Owner, type Panel } from "./panel";
import { Places } from "./places";
import { Stored } from "./stored";

export class MyDataView implements Owner {
  private readonly curve: CurvePanel;
  private readonly panels: Panel[];
  private showing = false;

  /** `changed` gets what is stored each time that it was loaded. */
  constructor(
    readonly signedOut: () => void,
    private readonly changed: (data: MyData) => void,
  ) {
    this.curve = new CurvePanel(signedOut);
    const stored = new Stored("stored", this);
    const places = new Places("places", this);
    const modes = new Modes(this);
    const calendars = new Calendars("calendars", this);
    this.panels = [new Consents("consents", this), stored, places, modes, calendars];
    for (const part of [this.curve, stored, places, modes, calendars]) part.wire();
    wireConfirm();
    byId("my-again").addEventListener("click", () => this.show(true));
  }

  show(showing: boolean): void {
    this.showing = showing;
    this.curve.show(showing);
    if (showing) void this.load();
    else {
      byId<HTMLDialogElement>("confirm-dialog").close();
      byId("my-panels").hidden = true; // the next to sign in here must not see them
    }
  }

  async reload(): Promise<void> {
    const data = await my.data();
    if (!this.showing) return;
    keepingFocus(() => this.panels.forEach((panel) => panel.render(data)));
    byId("my-panels").hidden = false;
    this.changed(data);
  }

  private async load(): Promise<void> {
    try {
      await Promise.all(this.panels.map((panel) => panel.prepare()));
      await this.reload();
      this.fail("");
    } catch (problem) {
      if (problem instanceof ApiError && problem.status === 401) this.signedOut();
      else this.fail(textOf(problem));
    }
  }

  private fail(text: string): void {
    say(byId("my-error-text"), text);
    byId("my-error").hidden = text === "";
  }
}
